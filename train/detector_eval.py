"""How good a detector is on labelled pictures: precision and recall by face size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.metrics import FaceTruth, PrecisionRecall, average_precision, bootstrap_ap, match_detections
from engine.types import Detections
from train.contenders import Contender
from train.data.boxes import Picture

MINIMUM = (8, 16, 32)
"""Face sizes (shorter side in pixels, with the longer side of the picture at the given size) of the table."""
MAIN = 16
"""The size that single figures (precision, recall) are given for."""
GRID = 13
"""Cells along the picture of the write-up's detector: `WIDE` faces are at least one cell."""
WIDE = "wide"
BOXES = 12
"""How many boxes the write-up's detector keeps."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One detector on one set of pictures at one size."""

    name: str
    size: int
    threshold: float
    curves: dict[str, PrecisionRecall]
    """By smallest face: `8`, `16`, `32`, and `wide` for 1/13 of the picture's longer side."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap intervals of the average precision."""
    recall_of_few: float
    """Recall of the `BOXES` best boxes of each picture, for faces of `MAIN` px and more."""
    found: list[Detections]
    """Scaled to `size`."""

    def row(self) -> dict[str, Any]:
        """The figures, as JSON takes them."""
        precision, recall = self.curves[str(MAIN)].at(self.threshold)
        return {
            "detector": self.name,
            "size": self.size,
            "ap": {name: round(c.ap, 4) for name, c in self.curves.items()},
            "interval": {name: [round(v, 4) for v in i] for name, i in self.intervals.items()},
            "faces": {name: c.faces for name, c in self.curves.items()},
            f"recall_of_{BOXES}_boxes": round(self.recall_of_few, 4),
            "threshold": round(self.threshold, 4),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
        }


def scaled(found: Detections, factor: float) -> Detections:
    """The detections on a picture that is `factor` times as large."""
    return Detections(found.boxes * factor, found.scores, found.landmarks * factor)


def scaled_truths(pictures: Sequence[Picture], size: int) -> list[FaceTruth]:
    """The labels with the longer side of each picture scaled to `size`."""
    return [FaceTruth(p.boxes * (size / max(p.rgb.shape[:2])), p.ignore) for p in pictures]


def judge(
    contender: Contender,
    pictures: Sequence[Picture],
    size: int = 640,
    rounds: int = 300,
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Run a detector over the pictures and measure it; `rounds` of the bootstrap, 0 for no intervals."""
    found = []
    for number, picture in enumerate(pictures):
        found.append(scaled(contender.detect(picture.rgb, size), size / max(picture.rgb.shape[:2])))
        if progress is not None:
            progress(number + 1, len(pictures))
    truths = scaled_truths(pictures, size)
    limits = {**{str(m): float(m) for m in MINIMUM}, WIDE: size / GRID}
    return Judgement(
        contender.name,
        size,
        contender.threshold,
        {name: average_precision(found, truths, minimum=least) for name, least in limits.items()},
        {n: bootstrap_ap(found, truths, minimum=least, rounds=rounds) for n, least in limits.items()} if rounds else {},
        recall_of_best(found, truths, BOXES, MAIN),
        found,
    )


def recall_of_best(found: Sequence[Detections], truths: Sequence[FaceTruth], count: int, minimum: float) -> float:
    """Recall at IoU 0.5 with only the `count` best boxes of each picture, whatever their scores; NaN without faces."""
    hits = faces = 0
    for seen, truth in zip(found, truths, strict=True):
        best = seen.select(np.argsort(-seen.scores, kind="stable")[:count])
        hits += int((match_detections(best, truth, minimum=minimum) == 1).sum())
        sides = (truth.boxes[:, 2:] - truth.boxes[:, :2]).min(axis=1, initial=np.inf)
        faces += int((~truth.ignore & (sides >= minimum)).sum())
    return hits / faces if faces else float("nan")


def threshold_for(curve: PrecisionRecall, precision: float) -> float:
    """The lowest score from which precision is at least as wanted, for a default threshold; 1 where it never is."""
    good = np.nonzero(curve.precision >= precision)[0]
    return float(curve.scores[good[-1]]) if len(good) else 1.0


def thinned(curve: PrecisionRecall, points: int = 120) -> dict[str, list[float]]:
    """About `points` points of a curve, evenly spaced over recall, ends included: what JSON keeps of it."""
    if not len(curve.scores):
        return {"score": [], "precision": [], "recall": []}
    wanted = np.linspace(curve.recall[0], curve.recall[-1], points)
    rows: NDArray[np.intp] = np.unique(np.searchsorted(curve.recall, wanted).clip(0, len(curve.scores) - 1))
    columns = {"score": curve.scores, "precision": curve.precision, "recall": curve.recall}
    return {name: [round(float(v), 4) for v in values[rows]] for name, values in columns.items()}
