"""A series of pictures where a video is wanted, as a folder or a pattern of names: how to make a video of it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from engine.images import SUFFIXES
from engine.wording import count

_NUMBER = re.compile(r"%0?\d*d")


def series_remark(place: Path) -> str | None:
    """What to say of a folder with pictures, or of a pattern of picture names (`%04d.jpg`, `*.jpg`) that some have;
    None of anything else.
    """
    if place.is_dir():
        endings = Counter(file.suffix for file in _pictures(place))
        if not endings:
            return None
        usual = place / f"*{endings.most_common(1)[0][0]}"
        return (
            f"{place} is a folder with {count(endings.total(), 'picture')}, not a video; label photos one at a time, "
            f"or make a video of a series, in the order of their names: {_ffmpeg(usual)}"
        )
    command = None
    if place.suffix.lower() in SUFFIXES:
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
    how = "-pattern_type glob" if start is None else f"-start_number {start}"
    return f"ffmpeg -framerate 25 {how} -i {shlex.quote(str(pattern))} -c:v ffv1 series.mkv"
