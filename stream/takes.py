"""A record as editors see it: shots, takes, and the grid of frames that their timelines count in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream.frames import Face
from stream.presence import Presence, frame_ends, presence, silences
from stream.timecode import is_steady, nominal_rate
from stream.tracks import Header, RecordedFrame, Tracks

Who = Callable[[Face], str | None]
"""What a face is called, None where it does not count."""


@dataclass(frozen=True, slots=True)
class Shot:
    """An unbroken run of frames between two cuts."""

    number: int
    first: int
    """Index of its first frame."""
    last: int
    """Index of its last frame."""


@dataclass(frozen=True, slots=True)
class Take:
    """One person on screen without a break, inside one shot."""

    name: str
    shot: int
    first: int
    """Index of the first frame."""
    last: int
    """Index of the last frame."""
    tracks: tuple[int, ...]
    """Ids of the tracks that bore the name, in order of their appearance."""


class Ruler:
    """Where each frame of a record stands in time, in exact seconds and on the grid of an editor's timeline.

    The grid has one place for every frame of the nominal rate and begins at the video's first frame, as editors begin
    a clip there. With evenly spaced frames a frame's place is its index; with others it is the nearest one in time.

    Example:
        >>> ruler = Ruler([0, 40, 80, 160], Fraction(1, 1000))
        >>> ruler.rate, ruler.end(3), [ruler.place(i) for i in range(4)], ruler.length
        (Fraction(25, 1), Fraction(16, 75), [0, 1, 2, 4], 5)
    """

    def __init__(self, pts: Sequence[int], time_base: Fraction, silences: Sequence[int] = ()) -> None:
        self.pts = pts
        self.silences = silences
        """The frames before which there was nothing to be seen."""
        self._time_base = time_base
        self._ends = frame_ends(pts, silences)
        self._lasts = [i - 1 for i in (*silences, len(pts)) if i]
        """The frames that do not last until the next one begins."""
        self._steps = np.diff(np.asarray(pts, np.int64), append=0)
        self._steps[self._lasts] = 0
        self.rate: Fraction = nominal_rate(pts, time_base)
        """Frames a second."""
        self._steady = len(pts) < 2 or is_steady(pts, time_base, self.rate)

    @classmethod
    def of(cls, record: Tracks) -> Ruler:
        pts = [frame.pts for frame in record.frames]
        return cls(pts, record.header.time_base, _silences(record.frames, record.header))

    def start(self, index: int) -> Fraction:
        """Seconds from the file's own zero at which a frame begins."""
        return self.pts[index] * self._time_base

    def end(self, index: int) -> Fraction:
        """Seconds at which it ends: when the next begins; the only frame of a photo lasts one of the nominal rate."""
        return self._ends[index] * self._time_base if len(self.pts) > 1 else self.start(index) + 1 / self.rate

    def seconds(self, frames: Sequence[int] | NDArray[np.intp]) -> Fraction:
        """How long these frames last together."""
        if len(self.pts) < 2:
            return len(frames) / self.rate
        at = np.asarray(frames, np.intp)
        lasts = sum((self._ends[i] - self.pts[i] for i in np.intersect1d(at, self._lasts).tolist()), Fraction(0))
        return (int(self._steps[at].sum()) + lasts) * self._time_base

    def place(self, index: int) -> int:
        """The frame's place on the grid."""
        return index if self._steady else self._nearest(self.pts[index])

    def place_after(self, index: int) -> int:
        """The place just after the frame: where it ends, and always later than its own."""
        after = self.place(index) + 1
        return after if self._steady or index + 1 == len(self.pts) else max(after, self._nearest(self._ends[index]))

    def _nearest(self, pts: int | Fraction) -> int:
        return round((pts - self.pts[0]) * self._time_base * self.rate)

    @property
    def length(self) -> int:
        """Places from the first frame to the end of the last."""
        return self.place_after(len(self.pts) - 1) if self.pts else 0


def shots(frames: Sequence[RecordedFrame]) -> list[Shot]:
    """The shots of a record, in order."""
    found: list[Shot] = []
    for frame in frames:
        if found and found[-1].number == frame.shot:
            found[-1] = Shot(frame.shot, found[-1].first, frame.index)
        else:
            found.append(Shot(frame.shot, frame.index, frame.index))
    return found


def named(face: Face) -> str | None:
    """People with a name."""
    return face.name


def unnamed(record: Tracks) -> Who:
    """People without one: `unknown 2`, the same for one person over the whole video, where the record numbers them;
    by track where it does not."""
    numbers = {verdict.track: verdict.stranger for verdict in record.tracks}

    def who(face: Face) -> str | None:
        if face.name is not None:
            return None
        return unnamed_as(face.track, numbers.get(face.track))

    return who


def unnamed_as(track: int, stranger: int | None) -> str:
    """What a track without a name is called."""
    return f"unknown, track {track}" if stranger is None else f"unknown {stranger}"


def by_number(name: str) -> tuple[bool, int]:
    """Sorts what `unnamed` calls people: by their number, then the tracks that have none.

    Example:
        >>> sorted(["unknown, track 3", "unknown 10", "unknown 9"], key=by_number)
        ['unknown 9', 'unknown 10', 'unknown, track 3']
    """
    head, _, number = name.rpartition(" ")
    return head != "unknown", int(number)


def names_on(frame: RecordedFrame, who: Who = named) -> set[str]:
    """Who is on a frame."""
    return {name for face in frame.faces if (name := who(face)) is not None}


def takes(frames: Sequence[RecordedFrame], who: Who = named) -> list[Take]:
    """Everybody's takes, in order of their first frames, then by name."""
    running: dict[str, Take] = {}
    found: list[Take] = []
    for frame in frames:
        here: defaultdict[str, list[int]] = defaultdict(list)
        for face in frame.faces:
            name = who(face)
            if name is not None:
                here[name].append(face.track)
        for name, tracks in here.items():
            take = running.get(name)
            if take is not None and take.shot == frame.shot and take.last == frame.index - 1:
                ids = tuple(dict.fromkeys((*take.tracks, *tracks)))
                running[name] = Take(name, take.shot, take.first, frame.index, ids)
            else:
                if take is not None:
                    found.append(take)
                running[name] = Take(name, frame.shot, frame.index, frame.index, tuple(dict.fromkeys(tracks)))
    return sorted([*found, *running.values()], key=lambda take: (take.first, take.name))


def _silences(frames: Sequence[RecordedFrame], header: Header) -> tuple[int, ...]:
    return silences([frame.pts for frame in frames], [frame.shot for frame in frames], header.longest_silence)


def seen(frames: Sequence[RecordedFrame], header: Header, who: Who = named) -> tuple[Presence, ...]:
    """How long everyone is on screen, longest first, then by name."""
    where: defaultdict[str, list[int]] = defaultdict(list)
    for frame in frames:
        for name in names_on(frame, who):
            where[name].append(frame.index)
    return presence([frame.pts for frame in frames], header.time_base, where, _silences(frames, header))


def cast(record: Tracks, seen: Iterable[str] | None = None) -> tuple[str, ...]:
    """Everybody the record names, in the gallery's order; who is not in the gallery comes after, by name. `seen` are
    the names that its faces bear, where they are at hand.

    A person's colour goes by the place in this list, so it is the same wherever the record is drawn.
    """
    names = {verdict.name for verdict in record.tracks if verdict.name is not None}
    names = names.union(*(names_on(frame) for frame in record.frames)) if seen is None else names.union(seen)
    people = record.header.people
    return (*people, *sorted(names.difference(people)))


def placed_shots(record: Tracks, ruler: Ruler) -> list[tuple[Shot, int, int]]:
    """Every shot with its first place on the grid and the one after its last: without gaps and in order.

    Where frames are unevenly spaced, a shot shorter than one place of the grid has no room and is left out.
    """
    found = shots(record.frames)
    bounds = [*(ruler.place(shot.first) for shot in found), ruler.length]
    return [(shot, start, end) for shot, (start, end) in zip(found, pairwise(bounds), strict=True) if end > start]
