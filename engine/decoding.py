"""From a detector's output maps to boxes, in one pass over the scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from engine.nms import suppress

CHANNELS = 15
"""Of every output map: score · left, top, right, bottom · five times dx, dy."""
SAME_FACE = 0.6
"""Intersection over union from which two boxes mean one face when they are averaged."""
VOTES = 0.5
"""Part of the best score from which a box counts in the average; what is less sure is less exact."""


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
    # In float64, as below: a threshold rounded to float32 might let fewer pass.
    count = np.count_nonzero(head[:, :, 0] >= np.float64(threshold))
    found = np.empty((count, CHANNELS), np.float32)
    return found[: _decode(head, stride, float(threshold), float(width), float(height), found)] if count else found


@compiled
def _decode(
    head: NDArray[np.float32],
    stride: int,
    threshold: float,
    width: float,
    height: float,
    found: NDArray[np.float32],
) -> int:
    """Fill `found` from its first row on, and return how many rows that takes."""
    rows, columns = head.shape[0], head.shape[1]
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
    return n


def select(faces: NDArray[np.float32], iou: float, limit: int, least: float = -np.inf) -> NDArray[np.float32]:
    """The rows of `faces` (as `candidates` returns them) that survive non-maximum suppression, best score first, down
    to a score of `least`.

    Boxes and landmarks of the survivors are means over the rows that mean the same face (`vote`).
    """
    boxes = np.ascontiguousarray(faces[:, :4])
    scores = np.ascontiguousarray(faces[:, 4])
    return vote(faces, suppress(boxes, scores, iou, min(limit, len(faces)), least))


def vote(faces: NDArray[np.float32], kept: NDArray[np.intp]) -> NDArray[np.float32]:
    """The rows `kept` of `faces` with box and landmarks averaged over all rows that mean the same face.

    Box voting as in Gidaris and Komodakis, ICCV 2015, § 5: neighbouring cells see one face from different places, and
    their mean errs less than the best of them. A row votes if its box overlaps the kept one by `SAME_FACE` (IoU) and
    its score is at least `VOTES` of the kept one's; its weight is overlap times score. Scores stay as they are.

    Args:
        faces: float32 `[N,15]`: box, score, five points.
        kept: positions in it.

    Returns:
        float32 `[len(kept),15]`.
    """
    result = np.empty((len(kept), CHANNELS), np.float32)
    _vote(faces, kept, np.empty(CHANNELS, np.float64), result)
    return result


@compiled
def _vote(
    faces: NDArray[np.float32], kept: NDArray[np.intp], sums: NDArray[np.float64], result: NDArray[np.float32]
) -> None:
    """Fill `result`; `sums` is room to work in."""
    for n in range(len(kept)):
        best = faces[kept[n]]
        area = (float(best[2]) - best[0]) * (float(best[3]) - best[1])
        sums[:] = 0.0
        total, votes = 0.0, 0
        for i in range(len(faces)):
            face = faces[i]
            width = min(float(best[2]), float(face[2])) - max(float(best[0]), float(face[0]))
            height = min(float(best[3]), float(face[3])) - max(float(best[1]), float(face[1]))
            if width <= 0 or height <= 0 or face[4] < VOTES * best[4]:
                continue
            shared = width * height
            other = (float(face[2]) - face[0]) * (float(face[3]) - face[1])
            overlap = shared / (area + other - shared)
            if overlap >= SAME_FACE:
                weight = overlap * face[4]
                total += weight
                votes += 1
                for k in range(CHANNELS):
                    sums[k] += weight * face[k]
        for k in range(CHANNELS):
            result[n, k] = sums[k] / total if votes > 1 else best[k]
        result[n, 4] = best[4]
