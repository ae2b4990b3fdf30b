"""How people are drawn: which marks, in which colours, and who is hidden."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import UsageError

Unknown = Literal["none", "box"]
"""What is drawn for people without a name."""
Marks = Literal["none", "boxes", "colours", "corners", "names"]
Hide = Literal["blur", "pixelate"]

Colour = tuple[float, float, float]
"""Gamma-coded red, green and blue, 0…1."""

RED: Colour = (1.0, 0.0, 0.0)
WHITE: Colour = (1.0, 1.0, 1.0)
BLACK: Colour = (0.0, 0.0, 0.0)
GREY: Colour = (0.7, 0.7, 0.7)
DARK: Colour = (0.1, 0.1, 0.1)
"""Inner edge of a grey box, which would be lost on a light ground."""

PALETTE: tuple[Colour, ...] = (
    (0.000, 0.447, 0.698),  # blue
    (0.835, 0.369, 0.000),  # vermilion
    (0.000, 0.620, 0.451),  # bluish green
    (0.800, 0.475, 0.655),  # reddish purple
    (0.941, 0.894, 0.259),  # yellow
    (0.337, 0.706, 0.914),  # sky blue
    (0.902, 0.624, 0.000),  # orange
    (0.650, 0.410, 1.000),  # violet
    (0.650, 0.000, 0.000),  # dark red
    (0.590, 1.000, 1.000),  # pale cyan
    (0.290, 0.000, 0.880),  # indigo
    (0.470, 0.240, 0.410),  # plum
)
"""Twelve colours that people with any kind of colour vision tell apart: the seven of Okabe & Ito (Color Universal
Design, 2008, without black), and five chosen to be farthest, in OKLab and for every kind of vision, from those, from
each other and from `GREY`. Whoever comes thirteenth shares the first one's: the names are there."""

MARKS: tuple[Marks, ...] = ("boxes", "colours", "corners", "names")
HIDING = ("blur", "pixelate", "blur-unknown", "pixelate-unknown")
STYLES = (*MARKS, *HIDING)
"""The words of `--style`."""


@dataclass(frozen=True, slots=True)
class Style:
    """What is done to a picture: people are marked, hidden, or both."""

    marks: Marks = "boxes"
    """`boxes` red with names · `colours` the same, each person in a colour · `corners` of the box only, with names ·
    `names` only · `none`."""
    hide: Hide | None = None
    """Faces are averaged away, smoothly or in squares."""
    spare_named: bool = False
    """Whether hiding leaves out the people with names."""

    @classmethod
    def parse(cls, words: Sequence[str]) -> Style:
        """The style for the words of `--style`: one for the marks, one for hiding, or one of each. Hiding alone draws
        no marks; nothing at all means `boxes`.

        Raises:
            UsageError: two words of one kind, or one that is none.

        Example:
            >>> Style.parse(["corners", "blur-unknown"])
            Style(marks='corners', hide='blur', spare_named=True)
        """
        for word in words:
            if word not in STYLES:
                raise UsageError(f"--style {word}: there is no such style; use {', '.join(STYLES)}")
        drawn = [word for word in MARKS if word in words]
        hiding = [word for word in HIDING if word in words]
        for several in (drawn, hiding):
            if len(several) > 1:
                raise UsageError(f"--style {' and '.join(several)} do not go together; choose one of them")
        marks: Marks = drawn[0] if drawn else "none" if hiding else "boxes"
        if not hiding:
            return cls(marks)
        return cls(marks, "blur" if hiding[0].startswith("blur") else "pixelate", hiding[0].endswith("unknown"))


def usual_unknown(gallery: object) -> Unknown:
    """What is drawn for people without a name if nobody says: a box where, without a gallery, nobody could have one."""
    return "box" if gallery is None else "none"


def colour_of(name: str, people: Sequence[str]) -> Colour:
    """A person's colour in the style `colours`: by the place among `people`; a stranger's to them by the name."""
    place = people.index(name) if name in people else zlib.crc32(name.encode())
    return PALETTE[place % len(PALETTE)]


def text_colour(plate: Colour) -> Colour:
    """White or black, whichever is read better on a plate."""
    red, green, blue = plate
    return WHITE if 0.299 * red + 0.587 * green + 0.114 * blue < 0.54 else BLACK
