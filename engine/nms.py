"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled


def nms(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float = 0.4, limit: int | None = None
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: keep the best box, drop what overlaps it by more than `iou`, repeat.

    Args:
        boxes: float32 `[N,4]` x1, y1, x2, y2.
        scores: float32 `[N]`. Equal scores go by position, the first one first.
        iou: intersection over union, 0…1, above which the lesser box is dropped.
        limit: how many to keep at most; None keeps all.

    Returns:
        The positions of the kept boxes, best score first. A box or score with a NaN in it is never kept; a box without
        area overlaps nothing.

    Raises:
        ValueError: the shapes do not fit, or `iou` or `limit` is out of range.

    Example:
        >>> nms(np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]), np.float32([0.6, 0.9, 0.5])).tolist()
        [1, 2]
    """
    count = len(boxes)
    if boxes.shape != (count, 4) or scores.shape != (count,):
        raise ValueError(f"expected boxes [N,4] and scores [N], got {boxes.shape = }, {scores.shape = }")
    if not 0 <= iou <= 1:
        raise ValueError(f"iou must be within 0…1, got {iou}")
    if limit is None or limit > count:
        limit = count
    elif limit < 0:
        raise ValueError(f"limit must be at least 0, got {limit}")
    return suppress(np.asarray(boxes, np.float32, order="C"), np.asarray(scores, np.float32, order="C"), iou, limit)


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float, limit: int, least: float = -np.inf
) -> NDArray[np.intp]:
    """What `nms` does, without its checks, to boxes of a score of `least` or more; `limit` is at most `len(boxes)`."""
    kept = np.empty(limit, np.intp)
    left, area = np.empty(len(boxes), np.intp), np.empty(len(boxes), np.float64)
    return kept[: _suppress(boxes, scores, float(iou), float(np.float32(least)), left, area, kept)]


@compiled
def _suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    iou: float,
    least: float,
    left: NDArray[np.intp],
    area: NDArray[np.float64],
    kept: NDArray[np.intp],
) -> int:
    """Fill `kept` as far as there is something to keep, and return how far; `left` and `area` are room to work in."""
    # No sorting: the pass that drops what overlaps the box just kept also finds the next best, and what is left is
    # moved together, so that passes grow shorter.
    count = len(boxes)
    remaining = 0
    best = -1
    for i in range(count):
        width, height = float(boxes[i, 2]) - float(boxes[i, 0]), float(boxes[i, 3]) - float(boxes[i, 1])
        area[i] = max(0.0, width) * max(0.0, height)
        if not scores[i] >= least or np.isnan(scores[i] + boxes[i, 0] + boxes[i, 1] + boxes[i, 2] + boxes[i, 3]):
            continue
        left[remaining] = i
        remaining += 1
        if best < 0 or scores[i] > scores[best]:
            best = i
    for k in range(len(kept)):
        if best < 0:
            return k
        kept[k] = last = best
        x1, y1, x2, y2 = float(boxes[last, 0]), float(boxes[last, 1]), float(boxes[last, 2]), float(boxes[last, 3])
        best = -1
        survivors = 0
        for n in range(remaining):
            i = left[n]
            if i == last:
                continue
            width = min(x2, float(boxes[i, 2])) - max(x1, float(boxes[i, 0]))
            height = min(y2, float(boxes[i, 3])) - max(y1, float(boxes[i, 1]))
            if width > 0 and height > 0:
                shared = width * height
                if not shared <= iou * (area[last] + area[i] - shared):
                    continue
            left[survivors] = i
            survivors += 1
            if best < 0 or scores[i] > scores[best]:
                best = i
        remaining = survivors
    return len(kept)
