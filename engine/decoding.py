"""From a detector's output maps to boxes, in one pass over the scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from engine.nms import suppress

CHANNELS = 15
"""Of every output map: score · left, top, right, bottom · five times dx, dy."""


@compiled
def candidates(
    head: NDArray[np.float32], stride: int, threshold: float, width: float, height: float
) -> NDArray[np.float32]:
    """The faces that one output map of one picture claims.

    Args:
        head: float32 `[H/s,W/s,15]`: a score in 0…1, the distances from the cell's centre to the four edges and the
            offsets of the five landmarks from it, in strides. The centre of row j, column i is ((i+½)s, (j+½)s).
        stride: s, in pixels.
        threshold: the least score; only cells that reach it are decoded.
        width: of the picture without its padding, in pixels; boxes are clipped to it.
        height: likewise.

    Returns:
        float32 `[N,15]` x1, y1, x2, y2, score, five times x, y in pixels. A face whose numbers are not finite,
        whose box is empty after clipping, or whose landmarks all coincide is left out: nothing can be done with it.
    """
    rows, columns = head.shape[0], head.shape[1]
    count = 0
    for j in range(rows):
        for i in range(columns):
            if head[j, i, 0] >= threshold:
                count += 1
    found = np.empty((count, CHANNELS), np.float32)
    n = 0
    for j in range(rows):
        for i in range(columns):
            if not head[j, i, 0] >= threshold:
                continue
            cell = head[j, i]
            x, y = (i + 0.5) * stride, (j + 0.5) * stride
            face = found[n]
            face[0] = min(max(x - cell[1] * stride, 0.0), width)
            face[1] = min(max(y - cell[2] * stride, 0.0), height)
            face[2] = min(max(x + cell[3] * stride, 0.0), width)
            face[3] = min(max(y + cell[4] * stride, 0.0), height)
            face[4] = cell[0]
            total = float(cell[0])
            spread = 0.0
            for k in range(1, CHANNELS):
                total += cell[k]
            for k in range(5, CHANNELS):
                face[k] = (x if k % 2 else y) + cell[k] * stride
                spread = max(spread, abs(cell[k] - cell[5 + (k - 5) % 2]))
            if np.isfinite(total) and face[2] > face[0] and face[3] > face[1] and spread > 0:
                n += 1
    return found[:n]


def select(faces: NDArray[np.float32], iou: float, limit: int) -> NDArray[np.float32]:
    """The rows of `faces` (as `candidates` returns them) that survive non-maximum suppression, best score first."""
    boxes = np.ascontiguousarray(faces[:, :4])
    scores = np.ascontiguousarray(faces[:, 4])
    kept: NDArray[np.float32] = faces[suppress(boxes, scores, iou, min(limit, len(faces)))]
    return kept
