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
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(f"expected boxes [N,4] and scores [N], got {boxes.shape = }, {scores.shape = }")
    if not 0 <= iou <= 1:
        raise ValueError(f"iou must be within 0…1, got {iou}")
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be at least 0, got {limit}")
    most = len(boxes) if limit is None else min(limit, len(boxes))
    return suppress(np.ascontiguousarray(boxes, np.float32), np.ascontiguousarray(scores, np.float32), iou, most)


@compiled
def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float, limit: int) -> NDArray[np.intp]:
    """What `nms` does, without its checks; `limit` is at most `len(boxes)`."""
    # No sorting: the best of what is left is looked for again after each one kept, and there are few to keep.
    count = len(boxes)
    left = np.empty(count, np.bool_)
    area = np.empty(count, np.float64)
    for i in range(count):
        width, height = float(boxes[i, 2]) - float(boxes[i, 0]), float(boxes[i, 3]) - float(boxes[i, 1])
        area[i] = max(0.0, width) * max(0.0, height)
        left[i] = not np.isnan(scores[i] + boxes[i, 0] + boxes[i, 1] + boxes[i, 2] + boxes[i, 3])
    kept = np.empty(limit, np.intp)
    for k in range(limit):
        best = -1
        for i in range(count):
            if left[i] and (best < 0 or scores[i] > scores[best]):
                best = i
        if best < 0:
            return kept[:k]
        kept[k] = best
        left[best] = False
        x1, y1, x2, y2 = float(boxes[best, 0]), float(boxes[best, 1]), float(boxes[best, 2]), float(boxes[best, 3])
        for i in range(count):
            if left[i]:
                width = min(x2, float(boxes[i, 2])) - max(x1, float(boxes[i, 0]))
                height = min(y2, float(boxes[i, 3])) - max(y1, float(boxes[i, 1]))
                if width > 0 and height > 0:
                    shared = width * height
                    left[i] = shared <= iou * (area[best] + area[i] - shared)
    return kept
