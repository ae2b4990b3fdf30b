"""From a network's heads to faces, for judging a detector while it is trained (plain NumPy, no engine runtime)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.decoding import VOTES, vote
from engine.types import Detections
from train.data.boxes import cell_centres, decode_boxes

Heads = dict[str, NDArray[np.float32]]


def decode_heads(
    heads: Heads, height: int, width: int, threshold: float = 0.02, iou: float = 0.45, limit: int = 750
) -> Detections:
    """Faces in pixels of the network's input from the heads (score as a probability) of one picture `[1,h,w,15]`.

    Boxes and landmarks are averaged as the engine does it (`engine.decoding.vote`).
    """
    strides = sorted(int(name.removeprefix("head")) for name in heads)
    rows = np.concatenate([heads[f"head{s}"][0].reshape(-1, 15) for s in strides])
    centres, steps = cell_centres(height, width, strides)
    keep = np.nonzero(rows[:, 0] >= VOTES * threshold)[0]
    keep = keep[np.argsort(-rows[keep, 0], kind="stable")][:5000]
    if not len(keep):
        return Detections.empty()
    boxes, landmarks = decode_boxes(rows[keep, 1:], centres[keep], steps[keep])
    boxes = np.clip(boxes, 0, np.array([width, height] * 2))
    faces = np.hstack([boxes, rows[keep, :1], landmarks.reshape(-1, 10)]).astype(np.float32)
    rects = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float).tolist()
    left = np.asarray(cv2.dnn.NMSBoxes(rects, faces[:, 4].astype(float).tolist(), 0.0, iou), np.intp).reshape(-1)
    left = left[np.argsort(-faces[left, 4], kind="stable")][:limit]
    voted = vote(faces, left[faces[left, 4] >= threshold])
    return Detections(voted[:, :4].copy(), voted[:, 4].copy(), voted[:, 5:].reshape(-1, 5, 2))


def padded(rgb: NDArray[np.uint8], size: int, multiple: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """`rgb` with its longer side scaled to `size`, in the top left of a black canvas whose sides are multiples of
    `multiple`; and how wide and high it is there."""
    height, width = rgb.shape[:2]
    factor = size / max(height, width)
    inner = max(1, round(width * factor)), max(1, round(height * factor))
    canvas = np.zeros((-(-inner[1] // multiple) * multiple, -(-inner[0] // multiple) * multiple, 3), np.uint8)
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    canvas[: inner[1], : inner[0]] = cv2.resize(rgb, inner, interpolation=way)
    return canvas, inner


def find_faces(
    predict: Callable[[NDArray[np.uint8]], Heads],
    rgb: NDArray[np.uint8],
    size: int = 640,
    threshold: float = 0.02,
    multiple: int = 64,
) -> Detections:
    """Faces in pixels of `rgb`, its longer side scaled to `size`, padded with black to a `multiple`."""
    height, width = rgb.shape[:2]
    canvas, inner = padded(rgb, size, multiple)
    found = decode_heads(predict(canvas[None]), canvas.shape[0], canvas.shape[1], threshold)
    ratio = np.array([width / inner[0], height / inner[1]], np.float32)
    boxes = np.clip(found.boxes, 0, [inner[0], inner[1]] * 2) * np.tile(ratio, 2)
    return Detections(boxes.astype(np.float32), found.scores, (found.landmarks * ratio).astype(np.float32))
