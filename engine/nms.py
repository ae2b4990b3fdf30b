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
    """What `nms` does, without its checks; `limit` at most `len(boxes)`. For callers that hold no interpreter lock."""
    count = len(boxes)
    usable = np.empty(count, np.intp)
    n = 0
    for i in range(count):
        total = scores[i] + boxes[i, 0] + boxes[i, 1] + boxes[i, 2] + boxes[i, 3]
        if not np.isnan(total):
            usable[n] = i
            n += 1
    order = usable[:n][np.argsort(-scores[usable[:n]], kind="mergesort")]
    kept = np.empty(limit, np.intp)
    k = 0
    for a in range(n):
        if k == limit:
            break
        i = order[a]
        x1, y1, x2, y2 = (
            np.float64(boxes[i, 0]),
            np.float64(boxes[i, 1]),
            np.float64(boxes[i, 2]),
            np.float64(boxes[i, 3]),
        )
        area = max(0.0, x2 - x1) * max(0.0, y2 - y1)
        alone = True
        for b in range(k):
            j = kept[b]
            u1, v1, u2, v2 = (
                np.float64(boxes[j, 0]),
                np.float64(boxes[j, 1]),
                np.float64(boxes[j, 2]),
                np.float64(boxes[j, 3]),
            )
            width, height = min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)
            if width <= 0 or height <= 0:
                continue
            shared = width * height
            union = area + max(0.0, u2 - u1) * max(0.0, v2 - v1) - shared
            if shared > iou * union:
                alone = False
                break
        if alone:
            kept[k] = i
            k += 1
    return kept[:k]
