"""Bars, lines and words on a picture: as much as a figure of a measurement needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stream.glyphs import Glyphs
from stream.styles import Colour

INK: Colour = (0.1, 0.1, 0.1)
FAINT: Colour = (0.45, 0.45, 0.45)
PALE: Colour = (0.75, 0.75, 0.75)
GROUND: Colour = (0.98, 0.98, 0.97)


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle, pixels."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Line:
    """Straight from point to point, pixels."""

    points: tuple[tuple[float, float], ...]
    colour: Colour
    width: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A line of words; its `left`, `middle` or `right` stands at `x`, its vertical middle at `y`."""

    x: float
    y: float
    text: str
    size: int = 14
    colour: Colour = INK
    anchor: Literal["left", "middle", "right"] = "left"


Shape = Bar | Line | Text


def paint(width: int, height: int, shapes: Sequence[Shape]) -> NDArray[np.uint8]:
    """The picture, uint8 `[height,width,3]` RGB; later shapes cover earlier ones."""
    image = Image.new("RGB", (width, height), _bytes(GROUND))
    draw, glyphs = ImageDraw.Draw(image), Glyphs()
    for shape in shapes:
        colour = _bytes(shape.colour)
        match shape:
            case Bar(x, y, wide, high):
                draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
            case Line(points):
                draw.line(points, fill=colour, width=shape.width)
            case Text(x, y, text, size):
                mask = Image.fromarray(glyphs.mask(text, size, width))
                left = x - mask.width * {"left": 0.0, "middle": 0.5, "right": 1.0}[shape.anchor]
                image.paste(colour, (round(left), round(y - mask.height / 2)), mask)
    return np.asarray(image, np.uint8)


def _bytes(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue
