"""Boxes and names, drawn straight on the planes of a decoded frame, and faces wiped out of them.

No frame is converted: outlines and labels are written into Y, U and V (or R, G, B, or grey), each at its own
resolution. A chroma sample that a shape covers only in part is mixed in proportion, so that edges lie exactly
where the record says, at odd positions too.

The geometry (`marks`) is pure and knows only pixels as displayed; the painting maps it to the stored
orientation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from math import ceil, floor
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.frames import Face, Rotation, VideoInfo
from stream.glyphs import Glyphs
from stream.hiding import Box, wipe
from stream.planes import PixelLayout, Samples, is_full_range, matrix_of, reference_white, stored_format
from stream.strokes import paint
from stream.styles import DARK, GREY, RED, Colour, Marks, Style, Unknown, colour_of, text_colour

if TYPE_CHECKING:
    import av

INSIDE = 4
"""The first of a label's sides that lies inside the box."""
CORNER = 0.25
"""Part of a box's side that each of its corners takes in the style `corners`."""


class Rect(NamedTuple):
    """A rectangle of whole pixels: from left and top up to, not including, right and bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def has_area(self) -> bool:
        """Whether there is anything of it."""
        return self.right > self.left and self.bottom > self.top

    def overlap(self, other: Rect) -> int:
        """Pixels in common."""
        if self.left >= other.right or other.left >= self.right:
            return 0
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return (min(self.right, other.right) - max(self.left, other.left)) * max(0, height)


class Outline(NamedTuple):
    """The frame of a box; its strokes lie inside `rect`."""

    rect: Rect
    thickness: int
    """Pixels; half the box's shorter side or more fills it."""
    colour: Colour


class Label(NamedTuple):
    """A plate with a name on it."""

    rect: Rect
    mask: NDArray[np.uint8]
    """`[h,w]` as displayed: 255 where the plate shows text."""
    colour: Colour
    """The plate's; the text's is `text_colour` of it."""
    name: str
    track: int
    """The face's: two of one frame may bear one name."""
    side: int
    """Where it sits on its box, see `_place`."""


def thickness_of(width: int, height: int) -> int:
    """Stroke of a known person's box in pixels, for a picture of this size; never thinner than two rows, so
    that neither field of an interlaced picture lacks an edge."""
    return max(2, round(min(width, height) / 240))


def unknown_lines(width: int, height: int) -> tuple[int, int]:
    """Strokes of an unknown person's box in pixels: the grey line, and the dark one along its inside."""
    line = max(2, thickness_of(width, height) // 2)
    return line, (line + 1) // 2


def text_size_of(width: int, height: int) -> int:
    """Em height of names in pixels, for a picture of this size."""
    return max(12, round(min(width, height) / 30))


def pixel_box(box: Sequence[float] | NDArray[np.float32], width: int, height: int) -> Rect:
    """The whole pixels a face's box covers: rounded to the record's 0.1 px, then to the nearest pixel edge,
    and clipped to the picture. What lies outside comes back empty (right ≤ left or bottom ≤ top).

    Example:
        >>> pixel_box([9.96, 20.2, 50.5, 700.0], 640, 360)
        Rect(left=10, top=20, right=51, bottom=360)
    """
    values = box.tolist() if isinstance(box, np.ndarray) else box
    left, top, right, bottom = [int(round(v, 1) + 0.5) if v > 0 else 0 for v in values]
    return Rect(left, top, min(right, width), min(bottom, height))


def marks(
    faces: Iterable[Face],
    width: int,
    height: int,
    glyphs: Glyphs,
    unknown: Unknown = "none",
    style: Marks = "boxes",
    people: Sequence[str] = (),
    sides: Mapping[str, int] = MappingProxyType({}),
) -> list[Outline | Label]:
    """What to draw on a picture of `width` × `height` (as displayed), in drawing order: outlines, then
    labels. `people` gives everybody's colour in the style `colours`, `sides` where everybody's label was on the frame
    before.

    A label sits on the first free place of: above, below, inside the box (at its top, then its bottom), flush
    with its left edge, else its right. Free is what touches no other face's box and no earlier label; if none
    is, the one that covers least. So that it does not jump, it stays above or below while that is free, and comes out
    of the box only where there is room to spare. Faces outside the picture or without area leave no mark.
    """
    stroke, size = thickness_of(width, height), text_size_of(width, height)
    boxes = [(face, pixel_box(face.box, width, height)) for face in faces]
    visible = [(face, box) for face, box in boxes if box.has_area]
    outlines: list[Outline | Label] = []
    labels: list[Outline | Label] = []
    if style == "none":
        return []
    for face, box in visible:
        if face.name is not None:
            outlines += _frame(Outline(box, stroke, _colour(face.name, style, people)), style)
        elif unknown == "box":
            line, edge = unknown_lines(width, height)
            inner = Rect(box.left + line, box.top + line, box.right - line, box.bottom - line)
            grey = _frame(Outline(box, line, GREY), style)
            outlines[:0] = [*grey, *(_frame(Outline(inner, edge, DARK), style) if inner.has_area else [])]
    taken = [box for _, box in visible]
    # By name: detections change their order from frame to frame.
    for name, i in sorted((face.name, i) for i, (face, _) in enumerate(visible) if face.name is not None):
        mask = glyphs.mask(name, size, min(width, 16 * size))
        high, wide = mask.shape
        place, side = _place(visible[i][1], wide, high, width, height, taken[:i] + taken[i + 1 :], sides.get(name))
        # A picture smaller than its text shows what there is room for.
        mask = mask[: height - place.top, : width - place.left]
        place = Rect(place.left, place.top, place.left + mask.shape[1], place.top + mask.shape[0])
        taken.append(place)
        labels.append(Label(place, mask, _colour(name, style, people), name, visible[i][0].track, side))
    return outlines + labels


def _colour(name: str, style: Marks, people: Sequence[str]) -> Colour:
    return colour_of(name, people) if style == "colours" else RED


def _frame(whole: Outline, style: Marks) -> list[Outline]:
    """What a style shows of a box."""
    if style in ("boxes", "colours"):
        return [whole]
    rects = strokes(whole.rect, whole.thickness, style)
    return [Outline(rect, max(rect.right - rect.left, rect.bottom - rect.top), whole.colour) for rect in rects]


def strokes(box: Rect, thickness: int, style: Marks) -> list[Rect]:
    """The filled rectangles that make up what a style shows of a box; they lie inside it and do not overlap.

    Example:
        >>> strokes(Rect(0, 0, 40, 40), 2, "corners")[:2]
        [Rect(left=0, top=0, right=10, bottom=2), Rect(left=0, top=38, right=10, bottom=40)]
    """
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    t = thickness
    if style in ("none", "names"):
        return []
    if 2 * t >= min(wide, high):
        return [box]
    if style == "corners":
        wide, high = max(t, round(CORNER * wide)), max(t, round(CORNER * high))
    rects = []
    for x in dict.fromkeys((left, right - wide)):
        rects += [Rect(x, top, x + wide, top + t), Rect(x, bottom - t, x + wide, bottom)]
    sides = dict.fromkeys(((top + t, min(top + high, bottom - t)), (max(bottom - high, top + t), bottom - t)))
    for x in (left, right - t):
        rects += [Rect(x, y1, x + t, y2) for y1, y2 in sides]
    return [rect for rect in rects if rect.bottom > rect.top]


def _place(
    box: Rect, wide: int, high: int, width: int, height: int, others: Sequence[Rect], before: int | None
) -> tuple[Rect, int]:
    """Where a label goes, and which side that is: 0 and 1 are above, 2 and 3 below, 4 to 7 inside the box; even ones
    flush with its left edge, odd ones with its right."""
    best, least, tops = None, 0, (box.top - high, box.bottom, box.top, box.bottom - high)
    spare = high // 2 if before is not None and before >= INSIDE else 0
    for side in _order(before):
        top, room = tops[side // 2], spare if side < INSIDE else 0
        if not room <= top <= height - high - room:
            continue
        inside = max(0, min(box.right - wide if side % 2 else box.left, width - wide))
        place = Rect(inside, top, inside + wide, top + high)
        covered = 0
        for other in others:
            covered += place.overlap(other)
        if best is None or covered < least:
            best, least = (place, side), covered
        if not covered:
            return place, side
    if best is None:  # a picture hardly higher than a line of text
        left = max(0, min(box.left, width - wide))
        top = max(0, min(box.top, height - high))
        return Rect(left, top, left + wide, top + high), INSIDE
    return best


@lru_cache(maxsize=16)
def _order(before: int | None) -> list[int]:
    """Sides in the order in which they are tried."""
    return sorted(range(8), key=lambda side: (side >= INSIDE, side != before))


class Overlay:
    """Draws on the frames of one video, in place and in order.

    Faces are wiped out first, where the style says so, and marks are drawn over that. Known people get a red box
    and their name. Unknown people get nothing by default: on a stage video most detections are crowd, staff and
    dancers, and a picture full of grey frames hides the people one looks for; the record lists them all the same.
    An editor who wants to see what was found asks for `unknown="box"`: a thin box without a name, grey with a dark
    inner edge, so that it shows on any ground.

    Args:
        info: the video; its size and rotation count.
        unknown: `none` or `box`.
        style: which marks, and how faces are hidden.
        people: everybody who may be named, for their colours.
        font: as for `Glyphs`.

    Raises:
        InputError: the font cannot be read.

    Example:
        >>> overlay = Overlay(info)                                     # doctest: +SKIP
        >>> overlay.draw(frame.picture, faces)                          # doctest: +SKIP
    """

    def __init__(
        self,
        info: VideoInfo,
        *,
        unknown: Unknown = "none",
        style: Style | None = None,
        people: Sequence[str] = (),
        font: str | Path = "sans",
    ) -> None:
        self.rotation: Rotation = info.rotation
        self.unknown: Unknown = unknown
        self.style = style or Style()
        self.people = tuple(people)
        self.glyphs = Glyphs(font)
        self._sides: dict[str, int] = {}
        """Where everybody's label was on the frame before."""

    def pass_over(self, faces: Sequence[Face], width: int, height: int) -> None:
        """Take note of a frame (`width` × `height` as stored) that is not drawn, so that the next one is drawn as if it
        had been."""
        self._marks(faces, width, height)

    def _marks(self, faces: Sequence[Face], width: int, height: int) -> list[Outline | Label]:
        width, height = self._displayed(width, height)
        todo = marks(faces, width, height, self.glyphs, self.unknown, self.style.marks, self.people, self._sides)
        self._sides = {mark.name: mark.side for mark in todo if isinstance(mark, Label)}
        return todo

    def draw(self, picture: av.VideoFrame, faces: Sequence[Face], hidden: Sequence[Box] = ()) -> None:
        """Draw `faces` (boxes in pixels as displayed) on `picture` (as stored), and wipe out what is `hidden`, if the
        style hides anything.

        Buffers that the decoder still refers to are copied first: later frames are predicted from them. With
        nothing to draw, the picture is not touched.

        Raises:
            InputError: a pixel format that cannot be drawn on (see `PixelLayout.of`).
        """
        todo = self._marks(faces, picture.width, picture.height)
        if not todo and not (self.style.hide and hidden):
            return
        signal = _signal_of(picture)
        picture.make_writable()
        views = signal.layout.views(picture)
        shown = self._displayed(picture.width, picture.height)
        _hide(views, signal.layout, hidden, self.style, self.rotation, shown)
        _paint(views, signal, todo, self.rotation, shown)

    def inked(self, picture: av.VideoFrame, faces: Sequence[Face]) -> list[Inked]:
        """What `draw` would draw, for whoever can reach the samples where they are."""
        todo = self._marks(faces, picture.width, picture.height)
        shown = self._displayed(picture.width, picture.height)
        return list(inked(todo, _signal_of(picture), self.rotation, shown)) if todo else []

    def _displayed(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.rotation in (90, 270) else (width, height)


def draw_rgb(
    rgb: NDArray[np.uint8],
    faces: Sequence[Face],
    *,
    glyphs: Glyphs | None = None,
    unknown: Unknown = "none",
    style: Style | None = None,
    people: Sequence[str] = (),
    hidden: Sequence[Box] = (),
) -> None:
    """Draw `faces` on a writable uint8 `[H,W,3]` RGB (or `[H,W,4]` RGBA) array, in place, as `Overlay.draw`
    does.

    Example:
        >>> picture = np.zeros((480, 640, 3), np.uint8)
        >>> box = np.array([100, 100, 200, 220], np.float32)
        >>> draw_rgb(picture, [Face(0, box, 0.9, np.zeros((5, 2), np.float32), name="yuri")])
        >>> picture[110, 100].tolist()
        [255, 0, 0]
    """
    height, width, channels = rgb.shape
    style = style or Style()
    todo = marks(faces, width, height, glyphs or Glyphs(), unknown, style.marks, people)
    signal = _Signal("rgba" if channels == 4 else "rgb24", 0, True, 1.0)
    views: list[Samples] = [rgb[..., i] for i in range(channels)]
    _hide(views, signal.layout, hidden, style, 0, (width, height))
    _paint(views, signal, todo, 0, (width, height))


class _Signal(NamedTuple):
    """What the numbers in a picture mean."""

    pixel_format: str
    matrix: int
    full_range: bool
    white: float

    @property
    def layout(self) -> PixelLayout:
        return PixelLayout.of(self.pixel_format)


def _signal_of(picture: av.VideoFrame) -> _Signal:
    return _Signal(stored_format(picture), matrix_of(picture), is_full_range(picture), reference_white(picture))


@lru_cache(maxsize=256)
def _ink(signal: _Signal, colour: Colour) -> tuple[int, ...]:
    """A colour as samples, one a component."""
    red, green, blue = (value * signal.white for value in colour)
    return signal.layout.ink((red, green, blue), signal.matrix, signal.full_range)


def _hide(
    views: Sequence[Samples],
    layout: PixelLayout,
    hidden: Sequence[Box],
    style: Style,
    rotation: Rotation,
    displayed: tuple[int, int],
) -> None:
    if style.hide is None:
        return
    width, height = displayed
    stored = (height, width) if rotation in (90, 270) else displayed
    for x1, y1, x2, y2 in (box.tolist() for box in hidden):
        rect = Rect(max(0, floor(x1)), max(0, floor(y1)), min(width, ceil(x2)), min(height, ceil(y2)))
        if rect.has_area:
            wipe(views, layout, stored_rect(rect, rotation, width, height), stored, style.hide)


class Inked(NamedTuple):
    """A mark as the stored picture has it."""

    rect: Rect
    thickness: int
    """Of an outline, pixels."""
    back: tuple[int, ...]
    """Samples of the outline or the plate, one a component."""
    text: tuple[int, ...] = ()
    """The same of the name on a plate."""
    mask: NDArray[np.uint8] | None = None
    """Of a plate: `[h,w]`, 255 where it shows text."""
    key: object = None
    """Equal for equal masks."""


def inked(
    todo: Sequence[Outline | Label], signal: _Signal, rotation: Rotation, displayed: tuple[int, int]
) -> Iterator[Inked]:
    """What to draw on a stored picture of that signal; `displayed` is its width and height as displayed."""
    for mark in todo:
        rect = stored_rect(mark.rect, rotation, *displayed)
        back = _ink(signal, mark.colour)
        if isinstance(mark, Outline):
            yield Inked(rect, mark.thickness, back)
        else:
            mask = np.rot90(mark.mask, rotation // 90) if rotation else mark.mask
            yield Inked(rect, 0, back, _ink(signal, text_colour(mark.colour)), mask, (mark.name, rotation, mask.shape))


def _paint(
    views: Sequence[Samples],
    signal: _Signal,
    todo: Sequence[Outline | Label],
    rotation: Rotation,
    displayed: tuple[int, int],
) -> None:
    if not todo:
        return
    width, height = displayed
    stored = (height, width) if rotation in (90, 270) else displayed
    table, masks, first = [], [_NO_MASK], 0
    for mark in inked(todo, signal, rotation, displayed):
        table.append([*mark.rect, mark.thickness, first, *chain(*zip(mark.back, mark.text or mark.back, strict=True))])
        if mark.mask is not None:
            masks.append(mark.mask.ravel())
            first += mark.mask.size
    rows, mask = np.array(table, np.int64), np.concatenate(masks)
    for i, (view, place) in enumerate(zip(views, signal.layout.components, strict=True)):
        paint(view, rows, mask, i, *stored, place.shift_x, place.shift_y)


_NO_MASK = np.empty(0, np.uint8)


def stored_rect(rect: Rect, rotation: Rotation, width: int, height: int) -> Rect:
    """A rectangle of the displayed picture (`width` × `height`) where the stored picture has it.

    Example:
        >>> stored_rect(Rect(0, 0, 10, 20), 90, 360, 640)  # the stored bottom left is shown top left
        Rect(left=0, top=350, right=20, bottom=360)
    """
    left, top, right, bottom = rect
    if rotation == 90:
        return Rect(top, width - right, bottom, width - left)
    if rotation == 180:
        return Rect(width - right, height - bottom, width - left, height - top)
    if rotation == 270:
        return Rect(height - bottom, left, height - top, right)
    return rect
