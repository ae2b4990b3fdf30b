"""What a record was made of: where it lies, and whether a video can be it."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import InputError
from stream.frames import VideoInfo
from stream.tracks import Header, Tracks

DURATION_SLACK = 0.001
"""Seconds by which the record's rounding may differ."""


def found_again(record: Tracks, tracks: str | os.PathLike[str]) -> Path | None:
    """The video or photo of the record at `tracks`: where the record says, or beside it; None: in neither place."""
    named = Path(record.header.path)
    for place in (named, Path(tracks).parent / named.name):
        if os.path.isfile(place):  # unlike Path.is_file also of a name too long for this system
            return place
    return None


def video_of(record: Tracks, tracks: str | os.PathLike[str], video: str | os.PathLike[str] | None) -> Path:
    """The same, or `video` where somebody says so.

    Raises:
        InputError: it is in none of these places, or the record is of a live source.
    """
    place = Path(video) if video is not None else found_again(record, tracks)
    if place is not None:
        return place
    if record.header.may_be_live:
        raise InputError(live_words(record.header, tracks))
    raise InputError(
        f"{record.header.path}, which {os.fspath(tracks)} was made of, is not there; say where it is with --video"
    )


def check_belongs(record: Tracks, tracks: str | os.PathLike[str], info: VideoInfo) -> None:
    """Refuse a video that the record cannot have been made of, before anything is written.

    Raises:
        InputError: size, rotation, time base or duration differ, or the record is of a live source.
    """
    header = record.header
    if header.may_be_live and (info.time_base, info.duration) != (header.time_base, header.duration):
        raise InputError(live_words(header, tracks))

    def refuse(what: str, here: object, there: object) -> InputError:
        return InputError(
            f"{os.fspath(tracks)} belongs to another video than {info.path}: its {what} is {there}, "
            f"the video's {here}; give the video that the record was made of ({header.path})"
        )

    if (header.width, header.height) != (info.width, info.height):
        raise refuse("size", f"{info.width}x{info.height}", f"{header.width}x{header.height}")
    if header.rotation != info.rotation:
        raise refuse("rotation", info.rotation, header.rotation)
    if header.time_base != info.time_base:
        raise refuse("time base", info.time_base, header.time_base)
    here, there = info.duration, header.duration
    if here is not None and there is not None and abs(here - there) > DURATION_SLACK:
        raise refuse("duration", f"{here:.3f} s", f"{there:.3f} s")


def live_words(header: Header, tracks: str | os.PathLike[str]) -> str:
    """Why nothing can be drawn from the record of a live source."""
    return (
        f"{os.fspath(tracks)} is the record of a live source ({header.path}): its times are of when the pictures came, "
        "and no video has these; `iznet tracks summary` and `iznet tracks convert` read it"
    )
