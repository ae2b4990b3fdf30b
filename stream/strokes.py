"""The two strokes of the overlay, compiled: an outline and a plate with text.

Both write one component's samples (`view`, `[h,w]`, uint8 or uint16, any strides) of a picture that has
`width` × `height` luma pixels. A sample stands for 2^shift_x × 2^shift_y luma pixels, fewer at the right and
lower rim of a picture of odd size, and takes up the ink in proportion to how many of them are covered.
Rectangles are whole luma pixels inside the picture. All arithmetic is in whole numbers, so that a GPU draws the very
same (engine/cuda/draw.cuh).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from stream.planes import Samples


@compiled
def _span(first: int, last: int, low: int, high: int) -> int:
    """Length of the part of first…last that lies in low…high."""
    return max(0, min(last, high) - max(first, low))


@compiled
def outline(
    view: Samples,
    left: int,
    top: int,
    right: int,
    bottom: int,
    thickness: int,
    width: int,
    height: int,
    shift_x: int,
    shift_y: int,
    ink: int,
) -> None:
    """Mix `ink` into every sample by the share of its luma pixels that lie on the outline."""
    in_left, in_right = left + thickness, right - thickness
    in_top, in_bottom = top + thickness, bottom - thickness
    if shift_x == 0 and shift_y == 0:
        for y in range(top, bottom):
            if y < in_top or y >= in_bottom or in_left >= in_right:
                view[y, left:right] = ink
            else:
                view[y, left:in_left] = ink
                view[y, in_right:right] = ink
        return
    for row in range(top >> shift_y, ((bottom - 1) >> shift_y) + 1):
        y0, y1 = row << shift_y, min((row + 1) << shift_y, height)
        outer_y, inner_y = _span(y0, y1, top, bottom), _span(y0, y1, in_top, in_bottom)
        column, end = left >> shift_x, ((right - 1) >> shift_x) + 1
        while column < end:
            x0, x1 = column << shift_x, min((column + 1) << shift_x, width)
            inner_x = _span(x0, x1, in_left, in_right)
            whole = (x1 - x0) * (y1 - y0)
            covered = _span(x0, x1, left, right) * outer_y - inner_x * inner_y
            if covered == whole:
                view[row, column] = ink
            elif covered > 0:
                view[row, column] = (view[row, column] * (whole - covered) + ink * covered + whole // 2) // whole
            elif inner_x == x1 - x0:  # the inside: go on to the right stroke
                column = max(column, (in_right >> shift_x) - 1)
            column += 1


@compiled
def plate(
    view: Samples,
    left: int,
    top: int,
    mask: NDArray[np.uint8],
    width: int,
    height: int,
    shift_x: int,
    shift_y: int,
    back: int,
    text: int,
) -> None:
    """Set an opaque plate with antialiased text on it; every sample takes the mean of its luma pixels."""
    bottom, right = min(top + mask.shape[0], height), min(left + mask.shape[1], width)
    contrast = text - back
    if shift_x == 0 and shift_y == 0:
        for y in range(top, bottom):
            for x in range(left, right):
                view[y, x] = (2 * (255 * back + contrast * mask[y - top, x - left]) + 255) // 510
        return
    for row in range(top >> shift_y, ((bottom - 1) >> shift_y) + 1):
        y0, y1 = row << shift_y, min((row + 1) << shift_y, height)
        upper, lower = max(y0, top), min(y1, bottom)
        for column in range(left >> shift_x, ((right - 1) >> shift_x) + 1):
            x0, x1 = column << shift_x, min((column + 1) << shift_x, width)
            covered, whole = _span(x0, x1, left, right) * (lower - upper), (x1 - x0) * (y1 - y0)
            total = 0
            for y in range(upper, lower):
                for x in range(max(x0, left), min(x1, right)):
                    total += mask[y - top, x - left]
            mixed = 255 * (back * covered + np.int64(view[row, column]) * (whole - covered)) + contrast * total
            view[row, column] = (2 * mixed + 255 * whole) // (510 * whole)
