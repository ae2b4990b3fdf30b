"""The loss of You Only Look Once (arXiv 1506.02640, Eq. 3) for boxes without classes, twice: by the letter, and fast.

Predictions and targets are `[…,S,S,B,5]`: confidence, x, y (the middle's place in its cell, in cells), w, h (parts of
the picture, ≥ 0). `train.data.grid` makes the targets; a predictor is responsible for an object where the target's
confidence is 1. The confidence that a responsible predictor should state is the overlap (IoU) that its box reaches,
taken as a constant: no gradient flows through it.

    λcoord Σ 1obj [(x − x̂)² + (y − ŷ)²]  +  λcoord Σ 1obj [(√w − √ŵ)² + (√h − √ĥ)²]
    + Σ 1obj (C − Ĉ)²  +  λnoobj Σ 1noobj (C − Ĉ)²

summed over the cells and boxes of a picture, averaged over the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

Tensor = Any


@dataclass(frozen=True, slots=True)
class YoloWeights:
    """The two factors of Eq. 3."""

    coord: float = 25.0
    """λcoord."""
    noobj: float = 0.5
    """λnoobj."""


def overlap_in_cells(first: NDArray[Any], second: NDArray[Any], cells: float) -> float:
    """IoU of two boxes of one cell, each (x, y in cells; w, h in pictures); `cells`: how many a picture is wide."""
    sides = [
        min(a[i] + a[i + 2] * cells / 2, b[i] + b[i + 2] * cells / 2)
        - max(a[i] - a[i + 2] * cells / 2, b[i] - b[i + 2] * cells / 2)
        for a, b in ((first, second),)
        for i in (0, 1)
    ]
    shared = max(sides[0], 0.0) * max(sides[1], 0.0)
    total = (first[2] * first[3] + second[2] * second[3]) * cells**2 - shared
    return float(shared / total) if total > 0 else 0.0


def yolo_loss_by_terms(
    predicted: NDArray[Any],
    target: NDArray[Any],
    ignore: NDArray[np.bool_],
    cells: float,
    weights: YoloWeights = YoloWeights(),
    confidence: NDArray[Any] | None = None,
) -> dict[str, float]:
    """Eq. 3 term by term, one predictor after the other: slow, to read and to test against.

    Args:
        predicted: `[N,R,C,B,5]`.
        target: likewise; confidence 1 where a predictor is responsible, else 0.
        ignore: `[N,R,C,B]`: no penalty for seeing an object there.
        cells: how many cells a picture is wide (13), which turns w and h into the unit of x and y.
        weights: λcoord, λnoobj.
        confidence: `[N,R,C,B]` what responsible predictors should state; None takes the overlap they reach.

    Returns:
        The four sums `xy`, `wh`, `object`, `background` (with their factors) and their `loss`.
    """
    sums = {"xy": 0.0, "wh": 0.0, "object": 0.0, "background": 0.0}
    for place in np.ndindex(target.shape[:-1]):
        c, x, y, w, h = (float(v) for v in predicted[place])
        responsible, x_true, y_true, w_true, h_true = (float(v) for v in target[place])
        if responsible:
            stated = (
                overlap_in_cells(predicted[place][1:], target[place][1:], cells)
                if confidence is None
                else float(confidence[place])
            )
            sums["xy"] += weights.coord * ((x - x_true) ** 2 + (y - y_true) ** 2)
            sums["wh"] += weights.coord * ((w**0.5 - w_true**0.5) ** 2 + (h**0.5 - h_true**0.5) ** 2)
            sums["object"] += (c - stated) ** 2
        elif not ignore[place]:
            sums["background"] += weights.noobj * c**2
    means = {name: value / len(target) for name, value in sums.items()}
    return {"loss": sum(means.values()), **means}


def overlaps(predicted: Tensor, target: Tensor, cells: float) -> Tensor:
    """IoU `[…]` of boxes `[…,5]` of the same cells; 0 where both are empty."""
    middle_a, half_a = predicted[..., 1:3], predicted[..., 3:5] * (cells / 2)
    middle_b, half_b = target[..., 1:3], target[..., 3:5] * (cells / 2)
    sides = ops.minimum(middle_a + half_a, middle_b + half_b) - ops.maximum(middle_a - half_a, middle_b - half_b)
    shared = ops.prod(ops.maximum(sides, 0.0), axis=-1)
    total = 4.0 * (ops.prod(half_a, axis=-1) + ops.prod(half_b, axis=-1)) - shared
    return ops.where(total > 0, shared / ops.where(total > 0, total, 1.0), 0.0)


def yolo_loss(
    predicted: Tensor,
    target: Tensor,
    ignore: Tensor,
    cells: float,
    weights: YoloWeights = YoloWeights(),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 3 as networks are trained with it: the same numbers as `yolo_loss_by_terms`, and their gradient.

    Args:
        predicted: float32 `[N,R,C,B,5]`, w and h > 0 where a predictor is responsible (the root's slope at 0 is
            infinite).
        target: float32, likewise; confidence 1 where a predictor is responsible, else 0.
        ignore: bool `[N,R,C,B]`.
        cells: how many cells a picture is wide.
        weights: λcoord, λnoobj.

    Returns:
        The loss, and its parts `xy`, `wh`, `object`, `background` with the mean overlap `iou` of the responsible.
    """
    responsible = target[..., 0]
    background = (1.0 - responsible) * (1.0 - ops.cast(ignore, "float32"))
    seen = ops.stop_gradient(overlaps(predicted, target, cells))
    # Roots only where they count: elsewhere a root of 0 would turn a gradient of 0 into NaN.
    sizes = ops.where(responsible[..., None] > 0, predicted[..., 3:5], 1.0)
    real = ops.where(responsible[..., None] > 0, target[..., 3:5], 1.0)
    place = ops.sum(ops.square(predicted[..., 1:3] - target[..., 1:3]), axis=-1)
    extent = ops.sum(ops.square(ops.sqrt(sizes) - ops.sqrt(real)), axis=-1)
    pictures = ops.cast(ops.shape(target)[0], "float32")
    stated = predicted[..., 0]
    parts = {
        "xy": weights.coord * ops.sum(responsible * place) / pictures,
        "wh": weights.coord * ops.sum(responsible * extent) / pictures,
        "object": ops.sum(responsible * ops.square(stated - seen)) / pictures,
        "background": weights.noobj * ops.sum(background * ops.square(stated)) / pictures,
    }
    loss = parts["xy"] + parts["wh"] + parts["object"] + parts["background"]
    faces = ops.maximum(ops.sum(responsible), 1.0)
    return loss, {**parts, "iou": ops.sum(responsible * seen) / faces}
