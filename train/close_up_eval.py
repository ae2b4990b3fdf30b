"""Recall on close-ups, in all and by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.metrics import box_iou
from train.contenders import Contender
from train.data.boxes import Picture
from train.data.close_ups import CloseUp, close_ups
from train.data.pseudo_labels import agree
from train.teacher_views import Sightings


def agreed(pictures: Sequence[Picture], seen: Sightings) -> list[Picture]:
    """The pictures with the faces that both teachers are sure of and place alike (score 0.5, one 0.7; IoU 0.6)."""
    labelled = []
    for picture, first, second in zip(pictures, seen.yunet, seen.centerface, strict=True):
        faces, _ = agree(first, second, sure=0.7, maybe=0.5, iou=0.6)
        height, width = picture.rgb.shape[:2]
        boxes = np.clip(faces.boxes, 0, np.array([width, height] * 2, np.float32))
        labelled.append(
            Picture(picture.name, picture.rgb, boxes, np.zeros(len(boxes), bool), faces.landmarks, picture.source)
        )
    return labelled


def gather(sources: dict[str, Sequence[Picture]], count: int) -> list[CloseUp]:
    """About `count` close-ups, as many from each source; one that has too few leaves its share to nobody."""
    each = -(-count // max(1, len(sources)))
    return [crop for name, pictures in sources.items() for crop in close_ups(pictures, each, name)]


def hits(contender: Contender, crops: Sequence[CloseUp], size: int = 640) -> NDArray[np.bool_]:
    """`[len(crops)]`: whether the face is found with IoU 0.5 and a score of at least the contender's threshold."""
    met = np.zeros(len(crops), np.bool_)
    for number, crop in enumerate(crops):
        seen = contender.detect(crop.picture.rgb, size)
        sure = seen.boxes[seen.scores >= contender.threshold]
        met[number] = bool(len(sure) and box_iou(sure, crop.picture.boxes).max() >= 0.5)
    return met


def by_kind(crops: Sequence[CloseUp], met: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    """How many close-ups and which part of them is found: `all`, then each kind of `CloseUp.kinds`."""
    groups: dict[str, list[bool]] = {"all": [bool(v) for v in met]}
    for crop, hit in zip(crops, met, strict=True):
        for kind in crop.kinds:
            groups.setdefault(kind, []).append(bool(hit))
    order = ["all", *sorted(k for k in groups if k != "all")]
    return {
        k: {"crops": len(groups[k]), "recall": round(float(np.mean(groups[k])), 4) if groups[k] else None}
        for k in order
    }
