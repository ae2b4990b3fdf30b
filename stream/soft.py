"""A soft copy: every packet of the source as it is, and boxes and names as a subtitle track that the player draws.

Nothing is decoded or encoded. The subtitles can be switched off, and the picture under them is the original's.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from engine.errors import InputError, OutputError, UsageError
from engine.output_file import atomic_output
from engine.wording import count
from stream.joining import (
    chapters_of,
    cover_picture,
    decodable,
    heard,
    muxers_shift,
    packets_of,
    settle,
    shift_notes,
    track_clock,
    with_following,
)
from stream.probe import fraction, opened, track_of
from stream.sink import StreamPlan, attach_cover, copy_stream, is_cover, plan_streams
from stream.soft_boxes import Event, events, script
from stream.source import FileSource
from stream.splices import Splices, find_splices
from stream.styles import Style, Unknown
from stream.tags import file_tags
from stream.tracks import Tracks

TITLE = "Faces"
"""Of the subtitle track, as players list it."""
MILLISECOND = Fraction(1, 1000)
"""What MKV counts in."""
_FIRST_PICTURES = 16
"""Packets by which it is known whether pictures have times."""


def check_soft(output: str | os.PathLike[str], style: Style) -> None:
    """Refuse a soft copy that cannot be, before any work is done.

    Raises:
        UsageError: it is not to be MKV, or to hide somebody.
    """
    if Path(output).suffix.lower() != ".mkv":
        raise UsageError(f"{os.fspath(output)}: a soft copy keeps its boxes in a subtitle track of MKV; name it .mkv")
    if style.hide is not None:
        raise UsageError(
            f"{os.fspath(output)}: a soft copy keeps the picture as it is and can hide nobody; leave --soft out"
        )


def soft_plan(reader: FileSource, output: str | os.PathLike[str], omit: Collection[int] = ()) -> StreamPlan:
    """Which tracks are copied.

    Raises:
        OutputError: MKV cannot hold one of them, or would show pictures that the source's edit list hides.
        InputError: the picture's packets carry no display times that could be copied.
    """
    with opened(reader.path) as container:
        if container.format.name == "avi" and reader.facts.codec in ("h264", "hevc"):
            raise InputError(
                f"{reader.path}: AVI stores no display times for {reader.facts.codec}, so its packets cannot be copied "
                "into MKV; leave --soft out"
            )
        if _untimed(reader.path, reader.facts.stream_index):
            raise InputError(
                f"{reader.path} stores no display times, so its packets cannot be copied into MKV; leave --soft out"
            )
        if any(entry.is_discard for entry in container.streams[reader.facts.stream_index].index_entries):
            pictures = _pictures(reader.path, reader.facts.stream_index)
            if hidden := sum(pictures[i].hidden for i in _needed(pictures)):
                raise OutputError(
                    f"{os.fspath(output)}: MKV would show {count(hidden, 'picture')} that the edit list of "
                    f"{reader.path} cuts away and others are built on; leave --soft out"
                )
    return plan_streams(reader.path, output, None, omit)


def _untimed(path: str, index: int) -> bool:
    """Whether the picture's packets say nothing about when they are shown, as those of a bare stream."""
    with opened(path) as container:
        first = list(islice(packets_of(container, {index: container.streams[index]}), _FIRST_PICTURES))
        return all(packet.pts is None for packet in first)


def soft_copy(
    reader: FileSource,
    record: Tracks,
    output: str | os.PathLike[str],
    *,
    style: Style | None = None,
    unknown: Unknown = "none",
    overwrite: bool = False,
    omit: Collection[int] = (),
) -> tuple[str, ...]:
    """Write the copy, atomically.

    Args:
        reader: the source; no frame of it is decoded.
        record: made of the source; faces bear the names to show.
        output: an `.mkv` file.
        style: of the marks.
        unknown: what to show for people without a name.
        overwrite: whether the output may be replaced.
        omit: numbers of tracks of the source that may be left out.

    Returns:
        What the user should be told.

    Raises:
        UsageError, InputError, OutputError: see `check_soft`, `atomic_output` and `soft_plan`.

    Example:
        >>> soft_copy(FileSource("mv.mp4"), read("mv.tracks.jsonl"), "mv.labelled.mkv")   # doctest: +SKIP
    """
    style = style or Style()
    check_soft(output, style)
    plan = soft_plan(reader, output, omit)
    shown = events(record, style, unknown)
    notes = list(plan.notes)
    head = io.BytesIO(script(record, style).to_string("ass", header_notice="").encode())
    with atomic_output(output, overwrite) as temporary, opened(reader.path) as container:
        covered = any(is_cover(container.streams[i]) for i in plan.copied)
        tags = file_tags(container.metadata, plan.format, covered)
        try:
            with (
                av.open(head, "r", format="ass") as subtitles,
                av.open(os.fspath(temporary), "w", format=plan.format, options=tags.options) as target,
            ):
                target.metadata.update(tags.tags)
                pts = [frame.pts for frame in record.frames]
                notes += _mux(container, target, plan, subtitles.streams[0], shown, pts)
        except (av.error.ArgumentError, av.error.InvalidDataError) as error:
            raise OutputError(
                f"{os.fspath(output)}: MKV does not take these tracks ({error.strerror}); leave --soft out"
            ) from error
    return tuple(notes)


def _mux(
    container: InputContainer,
    target: OutputContainer,
    plan: StreamPlan,
    subtitles: Stream,
    shown: list[Event],
    pts: Sequence[int],
) -> list[str]:
    copies: dict[int, Stream] = {}
    faces: Stream | None = None
    for stream in container.streams:
        if stream.index == plan.picture:
            copies[stream.index] = copy_stream(target, stream)
            # Before the source's own subtitles: players show the first track that is on by default.
            faces = target.add_stream_from_template(subtitles)
            faces.time_base = MILLISECOND
            faces.metadata.update({"title": TITLE, "language": "zxx"})
            faces.disposition = Disposition.default
        elif stream.index in plan.copied:
            if is_cover(stream):
                attach_cover(target, stream, cover_picture(container.name, stream.index))
            else:
                copies[stream.index] = copy_stream(target, stream)
    assert faces is not None
    splices = find_splices(container.name, container.format.name, plan.picture, copies, pts)
    times = _picture_times(container.name, plan.picture, splices)
    base = fraction(container.streams[plan.picture].time_base) or MILLISECOND
    moved = muxers_shift(container, plan, min((time[0] for time in times if time is not None), default=0) * base)
    if chapters := chapters_of(container, None, moved):
        target.set_chapters(chapters)
    target.start_encoding()

    waiting = _subtitle_packets(shown, faces)
    upcoming = next(waiting, None)
    clocks = {
        index: track_clock(container.streams[index], copy, plan.format)
        for index, copy in copies.items()
        if index != plan.picture
    }
    upcoming_times = iter(times)
    refused: dict[int, int] = {}
    packets = heard(packets_of(container, copies), plan.format)
    if splices is not None:
        packets = splices.rejoined(packets)
    for packet, following in with_following(decodable(packets)):
        index = packet.stream.index
        if index == plan.picture:
            if (time := next(upcoming_times)) is None:
                continue
            packet.pts, packet.dts = time
            when = packet.dts * (fraction(packet.time_base) or MILLISECOND)
        else:
            when = settle(packet, following, clocks[index])
        while upcoming is not None and upcoming[1] <= when:
            target.mux_one(upcoming[0])
            upcoming = next(waiting, None)
        packet.stream = copies[index]
        try:
            target.mux_one(packet)
        except av.error.InvalidDataError:  # the muxer looks into some packets and finds no sense in this one
            refused[index] = refused.get(index, 0) + 1
    while upcoming is not None:
        target.mux_one(upcoming[0])
        upcoming = next(waiting, None)
    notes = shift_notes(moved, container) + (splices.notes(container) if splices is not None else [])
    notes += [
        f"{count} damaged packets of {track_of(container.streams[index])} are left out"
        for index, count in refused.items()
    ]
    notes += [
        f"{clock.moved} packets of {track_of(container.streams[index])} were out of order in time; "
        "each follows the one before"
        for index, clock in clocks.items()
        if clock.moved
    ]
    return notes


class _Picture(NamedTuple):
    """One packet of the picture."""

    shown: int
    """When, in ticks of the track."""
    key: bool
    hidden: bool
    """Whether an edit list cuts it away."""


def _pictures(path: str, index: int, splices: Splices | None = None) -> list[_Picture]:
    """The picture's packets in file order. One without a time follows the one before."""
    pictures: list[_Picture] = []
    with opened(path) as container:
        packets = packets_of(container, {index: container.streams[index]})
        for packet in packets if splices is None else splices.rejoined(packets):
            when = packet.pts if packet.pts is not None else packet.dts
            if when is None:
                when = pictures[-1].shown + 1 if pictures else 0
            pictures.append(_Picture(when, packet.is_keyframe, packet.is_discard))
    return pictures


def _needed(pictures: Sequence[_Picture]) -> list[int]:
    """Places of the pictures that are shown, and of the hidden ones that they may be built on: those from the last
    keyframe on, but none that is due before it or comes after all that is shown."""
    shown = [i for i, picture in enumerate(pictures) if not picture.hidden]
    if not shown:
        return list(range(len(pictures)))
    first = min(pictures[i].shown for i in shown)
    start = max((i for i in range(shown[0] + 1) if pictures[i].key and pictures[i].shown <= first), default=0)
    return [
        i for i in range(start, shown[-1] + 1) if not pictures[i].hidden or pictures[i].shown >= pictures[start].shown
    ]


def _picture_times(path: str, index: int, splices: Splices | None) -> list[tuple[int, int] | None]:
    """When each packet of the picture is shown and when it is decoded at the latest, in file order; ticks of the track.
    None for a hidden one that nothing needs.

    MKV stores the former only. Its muxer wants the latter to rise and never to pass the former, and many sources do not
    say: it is the earliest display time that is still to come.
    """
    pictures = _pictures(path, index, splices)
    needed = _needed(pictures)
    shown = [pictures[i].shown for i in needed]
    decoded = list(accumulate(reversed(shown), min))[::-1]
    times: list[tuple[int, int] | None] = [None] * len(pictures)
    for i, time in zip(needed, zip(shown, decoded, strict=True), strict=True):
        times[i] = time
    return times


def _subtitle_packets(shown: list[Event], stream: Stream) -> Iterator[tuple[Packet[Any], Fraction]]:
    """The events as MKV stores them: fields in a fixed order, times beside them; each with the second it is due."""
    number = 0
    for event in shown:
        # Rounded as MKV rounds the pictures' times, so that an event begins with its frame.
        start, end = (
            (2000 * time.numerator + time.denominator) // (2 * time.denominator) for time in (event.start, event.end)
        )
        if end <= start:
            continue
        fields = [
            str(number),
            str(event.layer),
            event.style,
            event.name,
            "0",
            "0",
            "0",
            "",
            event.text,
        ]
        packet: Packet[Any] = Packet(",".join(fields).encode())
        packet.stream = stream
        packet.time_base = MILLISECOND
        packet.pts = packet.dts = start
        packet.duration = end - start
        packet.is_keyframe = True
        number += 1
        yield packet, event.start
