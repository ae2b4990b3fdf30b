"""A record as a timeline: a row a person, the shots underneath; as a picture or as a page.

plot(read("mv.tracks.jsonl"), "mv.timeline.png")
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import ceil, floor
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import UsageError
from stream.glyphs import Glyphs, clean
from stream.sheet import clock
from stream.sink import atomic_output
from stream.styles import Colour, colour_of
from stream.summary import overview
from stream.takes import Ruler, cast, shots, takes
from stream.tracks import RecordedFrame, Tracks

ENDINGS = (".png", ".html")

_WIDTH, _MARGIN, _NAMES, _NUMBERS = 1280, 24, 190, 130
_ROW, _BAR, _HEAD, _AXIS = 34, 22, 70, 30
_LEFT = _MARGIN + _NAMES
_LENGTH = _WIDTH - _LEFT - _NUMBERS - _MARGIN
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds that two marks of the axis may stand apart."""
_MARKS = 12
"""Of them there are at most so many."""

_GROUND: Colour = (0.98, 0.98, 0.97)
_LANE: Colour = (0.93, 0.93, 0.92)
_INK: Colour = (0.10, 0.10, 0.12)
_FAINT: Colour = (0.42, 0.42, 0.46)
_LINE: Colour = (0.80, 0.80, 0.80)
_STRANGER: Colour = (0.62, 0.62, 0.65)
_SHOTS: tuple[Colour, Colour] = ((0.55, 0.57, 0.62), (0.72, 0.74, 0.78))


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle; `title` is what a page shows when it is pointed at."""

    left: float
    top: float
    width: float
    height: float
    colour: Colour
    title: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `left`, `middle` or `right` of it stands at `x`, its baseline at `y`."""

    x: float
    y: float
    text: str
    size: int
    colour: Colour
    anchor: Literal["left", "middle", "right"] = "left"


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn, in order."""

    width: int
    height: int
    shapes: tuple[Bar | Text, ...]


def plot(record: Tracks, output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the timeline as PNG or as an HTML page that needs nothing beside it.

    Raises:
        UsageError: another ending.
        OutputError: the output exists or cannot be written.
    """
    check_ending(output)
    drawn = timeline(record)
    with atomic_output(output, overwrite) as temporary:
        if Path(output).suffix.lower() == ".png":
            Image.fromarray(picture(drawn)).save(temporary, "PNG")
        else:
            temporary.write_text(page(drawn, Path(record.header.path).name), "utf-8")
    return Path(output)


def check_ending(output: str | os.PathLike[str]) -> None:
    """Raise `UsageError` for a file that cannot be drawn."""
    if Path(output).suffix.lower() not in ENDINGS:
        raise UsageError(
            f"{os.fspath(output)}: a timeline is drawn as {' or '.join(ENDINGS)}; choose one of these endings"
        )


def timeline(record: Tracks) -> Timeline:
    """Lay the timeline out: pure geometry, pixels."""
    ruler, summary, people = Ruler.of(record), overview(record), cast(record)
    begin = float(ruler.start(0)) if record.frames else 0.0
    length = (float(ruler.end(len(record.frames) - 1)) - begin if record.frames else 0.0) or 1.0

    def across(seconds: float) -> float:
        return _LEFT + (seconds - begin) / length * _LENGTH

    def bar(first: int, last: int, top: float, colour: Colour, words: str) -> Bar:
        start, end = float(ruler.start(first)), float(ruler.end(last))
        title = f"{words}: {clock(start)} to {clock(end)} ({end - start:.2f} s)"
        return Bar(across(start), top, max(1.0, across(end) - across(start)), _BAR, colour, title)

    counts = (summary.frames, "frame"), (summary.shots, "shot"), (summary.unknown_tracks, "unknown track")
    faint = f"{clock(summary.seconds)}: " + ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts)
    shapes: list[Bar | Text] = [
        Text(_MARGIN, 34, Path(record.header.path).name, 20, _INK),
        Text(_MARGIN, 56, faint, 13, _FAINT),
    ]
    found = takes(record.frames)
    strangers = list(_runs_of_strangers(record.frames))
    rows: list[tuple[str, str, list[Bar]]] = []
    top: float = _HEAD
    for person in summary.people:
        colour = colour_of(person.name, people)
        bars = [bar(t.first, t.last, top, colour, person.name) for t in found if t.name == person.name]
        rows.append((person.name, f"{person.seconds:.1f} s · {person.share:.0%}", bars))
        top += _ROW
    if strangers:
        rows.append(("unknown", "", [bar(a, b, top, _STRANGER, "somebody unknown") for a, b in strangers]))
        top += _ROW
    if not rows:
        shapes.append(Text(_LEFT, top + 16, "Nobody was found.", 14, _FAINT))
        top += _ROW
    for i, (name, numbers, bars) in enumerate(rows):
        y = _HEAD + i * _ROW
        shapes.append(Bar(_LEFT, y, _LENGTH, _BAR, _LANE))
        shapes += bars
        shapes.append(Text(_LEFT - 12, y + 16, name, 14, _INK if bars and name != "unknown" else _FAINT, "right"))
        if numbers:
            shapes.append(Text(_WIDTH - _MARGIN, y + 16, numbers, 13, _FAINT, "right"))
    top += 8
    shapes.append(Text(_LEFT - 12, top + 16, "shots", 14, _FAINT, "right"))
    shapes += [
        bar(shot.first, shot.last, top, _SHOTS[i % 2], f"shot {i + 1}") for i, shot in enumerate(shots(record.frames))
    ]
    top += _BAR
    step = next((s for s in _STEPS if length / s <= _MARKS), _STEPS[-1])
    for i in range(ceil(begin / step), floor((begin + length) / step) + 1):
        x = across(i * step)
        shapes += [Bar(x, top, 1, 6, _LINE), Text(x, top + 22, clock(i * step), 12, _FAINT, "middle")]
    return Timeline(_WIDTH, round(top) + _AXIS + 12, tuple(shapes))


def _runs_of_strangers(frames: tuple[RecordedFrame, ...]) -> Iterator[tuple[int, int]]:
    """First and last frame of every unbroken time with somebody unknown in view."""
    first: int | None = None
    for frame in frames:
        there = any(face.name is None for face in frame.faces)
        if there and first is None:
            first = frame.index
        if not there and first is not None:
            yield first, frame.index - 1
            first = None
    if first is not None:
        yield first, len(frames) - 1


def picture(drawn: Timeline) -> NDArray[np.uint8]:
    """The timeline as uint8 `[H,W,3]` RGB; edges of bars between two pixels are mixed."""
    glyphs = Glyphs()
    canvas = np.empty((drawn.height, drawn.width, 3), np.float32)
    canvas[...] = _GROUND
    for shape in drawn.shapes:
        if isinstance(shape, Bar):
            _fill(canvas, shape)
        else:
            _write(canvas, shape, glyphs)
    return (canvas * 255 + 0.5).astype(np.uint8)


def _fill(canvas: NDArray[np.float32], bar: Bar) -> None:
    columns = np.arange(canvas.shape[1], dtype=np.float32)
    covered = np.clip(np.minimum(columns + 1, bar.left + bar.width) - np.maximum(columns, bar.left), 0, 1)[
        None, :, None
    ]
    rows = canvas[round(bar.top) : round(bar.top + bar.height)]
    rows += covered * (np.array(bar.colour, np.float32) - rows)


def _write(canvas: NDArray[np.float32], text: Text, glyphs: Glyphs) -> None:
    room = {"left": canvas.shape[1] - text.x, "right": text.x, "middle": 2 * min(text.x, canvas.shape[1] - text.x)}
    mask = glyphs.mask(
        text.text, text.size, max(8, min(int(room[text.anchor]), _NAMES if text.anchor == "right" else 1200))
    )
    margin = max(2, round(text.size * 0.3))  # of the plate that `mask` gives
    wide = mask.shape[1] - 2 * margin
    left = round(text.x - {"left": 0, "middle": wide / 2, "right": wide}[text.anchor])
    ink = mask[:, margin : margin + wide, None].astype(np.float32) / 255
    top = round(text.y) - text.size
    place = canvas[max(0, top) : top + ink.shape[0], max(0, left) : left + wide]
    ink = ink[: place.shape[0], : place.shape[1]]
    place += ink * (np.array(text.colour, np.float32) - place)


def page(drawn: Timeline, title: str) -> str:
    """The timeline as an HTML page with a drawing in SVG; pointing at a bar says what it is."""
    parts = []
    for shape in drawn.shapes:
        if isinstance(shape, Bar):
            inside = f"<title>{_safe(shape.title)}</title>" if shape.title else ""
            place = f'x="{shape.left:.2f}" y="{shape.top:.2f}" width="{shape.width:.2f}" height="{shape.height:.2f}"'
            parts.append(f'<rect {place} fill="{_hex(shape.colour)}">{inside}</rect>')
        else:
            anchor = {"left": "start", "middle": "middle", "right": "end"}[shape.anchor]
            place = f'x="{shape.x:.2f}" y="{shape.y:.2f}" font-size="{shape.size}" text-anchor="{anchor}"'
            parts.append(f'<text {place} fill="{_hex(shape.colour)}">{_safe(shape.text)}</text>')
    size = f'viewBox="0 0 {drawn.width} {drawn.height}" width="{drawn.width}" height="{drawn.height}"'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{_safe(title)}</title>\n'
        f"<style>body{{margin:0;background:{_hex(_GROUND)}}}svg{{max-width:100%;height:auto;"
        "font-family:system-ui,sans-serif}rect:hover{opacity:.75}</style></head>\n"
        f'<body><svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        + "\n".join(parts)
        + "\n</svg></body></html>\n"
    )


def _safe(text: str) -> str:
    return escape(clean(text), quote=True)


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in colour)
