"""Faces that are to be seen by nobody: where they are, also where the detector looked away, and how they are wiped out.

Hiding errs on the side of too much. A face is hidden a little larger than its box, over every gap in its track, and for
a moment before it was first found and after it was last, since a face is usually there already when it is found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.frames import Face
from stream.planes import PixelLayout, Samples
from stream.styles import Hide
from stream.tracks import RecordedFrame, Tracks

GROW = 0.25
"""Part of a box's width and height that is hidden on each of its sides too."""
HOLD = Fraction(1, 3)
"""Seconds that a face stays hidden before its track begins and after it ends, inside the shot."""
CELLS = 6
"""Averages that are left of a face along its longer side."""
SMALLEST_CELL = 4
"""Pixels; a small face is left fewer averages."""
FEWEST_SAMPLES = 3
"""Along each side of what is averaged, in chroma planes too."""

Box = NDArray[np.float32]
"""`[4]` x1, y1, x2, y2 in pixels as displayed; may reach out of the picture."""


def hidden_boxes(record: Tracks, *, spare_named: bool = False) -> list[list[Box]]:
    """What has to be hidden on each frame of a record.

    Args:
        record: faces bear the final verdicts on their tracks.
        spare_named: whether people with a name may be seen.
    """
    seen: defaultdict[int, dict[int, Box]] = defaultdict(dict)
    for frame in record.frames:
        for face in frame.faces:
            if face.name is None or not spare_named:
                seen[face.track][frame.index] = face.box
    hidden: list[list[Box]] = [[] for _ in record.frames]
    time_base = record.header.time_base
    for boxes in seen.values():
        reach = dict(_held(boxes, record.frames, time_base))
        for index in reach:
            near = [grown(reach[i]) for i in (index - 1, index, index + 1) if i in reach]
            corners = np.stack(near)
            hidden[index].append(np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)]))
    return hidden


def hidden_faces(faces: Iterable[Face], *, spare_named: bool = False) -> list[Box]:
    """The same for the faces of a single picture."""
    return [grown(face.box) for face in faces if face.name is None or not spare_named]


def grown(box: Box) -> Box:
    """The box with `GROW` more on each side.

    Example:
        >>> grown(np.array([40, 40, 80, 80], np.float32)).tolist()
        [30.0, 30.0, 90.0, 90.0]
    """
    more = (box[2:] - box[:2]) * np.float32(GROW)
    return np.concatenate([box[:2] - more, box[2:] + more])


def _held(boxes: dict[int, Box], frames: Sequence[RecordedFrame], time_base: Fraction) -> Iterator[tuple[int, Box]]:
    """A track's boxes on all frames from a moment before it to a moment after it; moving evenly over gaps."""
    first, last = min(boxes), max(boxes)
    hold = HOLD / time_base

    def around(edge: int, others: Iterable[int]) -> Iterator[tuple[int, Box]]:
        for i in others:
            if frames[i].shot != frames[edge].shot or abs(frames[i].pts - frames[edge].pts) > hold:
                return
            yield i, boxes[edge]

    yield from around(first, range(first - 1, -1, -1))
    yield from around(last, range(last + 1, len(frames)))
    known = sorted(boxes)
    for a, b in zip(known, [*known[1:], known[-1]], strict=True):
        yield a, boxes[a]
        for i in range(a + 1, b):
            share = np.float32((frames[i].pts - frames[a].pts) / (frames[b].pts - frames[a].pts))
            yield i, boxes[a] + share * (boxes[b] - boxes[a])


def wipe(
    views: Sequence[Samples], layout: PixelLayout, rect: tuple[int, int, int, int], size: tuple[int, int], how: Hide
) -> None:
    """Replace a rectangle of a stored picture by a few averages of itself, in place; nothing else of it is left.

    Args:
        views: what `layout.views` gives, writable.
        layout: the picture's.
        rect: left, top, right, bottom in whole luma pixels, right and bottom not included. Chroma samples that it
            covers in part are wiped as a whole, with all luma pixels that share them.
        size: the stored picture's width and height.
        how: `blur` goes smoothly from one average to the next, `pixelate` shows them as squares.
    """
    colours = layout.components[: len(layout.components) - layout.alpha]
    step_x, step_y = (1 << max(c.shift_x for c in colours)), (1 << max(c.shift_y for c in colours))
    left, top = max(0, rect[0]) // step_x * step_x, max(0, rect[1]) // step_y * step_y
    right, bottom = min(size[0], -(-rect[2] // step_x) * step_x), min(size[1], -(-rect[3] // step_y) * step_y)
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0:
        return
    cells = max(1, min(CELLS, max(width, height) // SMALLEST_CELL)) / max(width, height)
    grid = max(1, round(width * cells)), max(1, round(height * cells))
    for view, part in zip(views, colours, strict=False):
        columns = slice(left >> part.shift_x, -(-right >> part.shift_x))
        rows = slice(top >> part.shift_y, -(-bottom >> part.shift_y))
        samples = np.right_shift(np.ascontiguousarray(view[rows, columns]), layout.shift)
        view[rows, columns] = np.left_shift(_averaged(samples, grid, how), layout.shift)


def _averaged(samples: NDArray[Any], grid: tuple[int, int], how: Hide) -> NDArray[Any]:
    """As many averages as the grid has columns and rows, spread over the place of the samples."""
    height, width = samples.shape
    most = max(1, width // FEWEST_SAMPLES), max(1, height // FEWEST_SAMPLES)
    few = cv2.resize(samples, (min(grid[0], most[0]), min(grid[1], most[1])), interpolation=cv2.INTER_AREA)
    spread = cv2.INTER_LINEAR if how == "blur" else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(few, (width, height), interpolation=spread), samples.dtype)
