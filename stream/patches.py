"""Faces as small patches of grey, to see at next to no cost whether one goes on as it was or is suddenly another.

A face that moves, talks or turns changes from frame to frame by little; where another takes its place, however alike
the background, the patch breaks between two neighbouring frames. Whose the faces are, only an embedding can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from stream.frames import VideoInfo
from stream.orientation import boxes_to_coded

SIDE = 16
"""Cells along each side of a patch."""
BROKEN = 0.65
"""Likeness of the patches of two neighbouring frames from which one face may have become another. Where another face
takes the place of one it is 0.3 to 0.65; a face that turns fast stays above."""

NOTHING = 0.1
"""How much more of a piece two sides have to be than the whole, in patches, to be those of two faces."""


def patches_of(cells: NDArray[Any]) -> NDArray[np.float32]:
    """`[N,SIDE²]`, zero mean, unit length, of `[N,SIDE,SIDE]` samples of N faces: what brightness and contrast leave as
    it is; all zero where nothing is to be seen.

    Example:
        >>> cells = np.arange(256, dtype=np.uint8).reshape(16, 16)
        >>> one, other = patches_of(np.stack([cells, cells // 2 + 40]))
        >>> round(alike(one, other), 2)
        1.0
    """
    patches = np.empty((len(cells), SIDE * SIDE), np.float32)
    _even_out(cells.reshape(len(cells), SIDE * SIDE), patches)
    return patches


@compiled
def _even_out(cells: NDArray[Any], patches: NDArray[np.float32]) -> None:
    """Fill patches: for a few faces NumPy would take ten times as long."""
    count, size = patches.shape
    for n in range(count):
        total = energy = 0.0
        for i in range(size):
            total += float(cells[n, i])
        for i in range(size):
            rest = float(cells[n, i]) - total / size
            energy += rest * rest
        length = np.sqrt(energy)
        for i in range(size):
            patches[n, i] = (float(cells[n, i]) - total / size) / length if length > 1.0 else 0.0


def patch_places(boxes: NDArray[np.float32], info: VideoInfo) -> NDArray[np.int64]:
    """Of `[N,4]` xyxy pixels as displayed, the parts `[N,4]` of the stored picture that patches are made of: x1, y1,
    x2, y2, whole pixels inside it, two at least each way."""
    size = np.array([info.coded_width, info.coded_height])
    coded = np.rint(boxes_to_coded(boxes, info))
    start = np.clip(coded[:, :2], 0, size - 2)
    return np.concatenate([start, np.maximum(start + 2, np.minimum(coded[:, 2:], size))], axis=1).astype(np.int64)


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The correlation of two patches, -1…1; two that show nothing are alike."""
    if not (one.any() or other.any()):
        return 1.0
    return float(one @ other)


def is_broken(patches: Sequence[NDArray[np.float32]]) -> bool:
    """Whether the face of neighbouring frames is suddenly another."""
    return any(alike(one, other) < BROKEN for one, other in pairwise(patches))


def parting(patches: Sequence[NDArray[np.float32]]) -> int:
    """The first of the patches of neighbouring frames, of two faces, that shows the second of them: 1 … n - 1.

    It is where both sides are most of a piece, the last such place; where that says nothing, the middle.

    Example:
        >>> a, b = np.eye(2, dtype=np.float32)
        >>> parting([a, a, a, b])
        3
    """
    sums = np.cumsum(np.stack(patches), axis=0, dtype=np.float64)
    unity = np.linalg.norm(sums[:-1], axis=1) + np.linalg.norm(sums[-1] - sums[:-1], axis=1)
    if unity.max() - np.linalg.norm(sums[-1]) < NOTHING:
        return (len(patches) + 1) // 2
    return int(np.flatnonzero(unity >= unity.max() - 1e-6)[-1]) + 1
