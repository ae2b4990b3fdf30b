"""How good a detector is: average precision by face size, close-ups, landmarks, and its rivals on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.metrics import FaceTruth, PrecisionRecall, average_precision, bootstrap_ap, box_iou
from engine.types import Detections
from train.data.boxes import Picture, unknown_landmarks

Detect = Callable[[NDArray[np.uint8], int], Detections]
"""(RGB picture, longer side it is scaled to) → all faces down to a very low score, in pixels of the picture."""

MINIMUM = (8, 16, 32)
"""Face sizes (shorter side in pixels, with the longer side of the picture at the given size) of the table."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One detector on one set of pictures at one size."""

    name: str
    size: int
    curves: dict[int, PrecisionRecall]
    """By smallest face size."""
    intervals: dict[int, tuple[float, float]]
    """95 % bootstrap intervals of the average precision."""
    found: list[Detections]
    """Scaled to `size`."""

    def row(self) -> dict[str, Any]:
        """The figures, as JSON takes them."""
        return {
            "detector": self.name,
            "size": self.size,
            **{f"ap{m}": round(c.ap, 4) for m, c in self.curves.items()},
            **{f"ap{m}_interval": [round(v, 4) for v in i] for m, i in self.intervals.items()},
            "faces": {str(m): c.faces for m, c in self.curves.items()},
        }


def scaled_truths(pictures: Sequence[Picture], size: int) -> list[FaceTruth]:
    """The labels with the longer side of each picture scaled to `size`."""
    return [FaceTruth(p.boxes * (size / max(p.rgb.shape[:2])), p.ignore) for p in pictures]


def judge(name: str, detect: Detect, pictures: Sequence[Picture], size: int = 640, rounds: int = 300) -> Judgement:
    """Run a detector over the pictures and measure it."""
    found = []
    for picture in pictures:
        factor = size / max(picture.rgb.shape[:2])
        seen = detect(picture.rgb, size)
        found.append(Detections(seen.boxes * factor, seen.scores, seen.landmarks * factor))
    truths = scaled_truths(pictures, size)
    curves = {m: average_precision(found, truths, minimum=m) for m in MINIMUM}
    intervals = {m: bootstrap_ap(found, truths, minimum=m, rounds=rounds) for m in MINIMUM} if rounds else {}
    return Judgement(name, size, curves, intervals, found)


def threshold_for(curve: PrecisionRecall, precision: float) -> float:
    """The lowest score from which precision is at least as wanted, for a default threshold; 1 where it never is."""
    good = np.nonzero(curve.precision >= precision)[0]
    return float(curve.scores[good[-1]]) if len(good) else 1.0


def close_ups(
    pictures: Sequence[Picture], count: int = 300, smallest: float = 40.0, seed: int = 0
) -> list[tuple[Picture, float]]:
    """Crops in which one face is 0.5 to 1.1 times as tall as the frame, and that share.

    Frames are 16:9 where the picture is wide enough, else as wide as it is; a crop may cut the face by a tenth at most
    of its height at the top or bottom, and is moved, not padded, at the picture's edges.
    """
    rng = np.random.default_rng(seed)
    faces = [
        (i, k)
        for i, p in enumerate(pictures)
        for k, box in enumerate(p.boxes)
        if not p.ignore[k] and min(box[2] - box[0], box[3] - box[1]) >= smallest
    ]
    made: list[tuple[Picture, float]] = []
    for turn in range(4 * count):
        if len(made) >= count or not faces:
            break
        i, k = faces[turn % len(faces)]
        picture = pictures[i]
        tall, wide = picture.rgb.shape[:2]
        x1, y1, x2, y2 = picture.boxes[k]
        share = float(rng.uniform(0.5, 1.1))
        height = (y2 - y1) / share
        width = min(height * 16 / 9, wide)
        height = min(height, tall)
        if (y2 - y1) / height < 0.5 or (x2 - x1) / width > 1.1:
            continue
        top = float(np.clip((y1 + y2) / 2 - height / 2 + rng.uniform(-0.1, 0.1) * height, 0, tall - height))
        left = float(np.clip((x1 + x2) / 2 - width / 2 + rng.uniform(-0.2, 0.2) * width, 0, wide - width))
        if left > x1 + 0.1 * (x2 - x1) or left + width < x2 - 0.1 * (x2 - x1):
            continue
        window = np.array([round(left), round(top), round(left + width), round(top + height)])
        crop = np.ascontiguousarray(picture.rgb[window[1] : window[3], window[0] : window[2]])
        limit = np.array([crop.shape[1], crop.shape[0]] * 2)
        box = np.clip(picture.boxes[k : k + 1] - np.tile(window[:2], 2), 0, limit)
        name = f"{picture.name}#{k}"
        made.append((Picture(name, crop, box.astype(np.float32), np.zeros(1, bool), unknown_landmarks(1)), share))
    return made


def close_up_recall(detect: Detect, crops: Sequence[tuple[Picture, float]], threshold: float, size: int = 640) -> float:
    """Part of the close-ups whose face is found with IoU 0.5 and a score of at least `threshold`."""
    hits = 0
    for crop, _ in crops:
        seen = detect(crop.rgb, size)
        sure = seen.boxes[seen.scores >= threshold]
        hits += bool(len(sure) and box_iou(sure, crop.boxes).max() >= 0.5)
    return hits / max(1, len(crops))


def landmark_error(
    found: Sequence[Detections], pictures: Sequence[Picture], size: int, smallest: float = 32.0
) -> float:
    """Mean distance to the known landmarks in parts of the distance between the eyes; NaN where none is known."""
    errors: list[float] = []
    for seen, picture in zip(found, pictures, strict=True):
        factor = size / max(picture.rgb.shape[:2])
        boxes, points = picture.boxes * factor, picture.landmarks * factor
        overlaps = box_iou(boxes, seen.boxes)
        for k in range(len(boxes)):
            apart = float(np.linalg.norm(points[k, 0] - points[k, 1]))
            if not np.isfinite(points[k]).all() or (boxes[k, 2:] - boxes[k, :2]).min() < smallest or apart < 6:
                continue
            if len(seen) and overlaps[k].max() >= 0.5:
                answer = seen.landmarks[int(overlaps[k].argmax())]
                errors.append(float(np.linalg.norm(answer - points[k], axis=1).mean()) / apart)
    return float(np.mean(errors)) if errors else float("nan")


def draw_sheet(
    pictures: Sequence[Picture],
    judgement: Judgement,
    threshold: float,
    minimum: float = 16.0,
    columns: int = 6,
    rows: int = 5,
    tile: int = 320,
) -> NDArray[np.uint8]:
    """A sheet of the pictures with most mistakes: hits green, mistakes red, misses yellow, ignored grey. RGB."""
    truths = scaled_truths(pictures, judgement.size)
    drawn = []
    for picture, truth, seen in zip(pictures, truths, judgement.found, strict=True):
        sure = seen.select(seen.scores >= threshold)
        overlaps = box_iou(sure.boxes, truth.boxes)
        met = overlaps.max(0, initial=0.0) >= 0.5
        known = overlaps.max(1, initial=0.0) >= 0.5
        small = (truth.boxes[:, 2:] - truth.boxes[:, :2]).min(1, initial=np.inf) < minimum
        missed = ~met & ~truth.ignore & ~small
        factor = tile / max(picture.rgb.shape[:2])
        image = cv2.resize(picture.rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        to_tile = tile / judgement.size
        for box, good in zip(sure.boxes * to_tile, known, strict=True):
            _rectangle(image, box, (0, 220, 0) if good else (255, 0, 0))
        for box, lost, ignored in zip(truth.boxes * to_tile, missed, truth.ignore, strict=True):
            if lost or ignored:
                _rectangle(image, box, (255, 220, 0) if lost else (128, 128, 128))
        canvas = np.zeros((tile, tile, 3), np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image[:tile, :tile]
        drawn.append((int((~known).sum() + missed.sum()), canvas))
    drawn.sort(key=lambda pair: -pair[0])
    worst = [canvas for _, canvas in drawn[: columns * rows // 2]]
    rest = [canvas for _, canvas in drawn[columns * rows // 2 :]]
    step = max(1, len(rest) // max(1, columns * rows - len(worst)))
    chosen = (worst + rest[::step])[: columns * rows]
    chosen += [np.zeros((tile, tile, 3), np.uint8)] * (columns * rows - len(chosen))
    lines = [np.concatenate(chosen[r * columns : (r + 1) * columns], 1) for r in range(rows)]
    return np.concatenate(lines, 0)


def _rectangle(image: NDArray[np.uint8], box: NDArray[np.floating], colour: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = (int(v) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 1)
