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
    corners = np.stack([boxes[..., :2].min(axis=1), boxes[..., 2:].max(axis=1)], axis=1)
    more = (corners[:, 1] - corners[:, 0]) * np.float32(GROWN)
    corners += np.stack([-more, more], axis=1)
    stored = to_coded(corners, info) * _cells_a_pixel(info)
    ends = np.stack([stored.min(axis=1), stored.max(axis=1)], axis=1)
    places = np.clip(np.rint(ends), 0, GRID).astype(np.int64).reshape(-1, 4)
    return (
        _astray(np.stack([picture.structure for picture in pictures]), places, GRID[0], FEWEST, FAINT, UNLIKE) or None
    )


def _cells_a_pixel(info: VideoInfo) -> NDArray[np.float32]:
    return np.array([GRID[0] / info.coded_width, GRID[1] / info.coded_height], np.float32)


@compiled
def _astray(
    pictures: NDArray[np.float32],
    places: NDArray[np.int64],
    columns: int,
    fewest: int,
    faint: float,
    unlike: float,
) -> int:
    """The number of the picture that is most unlike the blend of the first and the last, in the cells of the first of
    the `places`, `[N,4]` left, top, right, bottom, where any is so by more than `unlike`; 0 if none is anywhere."""
    last = pictures.shape[0] - 1
    for n in range(places.shape[0]):
        left, top, right, bottom = places[n, 0], places[n, 1], places[n, 2], places[n, 3]
        size = (right - left) * (bottom - top)
        least = faint * faint * size / pictures.shape[1]
        first_alone = _product(pictures, 0, 0, columns, left, top, right, bottom)
        last_alone = _product(pictures, last, last, columns, left, top, right, bottom)
        if size < fewest or first_alone < least or last_alone < least:
            continue
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
        if found:
            return found
    return 0


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
    return both - mine * theirs / max(1, (right - left) * (bottom - top))
