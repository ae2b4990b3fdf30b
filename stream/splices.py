"""Where a file is spliced of parts whose clocks begin anew: sound and subtitles stay with the pictures of their part.

splices = find_splices("broadcast.ts", picture=0, copied=[1], shown=times_of_the_pictures)
packets = splices.rejoined(packets)
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av.error
from av.container import InputContainer
from av.packet import Packet

from engine.wording import count
from stream.clock import SPLICE
from stream.probe import fraction, opened, track_of

FORMATS = {"mpegts", "mpeg"}
"""Demuxers of files that may simply be put one behind the other."""
_MATCHED = 5
"""Pictures by which a part's place is known."""


@dataclass(slots=True)
class Splices:
    """The parts of a file, and by how much each is later in the copy."""

    shifts: tuple[Fraction, ...]
    """Seconds, one for each part whose pictures are in the copy; the first is none."""
    places: tuple[int, ...]
    """Where in the file the pictures of each part but the first begin."""
    starts: dict[int, tuple[Fraction, ...]]
    """When each part but the first begins, by its own clock, in the picture's track and those of sound whose clocks
    begin anew as often."""
    overlapping: Counter[int] = field(default_factory=Counter)
    """Packets of sound that were left out since the next part's are due by then."""

    def rejoined(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The same at the times of the pictures that they belong to."""
        lasts: dict[int, Fraction] = {}
        parts: Counter[int] = Counter()
        for packet in packets:
            index, base = packet.stream.index, fraction(packet.time_base)
            when = _when(packet)
            if when is None or base is None:
                yield packet
                continue
            if index in self.starts:
                if _set_back(lasts.get(index), when):
                    parts[index] += 1
                lasts[index] = when
                part = parts[index]
            elif packet.stream.type in ("subtitle", "data"):  # too seldom for their clocks to tell
                part = bisect_right(self.places, packet.pos or 0)
            else:
                yield packet
                continue
            if part >= len(self.shifts):
                continue  # its pictures are not in the copy
            if packet.stream.type == "audio" and part + 1 < len(self.shifts):
                following = self.starts[index][part] + self.shifts[part + 1]
                if when + self.shifts[part] >= following:
                    self.overlapping[index] += 1
                    continue
            ticks = round(self.shifts[part] / base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
            yield packet

    def notes(self, container: InputContainer) -> list[str]:
        """What to say about what `rejoined` left out."""
        return [
            f"sound stays with its pictures where {os.path.basename(container.name)} is spliced, for which "
            f"{count(overlapping, 'packet')} of {track_of(container.streams[index])} had to be left out"
            for index, overlapping in self.overlapping.items()
        ]


def find_splices(
    path: str | os.PathLike[str],
    format_name: str,
    picture: int,
    copied: Collection[int],
    shown: Sequence[int],
) -> Splices | None:
    """Read through the file's packets for clocks that are set back; None where the picture's is not.

    Args:
        path: the file.
        format_name: FFmpeg's name of its demuxer.
        picture: number of the track whose pictures are shown.
        copied: numbers of the tracks that go with them.
        shown: when each picture of the copy is shown, rising, in ticks of its track.
    """
    if format_name not in FORMATS:
        return None
    pictures: list[list[int]] = [[]]
    places: list[int] = []
    starts: dict[int, list[Fraction]] = {}
    lasts: dict[int, Fraction] = {}
    with opened(path) as container:
        wanted = [s for s in container.streams if s.index == picture or (s.index in copied and s.type == "audio")]
        base = fraction(container.streams[picture].time_base) or Fraction(1, 90000)
        try:
            for packet in container.demux(wanted):
                index, when = packet.stream.index, _when(packet)
                if when is None or not packet.size:
                    continue
                begins = starts.setdefault(index, [])
                if _set_back(lasts.get(index), when):
                    begins.append(when)
                    if index == picture:
                        pictures.append([])
                        places.append(packet.pos or 0)
                lasts[index] = when
                if index == picture and packet.pts is not None:
                    pictures[-1].append(packet.pts)
        except av.error.FFmpegError:  # what can be read is told apart all the same
            pass
    shifts = _shifts([sorted(part) for part in pictures], shown)
    if len(shifts) < 2:
        return None
    alike = {i: tuple(begins) for i, begins in starts.items() if len(begins) == len(places)}
    return Splices(tuple(shift * base for shift in shifts), tuple(places), alike)


def _when(packet: Packet[Any]) -> Fraction | None:
    ticks, base = packet.dts if packet.dts is not None else packet.pts, fraction(packet.time_base)
    return None if ticks is None or base is None else ticks * base


def _set_back(last: Fraction | None, when: Fraction) -> bool:
    return last is not None and last - when > SPLICE


def _shifts(parts: Sequence[Sequence[int]], shown: Sequence[int]) -> list[int]:
    """By how many ticks the pictures of each part that is in the copy are later there; of none where that is in
    doubt."""
    shifts = [0]
    for before, part in pairwise(parts):
        if not before or not part:
            return []
        place = bisect_right(shown, before[-1] + shifts[-1])
        following = shown[place : place + min(_MATCHED, len(part))]
        if not following:  # the copy ends here, unless a single wrong time says so
            return shifts if shown and shown[-1] - shifts[-1] in before else []
        shifts.append(following[0] - part[0])
        if [time - shifts[-1] for time in following] != list(part[: len(following)]):
            return []  # pictures are missing there
    return shifts
