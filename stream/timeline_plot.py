"""A timeline as a picture, and as a file of either kind.

plot(read("mv.tracks.jsonl"), "mv.timeline.png")
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import UsageError
from engine.output_file import atomic_output
from stream.glyphs import Glyphs
from stream.styles import Colour
from stream.timeline import Lane, Timeline, timeline
from stream.timeline_page import page
from stream.tracks import Tracks
from stream.wording import clock

ENDINGS = (".png", ".html")

WIDTH = 1280
"""Of the picture; pixels, as all that follows."""
LEFT, RIGHT = 214, 1126
"""Where the lanes begin and end."""
MARGIN, ROW, BAR, HEAD, AXIS, GAP = 24, 34, 22, 70, 42, 8

_GROUND: Colour = (0.98, 0.98, 0.97)
_LANE: Colour = (0.93, 0.93, 0.92)
_INK: Colour = (0.10, 0.10, 0.12)
_FAINT: Colour = (0.42, 0.42, 0.46)
_LINE: Colour = (0.80, 0.80, 0.80)


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
            temporary.write_text(page(drawn), "utf-8")
    return Path(output)


def check_ending(output: str | os.PathLike[str]) -> None:
    """Raise `UsageError` for a file that cannot be drawn."""
    if Path(output).suffix.lower() not in ENDINGS:
        raise UsageError(
            f"{os.fspath(output)}: a timeline is drawn as {' or '.join(ENDINGS)}; choose one of these endings"
        )


def picture(drawn: Timeline) -> NDArray[np.uint8]:
    """The timeline as uint8 `[H,W,3]` RGB; edges of bars between two pixels are mixed."""
    rows = max(1, len(drawn.lanes))
    canvas = np.empty((HEAD + rows * ROW + GAP + BAR + AXIS, WIDTH, 3), np.float32)
    canvas[...] = _GROUND
    glyphs = Glyphs()

    def write(x: float, y: float, text: str, size: int, colour: Colour, anchor: Anchor = "left") -> None:
        _write(canvas, glyphs, x, y, text, size, colour, anchor)

    def bars(lane: Lane, top: int) -> None:
        write(LEFT - 12, top + 16, lane.name, 14, _INK if lane.known else _FAINT, "right")
        for span, alone in zip(lane.spans, drawn.alone(lane), strict=True):
            left, right = across(drawn, span.start), across(drawn, span.end)
            _fill(canvas, left, top, max(float(alone), right - left), BAR, span.colour)

    write(MARGIN, 34, drawn.title, 20, _INK)
    write(MARGIN, 56, drawn.subtitle, 13, _FAINT)
    if not drawn.lanes:
        write(LEFT, HEAD + 16, "Nobody was found.", 14, _FAINT)
    for i, lane in enumerate(drawn.lanes):
        top = HEAD + i * ROW
        _fill(canvas, LEFT, top, RIGHT - LEFT, BAR, _LANE)
        bars(lane, top)
        write(WIDTH - MARGIN, top + 16, lane.numbers, 13, _FAINT, "right")
    top = HEAD + rows * ROW + GAP
    bars(drawn.shots, top)
    for mark in drawn.marks:
        _fill(canvas, across(drawn, mark), top + BAR, 1, 6, _LINE)
        write(across(drawn, mark), top + BAR + 22, clock(mark), 12, _FAINT, "middle")
    return (canvas * 255 + 0.5).astype(np.uint8)


def across(drawn: Timeline, seconds: float) -> float:
    """Where a time stands on the picture."""
    return LEFT + drawn.share(seconds) * (RIGHT - LEFT)


Anchor = Literal["left", "middle", "right"]
"""What of a text stands at its x."""


def _fill(canvas: NDArray[np.float32], left: float, top: int, width: float, height: int, colour: Colour) -> None:
    columns = np.arange(canvas.shape[1], dtype=np.float32)
    covered = np.clip(np.minimum(columns + 1, left + width) - np.maximum(columns, left), 0, 1)[None, :, None]
    rows = canvas[top : top + height]
    rows += covered * (np.array(colour, np.float32) - rows)


def _write(
    canvas: NDArray[np.float32],
    glyphs: Glyphs,
    x: float,
    baseline: float,
    text: str,
    size: int,
    colour: Colour,
    anchor: Anchor,
) -> None:
    if not text:
        return
    room = {"left": canvas.shape[1] - x, "right": LEFT - MARGIN, "middle": 2 * min(x, canvas.shape[1] - x)}
    mask = glyphs.mask(text, size, max(8, int(room[anchor])))
    margin = max(2, round(size * 0.3))  # of the plate that `mask` gives
    wide = mask.shape[1] - 2 * margin
    left = round(x - {"left": 0, "middle": wide / 2, "right": wide}[anchor])
    ink = mask[:, margin : margin + wide, None].astype(np.float32) / 255
    top = round(baseline) - size
    place = canvas[max(0, top) : top + ink.shape[0], max(0, left) : left + wide]
    ink = ink[: place.shape[0], : place.shape[1]]
    place += ink * (np.array(colour, np.float32) - place)
