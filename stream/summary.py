"""Who is how long on screen, when, and with whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from stream.presence import presence
from stream.takes import by_number
from stream.tracks import Tracks
from stream.whereabouts import Indices, Whereabouts

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


def overview(record: Tracks, where: Whereabouts | None = None) -> Overview:
    """Sum up a record whose faces bear the final verdicts; `where` is who is where in it, where that is at hand.

    Example:
        >>> overview(read("mv.tracks.jsonl")).people[0].name    # doctest: +SKIP
        'Yuri'
    """
    where = where or Whereabouts.of(record)
    ruler, total = where.ground.ruler, len(record.frames)
    return Overview(
        frames=total,
        seconds=_seconds(ruler.seconds(range(total))),
        shots=len(where.ground.shots),
        people=_screen_times(record, where, where.known),
        together=_together(where),
        strangers=_screen_times(record, where, where.unknown),
        unknown_tracks=sum(verdict.name is None for verdict in record.tracks),
    )


def _together(where: Whereabouts) -> tuple[Together, ...]:
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, at in where.known.items():
        masks[name] = np.zeros(where.ground.frames, np.bool_)
        masks[name][at] = True
    pairs = []
    for first, second in combinations(sorted(masks), 2):
        at = np.flatnonzero(masks[first] & masks[second])
        if len(at):
            pairs.append(Together((first, second), _seconds(where.ground.ruler.seconds(at)), len(at)))
    return tuple(sorted(pairs, key=lambda pair: (-pair.seconds, pair.names)))


def _screen_times(record: Tracks, where: Whereabouts, shown: Mapping[str, Indices]) -> tuple[ScreenTime, ...]:
    ground, people = where.ground, []
    positions = {name: at.tolist() for name, at in shown.items()}
    for person in presence(ground.ruler.pts, record.header.time_base, positions, ground.ruler.silences):
        at = shown[person.name]
        own = ground.takes(at)
        spans = [(ground.ruler.start(first), ground.ruler.end(last)) for first, last in own]
        people.append(
            ScreenTime(
                name=person.name,
                seconds=_seconds(ground.ruler.seconds(at)),
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


def _span(span: tuple[Fraction, Fraction]) -> Span:
    return _seconds(span[0]), _seconds(span[1])


def _seconds(value: Fraction) -> float:
    return round(float(value), 3)
