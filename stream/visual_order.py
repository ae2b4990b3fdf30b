"""Text for renderers that set glyph after glyph from left to right, as OpenCV's does.

Hebrew and Arabic are stored in the order they are read and drawn from right to left, numbers and Latin words among
them from left to right (Unicode Standard Annex 9); the letters of Arabic take the form of their place in the word, for
which Unicode has characters of their own (Arabic Presentation Forms-A and -B).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any


def runs_left(text: str) -> bool:
    """Whether some of it is written from right to left.

    Example:
        >>> runs_left("Yuri"), runs_left("יורי 1")
        (False, True)
    """
    return any(unicodedata.bidirectional(c) in ("R", "AL", "AN", "RLE", "RLO", "RLI") for c in text)


def visual_order(text: str, *, joined: bool = True) -> str:
    """The characters of one line in the order they stand from left to right.

    Args:
        text: as stored.
        joined: whether Arabic letters are replaced by the forms of their place; vowel signs are left out then.

    Example:
        >>> visual_order("שרה 12") == "12 הרש"
        True
    """
    if not runs_left(text):
        return text
    from bidi import get_display

    ordered = get_display(_reshaper().reshape(text) if joined else text)
    assert isinstance(ordered, str)
    return ordered


@cache
def _reshaper() -> Any:
    from arabic_reshaper import ArabicReshaper

    # A glyph of its own for the word Allah is in few fonts, and its letters do as well.
    return ArabicReshaper({"ARABIC LIGATURE ALLAH": False})
