"""The strokes of the overlay, compiled: outlines, and plates with text.

They are written into one component's samples (`view`, `[h,w]`, uint8 or uint16, any strides) of a picture that has
`width` × `height` luma pixels, all marks of the picture in one call. A sample stands for 2^shift_x × 2^shift_y luma
pixels, fewer at the right and lower rim of a picture of odd size, and takes up the ink in proportion to how many of
them are covered. Rectangles are whole luma pixels inside the picture. All results are those of arithmetic in whole
numbers, so that a GPU draws the very same (engine/cuda/draw.cuh).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from stream.planes import Samples

THICKNESS, FIRST, INKS = 4, 5, 6
"""Columns of a table of marks, after left, top, right and bottom: of an outline, its thickness, of a plate, 0 there and
where its mask begins; then two inks for each component, the outline's or plate's and the text's."""


@compiled
def paint(
    view: Samples,
    marks: NDArray[np.int64],
    masks: NDArray[np.uint8],
    component: int,
    width: int,
    height: int,
    shift_x: int,
    shift_y: int,
) -> None:
    """Draw all `marks` (`[n,6+2·components]`, see `INKS`) in their order. `masks` has those of all plates, row after
    row, each as large as its plate: 255 where it shows text."""
    for i in range(marks.shape[0]):
        left, top, right, bottom = marks[i, 0], marks[i, 1], marks[i, 2], marks[i, 3]
        ink, text = marks[i, INKS + 2 * component], marks[i, INKS + 2 * component + 1]
        if marks[i, THICKNESS]:
            _outline(view, left, top, right, bottom, marks[i, THICKNESS], width, height, shift_x, shift_y, ink)
        else:
            mask = masks[marks[i, FIRST] :]
            _plate(view, left, top, right, bottom, mask, width, height, shift_x, shift_y, ink, text)


@compiled
def _span(first: int, last: int, low: int, high: int) -> int:
    """Length of the part of first…last that lies in low…high."""
    return max(0, min(last, high) - max(first, low))


@compiled
def _mean(total: float, parts: float) -> np.int32:
    """`total / parts`, whole numbers, to the nearest one, halves up. A double tells such a half from all that lies near
    it, and is divided several times as fast as a whole number."""
    return np.int32(total / parts + 0.5)


@compiled
def _outline(
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
    # Columns between the left stroke and the right one; all samples of a row are alike there.
    middle, stop = _up(in_left, shift_x), in_right >> shift_x
    for row in range(top >> shift_y, ((bottom - 1) >> shift_y) + 1):
        y0, y1 = row << shift_y, min((row + 1) << shift_y, height)
        outer_y, inner_y = _span(y0, y1, top, bottom), _span(y0, y1, in_top, in_bottom)
        column, end = left >> shift_x, ((right - 1) >> shift_x) + 1
        while column < end:
            if column == middle and column < stop:
                _mix(view, row, column, stop, ink, outer_y - inner_y, y1 - y0)
                column = stop
                continue
            x0, x1 = column << shift_x, min((column + 1) << shift_x, width)
            covered = _span(x0, x1, left, right) * outer_y - _span(x0, x1, in_left, in_right) * inner_y
            _mix(view, row, column, column + 1, ink, covered, (x1 - x0) * (y1 - y0))
            column += 1


@compiled
def _mix(view: Samples, row: int, first: int, end: int, ink: int, covered: int, whole: int) -> None:
    """Let samples side by side take up the ink in the proportion of `covered` to `whole`."""
    if covered == whole:
        view[row, first:end] = ink
    elif covered > 0:
        for column in range(first, end):
            view[row, column] = _mean(view[row, column] * float(whole - covered) + float(ink * covered), float(whole))


@compiled
def _up(value: int, shift: int) -> int:
    """`value / 2^shift`, rounded up."""
    return -(-value >> shift)


@compiled
def _plate(
    view: Samples,
    left: int,
    top: int,
    right: int,
    bottom: int,
    mask: NDArray[np.uint8],
    width: int,
    height: int,
    shift_x: int,
    shift_y: int,
    back: int,
    text: int,
) -> None:
    """Set an opaque plate with antialiased text on it; every sample takes the mean of its luma pixels."""
    line = right - left
    plain, more = 255.0 * back, float(text - back)
    if shift_x == 0 and shift_y == 0:
        for y in range(top, bottom):
            for x in range(line):
                view[y, left + x] = _mean(plain + more * mask[(y - top) * line + x], 255.0)
        return
    middle, stop = _up(left, 1), right >> 1
    for row in range(top >> shift_y, ((bottom - 1) >> shift_y) + 1):
        y0, y1 = row << shift_y, min((row + 1) << shift_y, height)
        upper, lower = max(y0, top), min(y1, bottom)
        at = (upper - top) * line - left
        column, end = left >> shift_x, ((right - 1) >> shift_x) + 1
        while column < end:
            if column == middle and column < stop and shift_x == 1 and lower - upper == 2 == y1 - y0:
                for column in range(middle, stop):  # nearly all there is
                    x = at + 2 * column
                    total = np.int32(mask[x]) + mask[x + 1] + mask[x + line] + mask[x + line + 1]
                    view[row, column] = _mean(4.0 * plain + more * np.int32(total), 1020.0)
                column = stop
                continue
            x0, x1 = column << shift_x, min((column + 1) << shift_x, width)
            first, last = max(x0, left), min(x1, right)
            covered, whole = (last - first) * (lower - upper), (x1 - x0) * (y1 - y0)
            total = 0
            for y in range(lower - upper):
                for x in range(first, last):
                    total += mask[at + y * line + x]
            mixed = plain * covered + 255.0 * view[row, column] * (whole - covered) + more * total
            view[row, column] = _mean(mixed, 255.0 * whole)
            column += 1
