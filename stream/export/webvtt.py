"""What both WebVTT files share: time stamps and blocks.

Source: W3C, WebVTT: The Web Video Text Tracks Format, sections 4.1 and 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

Cue = tuple[Fraction, Fraction, str]
"""Start and end in seconds, and a text that needs no more escaping."""


def file(cues: Iterable[Cue]) -> bytes:
    """A WebVTT file. Times are rounded to milliseconds; what ends before 0 or lasts no millisecond is left out."""
    blocks = ["WEBVTT\n"]
    for start, end, text in cues:
        first, last = max(0, round(start * 1000)), round(end * 1000)
        if last > first:
            blocks.append(f"{stamp(first)} --> {stamp(last)}\n{text}\n")
    return "\n".join(blocks).encode()


def stamp(milliseconds: int) -> str:
    """
    Example:
        >>> stamp(3_661_001)
        '01:01:01.001'
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
