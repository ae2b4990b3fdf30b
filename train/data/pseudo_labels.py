"""Labels for pictures that have none, from detectors that agree.

A face that every teacher sees is a positive (the mean of their boxes and points); what only one of them sees is
ignored: neither face nor background. The same findings give landmarks to faces whose boxes are known.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.metrics import box_iou
from engine.types import Detections
from train.data.boxes import Picture, unknown_landmarks
from train.data.face_teachers import FaceTeacher
from train.output import replaced


@dataclass(frozen=True, slots=True)
class View:
    """One way a teacher looks at a picture."""

    size: int
    """Longer side in pixels."""
    flipped: bool = False


YUNET_VIEWS = (View(640), View(640, flipped=True), View(320), View(960))
CENTERFACE_VIEWS = (View(640), View(320))


def flip_detections(found: Detections, width: int) -> Detections:
    """The detections of the mirrored picture, points renamed so that left stays left."""
    boxes = found.boxes.copy()
    boxes[:, [0, 2]] = width - found.boxes[:, [2, 0]]
    landmarks = found.landmarks[:, [1, 0, 2, 4, 3]].copy()
    landmarks[..., 0] = width - landmarks[..., 0]
    return Detections(boxes, found.scores, landmarks)


def fuse(parts: Sequence[Detections], iou: float = 0.5) -> Detections:
    """One teacher's findings over several views: groups around the best-scored box, averaged by score.

    The score of a group is its best one.
    """
    boxes = np.concatenate([p.boxes for p in parts])
    scores = np.concatenate([p.scores for p in parts])
    points = np.concatenate([p.landmarks for p in parts])
    order = np.argsort(-scores, kind="stable")
    boxes, scores, points = boxes[order], scores[order], points[order]
    free = np.ones(len(boxes), bool)
    overlaps = box_iou(boxes, boxes)
    rows: list[tuple[np.ndarray, float, np.ndarray]] = []
    for i in range(len(boxes)):
        if not free[i]:
            continue
        group = free & (overlaps[i] >= iou)
        group[i] = True
        free &= ~group
        weights = scores[group] / scores[group].sum()
        rows.append((weights @ boxes[group], float(scores[i]), np.tensordot(weights, points[group], axes=(0, 0))))
    if not rows:
        return Detections.empty()
    return Detections(
        np.stack([r[0] for r in rows]).astype(np.float32),
        np.array([r[1] for r in rows], np.float32),
        np.stack([r[2] for r in rows]).astype(np.float32),
    )


def look(teacher: FaceTeacher, picture: Picture, views: Sequence[View], threshold: float) -> Detections:
    """What one teacher sees over all its views, in pixels of the picture."""
    parts = []
    for view in views:
        rgb = np.ascontiguousarray(picture.rgb[:, ::-1]) if view.flipped else picture.rgb
        found = teacher.detect(rgb, view.size, threshold)
        parts.append(flip_detections(found, rgb.shape[1]) if view.flipped else found)
    return fuse(parts)


def agree(
    first: Detections,
    second: Detections,
    *,
    sure: float = 0.5,
    maybe: float = 0.2,
    alone: tuple[float, float] = (0.6, 0.4),
    iou: float = 0.4,
) -> tuple[Detections, np.ndarray]:
    """Positives (mean of both) and boxes to ignore `[M,4]`.

    A face that both see, one of them with a score of `sure` or more and the other with `maybe`, is a positive.
    What only one of them sees is to be ignored where its score reaches its value in `alone`; below, it is background:
    weak sightings are mostly hands, knees and letters, which the student has to learn are no faces.
    """
    overlaps = box_iou(first.boxes, second.boxes)
    used = np.zeros(len(second), bool)
    rows, ignored = [], []
    for i in np.argsort(-first.scores, kind="stable"):
        if first.scores[i] < maybe:
            continue
        here = np.where(used | (second.scores < maybe), -1.0, overlaps[i])
        j = int(here.argmax()) if len(here) else -1
        if j >= 0 and here[j] >= iou:
            used[j] = True
            if max(first.scores[i], second.scores[j]) >= sure:
                rows.append((i, j))
            else:
                ignored.append(first.boxes[i])
        elif first.scores[i] >= alone[0]:
            ignored.append(first.boxes[i])
    ignored += [second.boxes[j] for j in np.nonzero(~used & (second.scores >= alone[1]))[0]]
    if rows:
        a, b = first.select(np.array([r[0] for r in rows])), second.select(np.array([r[1] for r in rows]))
        positives = Detections(
            np.asarray((a.boxes + b.boxes) / 2, np.float32),
            np.maximum(a.scores, b.scores),
            np.asarray((a.landmarks + b.landmarks) / 2, np.float32),
        )
    else:
        positives = Detections.empty()
    return positives, np.asarray(ignored, np.float32).reshape(-1, 4)


def pseudo_label(picture: Picture, first: Detections, second: Detections) -> Picture:
    """The picture with what the teachers agree on, ignoring what they do not."""
    positives, ignored = agree(first, second)
    height, width = picture.rgb.shape[:2]
    boxes = np.clip(np.concatenate([positives.boxes, ignored]), 0, [width, height, width, height])
    ignore = np.arange(len(boxes)) >= len(positives)
    whole = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1
    landmarks = np.concatenate([positives.landmarks, unknown_landmarks(len(ignored))])
    return replace(picture, boxes=boxes[whole].astype(np.float32), ignore=ignore[whole], landmarks=landmarks[whole])


def add_landmarks(
    picture: Picture, first: Detections, second: Detections, iou: float = 0.45, *, both: bool = False
) -> Picture:
    """Give the known faces the teachers' points, where a teacher's box overlaps by `iou` or more.

    Two teachers are averaged where their points differ by less than 15 % of the box, else there are none. Where one
    teacher alone saw the face its points are taken, unless `both` are asked for.
    """
    landmarks = picture.landmarks.copy()
    found = []
    for seen in (first, second):
        overlaps = box_iou(picture.boxes, seen.boxes)
        points = unknown_landmarks(len(picture.boxes))
        for face, row in enumerate(overlaps):
            if len(row) and row.max() >= iou and seen.scores[row.argmax()] >= 0.3:
                points[face] = seen.landmarks[row.argmax()]
        found.append(points)
    size = (picture.boxes[:, 2:] - picture.boxes[:, :2]).max(axis=1, initial=1.0)
    for face in range(len(landmarks)):
        a, b = found[0][face], found[1][face]
        if np.isnan(a).any() or np.isnan(b).any():
            if both:
                continue
            landmarks[face] = b if np.isnan(a).any() else a
        elif np.linalg.norm(a - b, axis=1).max() < 0.15 * size[face]:
            landmarks[face] = (a + b) / 2
    return picture.with_landmarks(landmarks)


def add_missing(picture: Picture, first: Detections, second: Detections, iou: float = 0.3) -> Picture:
    """The picture with the faces its labels miss: agreed ones to learn, lone ones to ignore.

    Hand-made labels leave out faces in the background; learnt as background they teach the opposite of the others.
    A sighting that overlaps a known box by `iou` or more is that face and adds nothing.
    """
    sighted = pseudo_label(picture, first, second)
    overlaps = box_iou(sighted.boxes, picture.boxes)
    new = overlaps.max(axis=1, initial=0.0) < iou
    return replace(
        picture,
        boxes=np.concatenate([picture.boxes, sighted.boxes[new]]),
        ignore=np.concatenate([picture.ignore, sighted.ignore[new]]),
        landmarks=np.concatenate([picture.landmarks, sighted.landmarks[new]]),
    )


def cached_views(
    pictures: Sequence[Picture],
    teacher: FaceTeacher,
    views: Sequence[View],
    folder: Path,
    *,
    threshold: float = 0.15,
    progress: Callable[[int, int], None] | None = None,
) -> list[Detections]:
    """`look` at every picture, kept in one `.npz` file a teacher and set of pictures under `folder`.

    Other pictures under the same names, as frames of two videos are, are another set. A file that is damaged is made
    anew.
    """
    digest = hashlib.sha256(f"{views} {threshold}".encode())
    for picture in pictures:
        digest.update(f"\n{picture.name} {picture.rgb.shape} ".encode())
        digest.update(np.ascontiguousarray(picture.rgb).data)
    path = folder / f"{teacher.name.lower()}-{digest.hexdigest()[:16]}.npz"
    found = _kept_views(path)
    if found is not None:
        return found
    found = []
    for number, picture in enumerate(pictures):
        found.append(look(teacher, picture, views, threshold))
        if progress is not None:
            progress(number + 1, len(pictures))
    with replaced(path) as temporary:
        np.savez_compressed(
            temporary,
            counts=np.array([len(f) for f in found]),
            boxes=np.concatenate([f.boxes for f in found]),
            scores=np.concatenate([f.scores for f in found]),
            landmarks=np.concatenate([f.landmarks for f in found]),
        )
    return found


def _kept_views(path: Path) -> list[Detections] | None:
    """What `cached_views` wrote; None where it is missing or damaged."""
    try:
        with np.load(path) as stored:
            splits = np.cumsum(stored["counts"])[:-1]
            columns = [np.split(stored[name], splits) for name in ("boxes", "scores", "landmarks")]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return [Detections(*row) for row in zip(*columns, strict=True)]
