"""WebVTT chapters (`.vtt`): one a shot, titled with who is in it, for players' chapter menus."""

from __future__ import annotations

from html import escape
from pathlib import Path

from stream.export import webvtt
from stream.glyphs import clean
from stream.takes import Ruler, shots, takes
from stream.tracks import Tracks


def encode(record: Tracks, video: Path) -> bytes:
    """A chapter lasts from a shot's first frame to the next shot's."""
    ruler = Ruler.of(record)
    found = takes(record.frames)
    cues = []
    for number, shot in enumerate(shots(record.frames), 1):
        names = dict.fromkeys(clean(take.name) for take in found if shot.first <= take.first <= shot.last)
        title = f"Shot {number}" + (f": {', '.join(names)}" if names else "")
        cues.append((ruler.start(shot.first), ruler.end(shot.last), escape(title, quote=False)))
    return webvtt.file(cues)
