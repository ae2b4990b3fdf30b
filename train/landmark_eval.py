"""Landmark error against the teachers' agreement, by face size and pose.

What the teachers say is no truth: on one and the same small or masked face they differ by a fifth of the distance
between the eyes. So the figure that counts is taken on *clean* faces: `SMALLEST` px and more with the picture's longer
side at 640, the two teachers' points within `AGREE` of each other on average, near-frontal (the nose within `FRONTAL`
of the middle between the eyes, along the line between them), on pictures from which no landmarks were learnt and whose
source shows no masks. All in parts of the distance between the eyes, as the normalised mean error of the field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.metrics import box_iou
from engine.types import Detections
from train.data.boxes import Floats, Picture
from train.teacher_views import Sightings

SMALLEST = 48.0
AGREE = 0.08
FRONTAL = 0.2
SURE = 0.5
"""Score that both teachers must give."""
LOOSE = 0.25
"""Teachers that differ by more than this tell nothing at all."""


@dataclass(frozen=True, slots=True)
class KnownFace:
    """A face whose points both teachers give."""

    picture: int
    """Its number."""
    box: Floats
    """`[4]` in pixels of the picture."""
    points: Floats
    """`[5,2]` the teachers' mean, in pixels of the picture."""
    apart: float
    """Distance between the eyes in the same pixels."""
    size: float
    """Shorter side of the box with the picture's longer side at 640."""
    turn: float
    """How far the nose lies from the middle between the eyes, along the line between them, in eye distances."""
    gap: float
    """Mean distance between the two teachers' points, in eye distances."""

    @property
    def clean(self) -> bool:
        """Whether it counts for the main figure."""
        return self.size >= SMALLEST and self.gap <= AGREE and self.turn <= FRONTAL

    @property
    def kinds(self) -> tuple[str, ...]:
        """The bins it falls into."""
        size = "16–32" if self.size < 32 else "32–48" if self.size < 48 else "48–96" if self.size < 96 else "≥ 96"
        pose = "frontal" if self.turn <= FRONTAL else "turned" if self.turn <= 0.45 else "profile"
        return (*(["clean"] if self.clean else []), f"{size} px", pose)


def known_faces(pictures: Sequence[Picture], seen: Sightings) -> list[KnownFace]:
    """The faces of 16 px and more whose points both teachers give, less than `LOOSE` apart."""
    known = []
    for number, (picture, first, second) in enumerate(zip(pictures, seen.yunet, seen.centerface, strict=True)):
        a, b = first.select(first.scores >= SURE), second.select(second.scores >= SURE)
        overlaps = box_iou(a.boxes, b.boxes)
        factor = 640 / max(picture.rgb.shape[:2])
        for i in range(len(a)):
            j = int(overlaps[i].argmax()) if len(b) else -1
            if j < 0 or overlaps[i, j] < 0.5 or int(overlaps[:, j].argmax()) != i:
                continue
            points = (a.landmarks[i] + b.landmarks[j]) / 2
            box = (a.boxes[i] + b.boxes[j]) / 2
            across = points[1] - points[0]
            apart = float(np.linalg.norm(across))
            size = float((box[2:] - box[:2]).min()) * factor
            if apart < 1e-3 or size < 16 or _ignored(picture, box):
                continue
            nose = points[2] - (points[0] + points[1]) / 2
            gap = float(np.linalg.norm(a.landmarks[i] - b.landmarks[j], axis=1).mean()) / apart
            if gap <= LOOSE:
                turn = abs(float(nose @ across)) / apart**2
                known.append(KnownFace(number, box, points.astype(np.float32), apart, size, turn, gap))
    return known


def _ignored(picture: Picture, box: Floats) -> bool:
    ignored = picture.boxes[picture.ignore]
    return bool(len(ignored) and box_iou(box[None], ignored).max() >= 0.4)


def errors(
    detect: Callable[[int], Detections], known: Sequence[KnownFace], threshold: float
) -> list[tuple[KnownFace, float]]:
    """Each known face that is found (IoU 0.5, score of `threshold`) and its mean error in eye distances.

    `detect` gives the detections on a picture by its number, in its pixels; it is asked once a picture.
    """
    results = []
    found: dict[int, Detections] = {}
    for face in known:
        if face.picture not in found:
            seen = detect(face.picture)
            found[face.picture] = seen.select(seen.scores >= threshold)
        sure = found[face.picture]
        overlaps = box_iou(face.box[None], sure.boxes)[0]
        if len(sure) and overlaps.max() >= 0.5:
            answer = sure.landmarks[int(overlaps.argmax())]
            results.append((face, float(np.linalg.norm(answer - face.points, axis=1).mean()) / face.apart))
    return results


def by_kind(results: Sequence[tuple[KnownFace, float]]) -> dict[str, dict[str, Any]]:
    """Number of faces, mean and median error in eye distances of each bin; `clean` first."""
    groups: dict[str, list[float]] = {}
    for face, error in results:
        for kind in face.kinds:
            groups.setdefault(kind, []).append(error)
    order = ("clean", "frontal", "turned", "profile", "16–32 px", "32–48 px", "48–96 px", "≥ 96 px")
    return {
        k: {
            "faces": len(groups[k]),
            "mean": round(float(np.mean(groups[k])), 4),
            "median": round(float(np.median(groups[k])), 4),
        }
        for k in order
        if k in groups
    }
