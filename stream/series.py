"""A series of pictures where a video is wanted, as a folder or a pattern of names: how to make a video of it."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from engine.images import SUFFIXES
from engine.wording import count

_SERIES = SUFFIXES - {".gif", ".avif", ".heic", ".heif", ".hif"}
"""Endings of pictures that FFmpeg reads a series of."""
_NUMBER = re.compile(r"%0?\d*d")
_GLOB = re.compile(r"[][*?{}\\]")
"""What means more than itself in a pattern of this type."""


def series_remark(place: Path) -> str | None:
    """What to say of a folder with pictures, or of a pattern of picture names (`%04d.jpg`, `*.jpg`) that some have;
    None of anything else.
    """
    if os.path.isdir(place):  # a name that no file can have is none
        endings = Counter(file.suffix for file in _pictures(place))
        if not endings:
            return None
        words = f"{place} is a folder with {count(endings.total(), 'picture')}, not a video; label photos one at a time"
        usual = next((ending for ending, _ in endings.most_common() if ending.lower() in _SERIES), None)
        if usual is None:
            return words
        return f"{words}, or make a video of a series, in the order of their names: {_ffmpeg(place / f'*{usual}')}"
    command = None
    if place.suffix.lower() in _SERIES:
        others = [file.name for file in _pictures(place.parent)]
        if _NUMBER.search(place.name):
            before, after = map(re.escape, _NUMBER.split(place.name, maxsplit=1))
            alike = [re.fullmatch(f"{before}([0-9]+){after}", other) for other in others]
            if numbers := [int(found[1]) for found in alike if found]:
                command = _ffmpeg(place, min(numbers))
        elif "*" in place.name and any(fnmatch(other, place.name) for other in others):
            command = _ffmpeg(place)
    return command and f"{place}: a series of pictures is no video; make one of it: {command}"


def _pictures(folder: Path) -> list[Path]:
    """None of a folder that cannot be read: of that there is something else to say."""
    try:
        return [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES]
    except OSError:
        return []


def _ffmpeg(pattern: Path, start: int | None = None) -> str:
    """The command, without loss whatever the kind of picture and its size; `start` for a pattern with a number."""
    how, folder = "-pattern_type glob", _GLOB.sub(r"\\\g<0>", str(pattern.parent))
    if start is not None:
        how, folder = f"-start_number {start}", str(pattern.parent).replace("%", "%%")
    pictures = shlex.quote(str(Path(folder, pattern.name)))
    return f"ffmpeg -f image2 -framerate 25 {how} -i {pictures} -c:v ffv1 series.mkv"
