"""What is done with the named frames of a feed, and how the files that never end are called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from engine.errors import UsageError
from engine.output_file import check_apart, check_output
from stream.frames import LabelledFrame, TrackVerdict, VideoInfo

CAMERA = "{camera}"
"""Stands for the camera's name in the name of a file."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of a feed with everybody on it, as it is handed to the outputs."""

    labelled: LabelledFrame
    info: VideoInfo
    """The pictures' geometry; another object from the frame on where it changes."""
    epoch: int
    """Counts the geometries, from 1; track ids begin anew with each."""
    dropped_before: Mapping[str, int] = field(default_factory=dict)
    """Frames of the geometries before that never came, by cause."""


@dataclass(slots=True)
class Health:
    """How an output is doing, for people to read."""

    name: str
    """What it was asked for as, without secrets."""
    state: Literal["on", "waiting", "failed"] = "on"
    """Working · lost for now and asked for again · given up."""
    problem: str | None = None
    """What is or was wrong last."""


class Output(Protocol):
    """Takes what is seen, in the thread of the analysis: it must not wait for anything slow."""

    @property
    def draws(self) -> bool:
        """Whether it wants boxes and names in the picture."""
        ...

    def frame(self, seen: Seen) -> None:
        """The next frame."""

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        """Tracks that have ended, in time for their geometry. Also called, with none, where the feed breaks off."""

    def close(self, dropped: Mapping[str, int]) -> None:
        """The run is over; `dropped` counts the frames that never came, by cause."""


@runtime_checkable
class Reported(Protocol):
    """An output whose state people are told."""

    health: Health


@runtime_checkable
class Filed(Protocol):
    """An output that writes files."""

    place: str | None
    """The name of the first, in which codes of `strftime` may stand; None where it writes none after all."""


@runtime_checkable
class Continuous(Protocol):
    """An output that shows pictures without a gap, also those on which nobody was looked for."""

    def between(self, seen: Seen) -> None:
        """Such a picture, with who must have been on it."""


def name_for(pattern: str, camera: str, cameras: int) -> str:
    """The file name for one of several cameras.

    Raises:
        UsageError: they would all write into one file.

    Example:
        >>> name_for("rec/{camera}.mkv", "door / left", 2)
        'rec/door-left.mkv'
    """
    if cameras > 1 and CAMERA not in pattern:
        raise UsageError(f"{pattern}: {cameras} sources cannot share one file; put {CAMERA} into its name")
    return pattern.replace(CAMERA, _as_file(camera))


def check_names(cameras: Sequence[str]) -> None:
    """Refuse cameras that could not be told apart, in figures or in the names of files.

    Raises:
        UsageError: two are called the same, or nearly so.
    """
    known: dict[str, str] = {}
    for camera in cameras:
        file = _as_file(camera).casefold()
        if file in known:
            raise UsageError(f"two sources are called {known[file]} and {camera}; name them apart: NAME=SOURCE")
        known[file] = camera


def _as_file(camera: str) -> str:
    return re.sub(r"[^\w.]+", "-", camera).strip("-.") or "camera"


def pieces(pattern: str) -> Iterator[Path]:
    """The names of a file's pieces: the name itself, then numbered. Codes of `strftime` become the moment at which a
    piece begins, so that a restart never meets the files of the run before.

    Example:
        >>> names = pieces("door.tracks.jsonl")
        >>> next(names).name, next(names).name
        ('door.tracks.jsonl', 'door-2.tracks.jsonl')
    """
    made: set[Path] = set()
    while True:
        path = whole = _begun(pattern, datetime.now())
        number = 1
        while path in made:
            number += 1
            path = _numbered(whole, number)
        made.add(path)
        yield path


def _begun(pattern: str, moment: datetime) -> Path:
    return Path(moment.strftime(pattern) if "%" in pattern else pattern)


def _numbered(path: Path, number: int) -> Path:
    ending = ".tracks.jsonl" if path.name.endswith(".tracks.jsonl") else path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}-{number}{ending}")


def check_files(outputs: Iterable[Output], *others: str) -> None:
    """Refuse outputs two of which would write one file, or one of the `others`.

    Raises:
        UsageError: two would.
    """
    moment = datetime.now()  # one for all: what has the same name in every second must not pass between two
    places = [output.place for output in outputs if isinstance(output, Filed)]
    check_apart(*(_begun(place, moment) for place in places if place is not None), *others)


def check_new(path: Path, overwrite: bool, made_from: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Refuse a file that cannot be begun there, and written to as it grows.

    Raises:
        OutputError: as `engine.output_file.check_output`.
    """
    hint = ", or a name with the time in it, such as %Y%m%d-%H%M%S"
    check_output(path, overwrite, made_from, in_place=True, hint=hint)
