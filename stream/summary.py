"""Who is how long on screen, when, and with whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from stream.takes import Ruler, Take, Who, by_number, named, names_on, seen, shots, takes, unnamed
from stream.tracks import Tracks

UNKNOWN_ROWS = 8
"""People without a name that are shown one by one; a crowd has hundreds."""

Span = tuple[float, float]
"""Start and end, seconds."""


@dataclass(frozen=True, slots=True)
class ScreenTime:
    """One person's."""

    name: str
    seconds: float
    frames: int
    share: float
    """Of all frames, 0…1."""
    first: float
    """Seconds at which the person is first seen."""
    last: float
    """Seconds at which the person is last seen: the last frame's end."""
    appearances: tuple[Span, ...]
    """Unbroken runs of frames, over cuts too."""
    takes: int
    """Unbroken runs inside a shot."""
    longest: Span
    """The longest of them."""


@dataclass(frozen=True, slots=True)
class Together:
    """Two people on screen at the same time."""

    names: tuple[str, str]
    seconds: float
    frames: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A record in short."""

    frames: int
    seconds: float
    shots: int
    people: tuple[ScreenTime, ...]
    """Longest on screen first, then by name."""
    together: tuple[Together, ...]
    """Longest together first; who never is, is not there."""
    strangers: tuple[ScreenTime, ...]
    """The same for the people without a name, called as `takes.unnamed` calls them."""
    unknown_tracks: int
    """Tracks without a name."""

    def shown(self) -> tuple[tuple[ScreenTime, ...], tuple[ScreenTime, ...]]:
        """The people without a name who are shown one by one: those seen longest, in order of their numbers. And the
        others."""
        longest, others = self.strangers[:UNKNOWN_ROWS], self.strangers[UNKNOWN_ROWS:]
        return tuple(sorted(longest, key=lambda person: by_number(person.name))), others


def overview(record: Tracks) -> Overview:
    """Sum up a record whose faces bear the final verdicts.

    Example:
        >>> overview(read("mv.tracks.jsonl")).people[0].name    # doctest: +SKIP
        'Yuri'
    """
    ruler = Ruler.of(record)
    pairs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for frame in record.frames:
        for first, second in combinations(sorted(names_on(frame)), 2):
            pairs[first, second].append(frame.index)
    together = [Together(pair, _length(ruler, at), len(at)) for pair, at in pairs.items()]
    return Overview(
        frames=len(record.frames),
        seconds=_length(ruler, range(len(record.frames))),
        shots=len(shots(record.frames)),
        people=_screen_times(record, ruler, named),
        together=tuple(sorted(together, key=lambda pair: (-pair.seconds, pair.names))),
        strangers=_screen_times(record, ruler, unnamed(record)),
        unknown_tracks=sum(verdict.name is None for verdict in record.tracks),
    )


def _screen_times(record: Tracks, ruler: Ruler, who: Who) -> tuple[ScreenTime, ...]:
    runs: defaultdict[str, list[Take]] = defaultdict(list)
    for take in takes(record.frames, who):
        runs[take.name].append(take)
    people = []
    for person in seen(record.frames, record.header.time_base, who):
        own = runs[person.name]
        at = [index for take in own for index in range(take.first, take.last + 1)]
        spans = [(ruler.start(take.first), ruler.end(take.last)) for take in own]
        people.append(
            ScreenTime(
                name=person.name,
                seconds=_length(ruler, at),
                frames=len(at),
                share=round(len(at) / len(record.frames), 4),
                first=_seconds(spans[0][0]),
                last=_seconds(spans[-1][1]),
                appearances=person.appearances,
                takes=len(own),
                longest=_span(max(spans, key=lambda span: span[1] - span[0])),
            )
        )
    return tuple(people)


def _length(ruler: Ruler, frames: Iterable[int]) -> float:
    return _seconds(sum((ruler.end(i) - ruler.start(i) for i in frames), Fraction(0)))


def _span(span: tuple[Fraction, Fraction]) -> Span:
    return _seconds(span[0]), _seconds(span[1])


def _seconds(value: Fraction) -> float:
    return round(float(value), 3)
