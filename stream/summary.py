"""Who is how long on screen, when, and with whom."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from stream.presence import presence
from stream.takes import Ruler, shots, takes
from stream.tracks import Tracks

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
    unknown_tracks: int
    """Tracks without a name."""


def overview(record: Tracks) -> Overview:
    """Sum up a record whose faces bear the final verdicts.

    Example:
        >>> overview(read("mv.tracks.jsonl")).people[0].name    # doctest: +SKIP
        'Yuri'
    """
    ruler = Ruler.of(record)
    where: defaultdict[str, list[int]] = defaultdict(list)
    pairs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for frame in record.frames:
        names = sorted({face.name for face in frame.faces if face.name is not None})
        for name in names:
            where[name].append(frame.index)
        for pair in combinations(names, 2):
            pairs[pair].append(frame.index)

    spans: defaultdict[str, list[tuple[Fraction, Fraction]]] = defaultdict(list)
    for take in takes(record.frames):
        spans[take.name].append((ruler.start(take.first), ruler.end(take.last)))
    people = []
    for person in presence([frame.pts for frame in record.frames], record.header.time_base, where):
        at, runs = where[person.name], spans[person.name]
        people.append(
            ScreenTime(
                name=person.name,
                seconds=_length(ruler, at),
                frames=len(at),
                share=round(len(at) / len(record.frames), 4),
                first=_seconds(ruler.start(at[0])),
                last=_seconds(ruler.end(at[-1])),
                appearances=person.appearances,
                takes=len(runs),
                longest=_span(max(runs, key=lambda run: run[1] - run[0])),
            )
        )
    together = [Together(pair, _length(ruler, at), len(at)) for pair, at in pairs.items()]
    verdicts = Counter(verdict.verdict == "named" for verdict in record.tracks)
    return Overview(
        frames=len(record.frames),
        seconds=_length(ruler, range(len(record.frames))),
        shots=len(shots(record.frames)),
        people=tuple(people),
        together=tuple(sorted(together, key=lambda pair: (-pair.seconds, pair.names))),
        unknown_tracks=verdicts[False],
    )


def _length(ruler: Ruler, frames: Iterable[int]) -> float:
    return _seconds(sum((ruler.end(i) - ruler.start(i) for i in frames), Fraction(0)))


def _span(span: tuple[Fraction, Fraction]) -> Span:
    return _seconds(span[0]), _seconds(span[1])


def _seconds(value: Fraction) -> float:
    return round(float(value), 3)
