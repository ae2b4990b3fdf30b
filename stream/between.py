"""Whether what stands somewhere stayed there from one look to the next: told by the few cells that every frame is
reduced to anyway, without a look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from stream.frames import VideoInfo
from stream.orientation import to_coded
from stream.shots import GRID, Glance

GROWN = 0.25
"""Part of a face's width and height that is taken with it on each side: hair moves with a head."""
FEWEST = 9
"""Cells under which nothing can be said: a face so small moves by a few pixels."""
FAINT = 0.1
"""Contrast, as a part of the whole picture's, under which there is nothing to be seen."""
UNLIKE = 0.55
"""How far from both of its ends a frame inside a gap may be; see `astray`."""


def astray(pictures: Sequence[Glance], boxes: NDArray[np.float32], info: VideoInfo) -> int | None:
    """The frame inside a gap on which the place of a face is most unlike what it was like at both ends; None if that is
    hardly so anywhere.

    A face that moves evenly looks, in cells nearly as large as itself, much like a blend of how it looked at the ends.
    The light does not count: of every place the mean and the contrast are taken out.

    Args:
        pictures: of all frames of the gap, both ends included.
        boxes: `[N,2,4]` xyxy pixels as displayed, of every face where it is at either end.
        info: the video's geometry.
    """
    structures = np.stack([picture.structure for picture in pictures])
    scale = np.array(GRID, np.float32) / (info.coded_width, info.coded_height)
    for face in boxes:
        corners = np.concatenate([face[:, :2].min(axis=0)[None], face[:, 2:].max(axis=0)[None]])
        more = (corners[1] - corners[0]) * np.float32(GROWN)
        across = to_coded(np.stack([corners[0] - more, corners[1] + more]), info) * scale
        left, top = np.clip(np.round(across.min(axis=0)), 0, GRID).astype(int).tolist()
        right, bottom = np.clip(np.round(across.max(axis=0)), 0, GRID).astype(int).tolist()
        if (right - left) * (bottom - top) < FEWEST:
            continue
        frame = _astray(structures, GRID[0], left, top, right, bottom, FAINT, UNLIKE)
        if frame:
            return int(frame)
    return None


@compiled
def _astray(
    pictures: NDArray[np.float32],
    columns: int,
    left: int,
    top: int,
    right: int,
    bottom: int,
    faint: float,
    unlike: float,
) -> int:
    """The number of the picture that is most unlike the blend of the first and the last, in some of their cells; 0 if
    none is so by more than `unlike`, or there is nothing to be seen."""
    last = pictures.shape[0] - 1
    least = faint * faint * (right - left) * (bottom - top) / pictures.shape[1]
    first_alone = _product(pictures, 0, 0, columns, left, top, right, bottom)
    last_alone = _product(pictures, last, last, columns, left, top, right, bottom)
    if first_alone < least or last_alone < least:
        return 0
    ends = _product(pictures, 0, last, columns, left, top, right, bottom) / np.sqrt(first_alone * last_alone)
    # The blend of two that are far apart is farther from what lies between them.
    most, found = unlike + 0.25 * np.sqrt(max(0.0, 2.0 - 2.0 * ends)), 0
    for i in range(1, last):
        alone = _product(pictures, i, i, columns, left, top, right, bottom)
        if alone < least:
            continue
        to_first = _product(pictures, i, 0, columns, left, top, right, bottom) / np.sqrt(alone * first_alone)
        to_last = _product(pictures, i, last, columns, left, top, right, bottom) / np.sqrt(alone * last_alone)
        share = i / last
        blend = (1 - share) * (1 - share) + share * share + 2 * share * (1 - share) * ends
        apart = np.sqrt(max(0.0, 1.0 + blend - 2.0 * ((1 - share) * to_first + share * to_last)))
        if apart > most:
            most, found = apart, i
    return found


@compiled
def _product(
    pictures: NDArray[np.float32], i: int, j: int, columns: int, left: int, top: int, right: int, bottom: int
) -> float:
    """The scalar product of some cells of two pictures, their means taken out."""
    both = mine = theirs = 0.0
    for y in range(top, bottom):
        for x in range(left, right):
            a, b = pictures[i, y * columns + x], pictures[j, y * columns + x]
            both += a * b
            mine += a
            theirs += b
    return both - mine * theirs / ((right - left) * (bottom - top))
