"""The write-up's detectors in the results table: average precision, recall at twelve boxes, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.detector import Detector
from engine.metrics import FaceTruth, average_precision, bootstrap_ap, match_detections
from engine.types import Detections
from train.data.boxes import Picture
from train.data.grid import FACES
from train.detector_cost import Cost, cost_of, openvino_runner, time_in_turns

SIDE = FACES.picture
TABLE_SIDE = 640
"""Longer side at which the face sizes of the other detectors' table are measured."""
MINIMUM = (8, 16, 32)
LOWEST = 0.01
"""Confidence down to which curves are followed."""
IOU, LIMIT, LEAST = 0.4, 12, 0.3
"""Inference as the write-up has it: suppression at IoU 0.4, at most 12 boxes, then confidence of at least 0.3."""


@dataclass(frozen=True, slots=True)
class GridRow:
    """One network of one grid on one set of pictures, each with its longer side scaled to 416."""

    name: str
    ap_cell: float
    """Average precision at IoU 0.5 for faces whose shorter side is at least a cell: 1/13 of the picture's longer."""
    ap_cell_interval: tuple[float, float]
    """95 % bootstrap interval."""
    faces: int
    """That large."""
    ap: dict[int, float]
    """The same by smallest shorter side in pixels, with the picture's longer side at 640."""
    recall: float
    """Part of the faces at least a cell large that are among the at most 12 boxes kept, IoU 0.5."""
    precision: float
    """Of those boxes; ignored and smaller faces neither count for nor against."""
    cost: Cost
    """At 416 × 416."""
    milliseconds: float | None
    """Median for one picture of 416 × 416 on one thread (OpenVINO, f32); None where it was not measured."""

    def row(self) -> dict[str, Any]:
        """The figures, as JSON takes them."""
        return {
            "detector": self.name,
            "size": SIDE,
            "ap_cell": _number(self.ap_cell),
            "ap_cell_interval": [_number(v) for v in self.ap_cell_interval],
            "faces": self.faces,
            **{f"ap{m}": _number(v) for m, v in self.ap.items()},
            "recall_at_12": _number(self.recall),
            "precision_at_12": _number(self.precision),
            **self.cost.row(),
            "ms": self.milliseconds,
        }


def _number(value: float) -> float | None:
    """To four places; None where there was nothing to measure, since JSON has no NaN."""
    return round(value, 4) if np.isfinite(value) else None


def kept_twelve(found: Detections) -> Detections:
    """The write-up's choice from suppressed detections, best first: at most 12, then confidence of at least 0.3."""
    first = found.select(np.arange(len(found)) < LIMIT)
    return first.select(first.scores >= LEAST)


def recall_and_precision(
    kept: Sequence[Detections], truths: Sequence[FaceTruth], minimum: float
) -> tuple[float, float]:
    """Over all pictures, at IoU 0.5, for faces with a shorter side of at least `minimum`; NaN where there is none."""
    verdicts = np.concatenate(
        [np.zeros(0, np.int8)] + [match_detections(k, t, minimum=minimum) for k, t in zip(kept, truths, strict=True)]
    )
    wanted = sum(
        int((~t.ignore & ((t.boxes[:, 2:] - t.boxes[:, :2]).min(axis=1, initial=np.inf) >= minimum)).sum())
        for t in truths
    )
    hits, mistakes = int((verdicts == 1).sum()), int((verdicts == 0).sum())
    return (
        hits / wanted if wanted else float("nan"),
        hits / (hits + mistakes) if hits + mistakes else float("nan"),
    )


def grid_row(model: Path, pictures: Sequence[Picture], *, rounds: int = 0, bootstrap: int = 300) -> GridRow:
    """Measure an ONNX file that `export_grid_detector` wrote.

    Args:
        model: the file.
        pictures: with true boxes.
        rounds: how often it is timed; 0 for not at all.
        bootstrap: rounds of the interval.

    Raises:
        InputError: the file is no detector, or takes no picture of 416 × 416.
    """
    detector = Detector.open(model, size=SIDE, threads=1, precision="f32")
    detector.iou = IOU
    try:
        seen = [detector.detect([picture.rgb], threshold=LOWEST)[0] for picture in pictures]
        name = detector.session.model.name
    finally:
        detector.close()

    def at(side: int) -> tuple[list[Detections], list[FaceTruth]]:
        factors = [side / max(p.rgb.shape[:2]) for p in pictures]
        found = [Detections(d.boxes * f, d.scores, d.landmarks * f) for d, f in zip(seen, factors, strict=True)]
        return found, [FaceTruth(p.boxes * f, p.ignore) for p, f in zip(pictures, factors, strict=True)]

    found, truths = at(SIDE)
    curve = average_precision(found, truths, minimum=FACES.cell)
    recall, precision = recall_and_precision([kept_twelve(d) for d in found], truths, FACES.cell)
    wide, wide_truths = at(TABLE_SIDE)
    timed = time_in_turns({name: openvino_runner(model, SIDE, SIDE)}, name, rounds)[name]["ms"] if rounds else None
    return GridRow(
        name=name,
        ap_cell=curve.ap,
        ap_cell_interval=bootstrap_ap(found, truths, minimum=FACES.cell, rounds=bootstrap),
        faces=curve.faces,
        ap={m: average_precision(wide, wide_truths, minimum=m).ap for m in MINIMUM},
        recall=recall,
        precision=precision,
        cost=cost_of(model, SIDE, SIDE),
        milliseconds=timed,
    )
