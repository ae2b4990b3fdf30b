"""Boxes and names as events of an ASS subtitle, for players to draw: nothing of the picture is touched.

Pure: `events` says what is shown when, in exact seconds; a `.ass` file and the subtitle track of a soft copy are both
written from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from stream.frames import Face
from stream.glyphs import Glyphs, clean
from stream.overlay import Label, Rect, marks, pixel_box, strokes, text_size_of, thickness_of, unknown_lines
from stream.styles import DARK, GREY, RED, Colour, Marks, Style, Unknown, colour_of, text_colour
from stream.takes import Ruler, cast
from stream.tracks import Tracks

if TYPE_CHECKING:
    import pysubs2

LAYER_BOX, LAYER_NAME = 0, 1
LINE = 1.2
"""Height of a line in its text's em heights: what ASS calls the size of a font."""
_FULLWIDTH = str.maketrans({"{": "｛", "}": "｝", "\\": "＼"})
"""What would begin a command of ASS, by its likeness: the format knows no way to spell it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing shown."""

    start: Fraction
    """Seconds."""
    end: Fraction
    layer: int
    style: str
    name: str
    """Whose it is, as a field of ASS: on one line, without commas; nothing for a stranger."""
    text: str


def events(record: Tracks, style: Style, unknown: Unknown = "none") -> list[Event]:
    """A box and a name for every face of every frame, in order of time, where a drawn copy has them; what stands still
    for several frames is one event.

    Args:
        record: faces bear the names to show.
        style: of its marks; a subtitle can hide nobody.
        unknown: as for `Overlay`.
    """
    width, height = record.header.width, record.header.height
    ruler = Ruler.of(record)
    people, glyphs = cast(record), Glyphs()
    sides: dict[str, int] = {}
    done: list[Event] = []
    running: dict[tuple[int, int], tuple[Event, int]] = {}  # track and layer → the event and its last frame
    for frame in record.frames:
        start, end = ruler.start(frame.index), ruler.end(frame.index)
        drawn = marks(frame.faces, width, height, glyphs, style="names", sides=sides)
        labels = {mark.track: mark for mark in drawn if isinstance(mark, Label)}
        sides = {label.name: label.side for label in labels.values()}
        for face in frame.faces:
            whose = clean(face.name or "").replace(",", " ")
            for layer, name, text in _marks(face, labels.get(face.track), width, height, style, unknown, people):
                before = running.get((face.track, layer))
                if before and before[1] == frame.index - 1 and (before[0].style, before[0].text) == (name, text):
                    event = Event(before[0].start, end, layer, name, whose, text)
                else:
                    if before:
                        done.append(before[0])
                    event = Event(start, end, layer, name, whose, text)
                running[face.track, layer] = event, frame.index
    done += [event for event, _ in running.values()]
    return sorted(done, key=lambda event: (event.start, event.layer))


def script(record: Tracks, style: Style) -> pysubs2.SSAFile:
    """The subtitle's head: the size of the picture that coordinates count in, and the styles that events name."""
    import pysubs2  # slow to import, and seldom needed

    width, height = record.header.width, record.header.height
    file = pysubs2.SSAFile()
    file.info = {
        "ScriptType": "v4.00+",
        "PlayResX": str(width),
        "PlayResY": str(height),
        "ScaledBorderAndShadow": "yes",
        "WrapStyle": "2",
        "YCbCr Matrix": "None",
    }
    stroke = thickness_of(width, height)
    line_height = round(LINE * text_size_of(width, height))
    file.styles = {}
    for name, colour in _styles(style, cast(record)):
        line, ink = _ass_colour(colour), _ass_colour(text_colour(colour))
        plain = pysubs2.SSAStyle(fontname="Sans", fontsize=line_height, shadow=0, alignment=pysubs2.Alignment.TOP_LEFT)
        edge = unknown_lines(width, height)[1] / 2 if name == "unknown" else 0
        file.styles[f"Box {name}"] = replace(plain, primarycolor=line, outlinecolor=_ass_colour(DARK), outline=edge)
        # Border style 3 is a plate behind the text.
        file.styles[f"Name {name}"] = replace(
            plain, primarycolor=ink, outlinecolor=line, backcolor=line, bold=True, borderstyle=3, outline=stroke
        )
    return file


def _styles(style: Style, people: tuple[str, ...]) -> Iterator[tuple[str, Colour]]:
    """Name and colour of the styles: one a person where each has a colour."""
    if style.marks == "colours":
        yield from ((f"person {i}", colour_of(person, people)) for i, person in enumerate(people, 1))
    else:
        yield "known", RED
    yield "unknown", GREY


def _marks(
    face: Face,
    label: Label | None,
    width: int,
    height: int,
    style: Style,
    unknown: Unknown,
    people: tuple[str, ...],
) -> Iterator[tuple[int, str, str]]:
    """Layer, style and text of what a face shows."""
    box = pixel_box(face.box, width, height)
    if not box.has_area or style.marks == "none":
        return
    if face.name is None and unknown == "none":
        return
    thickness = thickness_of(width, height)
    if face.name is None:
        name, thickness = "unknown", unknown_lines(width, height)[0]
    else:
        name = f"person {people.index(face.name) + 1}" if style.marks == "colours" else "known"
    if style.marks != "names":
        yield LAYER_BOX, f"Box {name}", _drawing(box, thickness, style.marks)
    if face.name is not None and label is not None:
        text = clean(face.name).translate(_FULLWIDTH)
        yield LAYER_NAME, f"Name {name}", rf"{{{_position(label, thickness_of(width, height))}}}{text}"


def _position(label: Label, edge: int) -> str:
    """Where a name stands: by the corner of its plate that touches the box, since players' fonts are not ours. The
    plate is the text's border, `edge` wide."""
    left, top, right, bottom = label.rect
    from_right = label.side % 2
    x = right - edge if from_right else left + edge
    upwards = label.side // 2 in (0, 3)  # above the box, or inside at its bottom
    anchor, y = (1, bottom - edge) if upwards else (7, top + edge)
    return rf"\an{anchor + 2 * from_right}\pos({x},{y})"


def _drawing(box: Rect, thickness: int, style: Marks) -> str:
    """What the marks show of a box, as filled rectangles inside it."""
    parts = []
    for left, top, right, bottom in strokes(box, thickness, style):
        x1, y1, x2, y2 = left - box.left, top - box.top, right - box.left, bottom - box.top
        parts.append(f"m {x1} {y1} l {x2} {y1} {x2} {y2} {x1} {y2}")
    return rf"{{\an7\pos({box.left},{box.top})\p1}}{' '.join(parts)}"


def _ass_colour(colour: Colour) -> pysubs2.Color:
    import pysubs2

    red, green, blue = (round(255 * value) for value in colour)
    return pysubs2.Color(red, green, blue)
