"""Plots of random rectangles: the toy task on which a detection loss has to prove itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.data.grid import Grid, encode_grid

SIDE = 15
"""Pixels of a plot."""
MOST = 3
"""Rectangles on one plot."""
SHORTEST, LONGEST = 2, 10
"""Sides in pixels."""
PLOTS = Grid(cell=5, picture=SIDE, anchors=((7.0, 5.0), (5.0, 7.0)), spare_ignored=False)
"""3×3 cells of two boxes: lying rectangles belong to the first, standing ones to the second. A cell's second box may
well hold a second rectangle, so no box is ignored."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot and what is on it."""

    image: NDArray[np.float32]
    """`[15,15]`: how many rectangles cover a pixel, in thirds. They are translucent: one behind another still shows."""
    boxes: NDArray[np.float32]
    """`[1…3,4]` x1, y1, x2, y2 in pixels."""


def random_plot(rng: np.random.Generator) -> Plot:
    """One to three rectangles of whole pixels, each anywhere, overlapping or not, no two the same."""
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        while True:
            width, height = (int(v) for v in rng.integers(SHORTEST, LONGEST + 1, 2))
            left, top = int(rng.integers(0, SIDE - width + 1)), int(rng.integers(0, SIDE - height + 1))
            box = (left, top, left + width, top + height)
            if box not in boxes:
                break
        boxes.append(box)
    image = np.zeros((SIDE, SIDE), np.float32)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] += 1 / MOST
    return Plot(image, np.array(boxes, np.float32))


def random_plots(count: int, seed: int | tuple[int, ...]) -> list[Plot]:
    """`count` plots, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    return [random_plot(rng) for _ in range(count)]


def encode_plots(plots: list[Plot]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images `[N,15,15,1]` and their grids `[N,3,3,2,5]`."""
    grids = [encode_grid(p.boxes, np.zeros(len(p.boxes), bool), SIDE, SIDE, PLOTS).values for p in plots]
    return np.stack([p.image for p in plots])[..., None], np.stack(grids)
