"""A record as a timeline: a lane a person, the shots underneath. Pure: what is drawn, in seconds; not how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

from engine.wording import count
from stream.glyphs import clean
from stream.styles import Colour, colour_of
from stream.summary import Overview, ScreenTime, overview
from stream.takes import Ruler, cast
from stream.tracks import Tracks
from stream.whereabouts import Indices, Whereabouts, union
from stream.wording import clock, length, share

STRANGER: Colour = (0.62, 0.62, 0.65)
SHOTS: tuple[Colour, Colour] = ((0.55, 0.57, 0.62), (0.72, 0.74, 0.78))
"""In turns."""
CLOSE = 0.0025
"""Of the width; two pixels or so."""
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds that two marks of the axis may stand apart."""
_MARKS = 12
"""Of them there are at most so many."""


@dataclass(frozen=True, slots=True)
class Span:
    """One bar."""

    start: float
    """Seconds."""
    end: float
    title: str
    """Who or what it is, with its times."""
    colour: Colour


@dataclass(frozen=True, slots=True)
class Lane:
    """Somebody's bars, in order."""

    name: str
    numbers: str
    """Time on screen and its share; nothing where nobody asks for it."""
    known: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn, from top to bottom."""

    title: str
    subtitle: str
    start: float
    """Seconds at which the first frame is shown."""
    end: float
    """Seconds at which the last frame ends, later than `start`."""
    lanes: tuple[Lane, ...]
    """People with a name first, longest on screen first, then the others by number; empty where nobody was found."""
    shots: Lane
    marks: tuple[float, ...]
    """Seconds that the axis names."""

    def share(self, seconds: float) -> float:
        """Where a time stands, 0…1 from left to right."""
        return (seconds - self.start) / (self.end - self.start)

    def alone(self, lane: Lane) -> list[bool]:
        """For every bar of a lane whether it may be widened to be seen. Where the next one begins soon after, it would
        hide the gap between them, and who is seen now and then would seem to be there all the time."""
        starts = [self.share(span.start) for span in lane.spans]
        return [after - start >= CLOSE for start, after in pairwise([*starts, 2.0])]


def timeline(record: Tracks, summary: Overview | None = None, where: Whereabouts | None = None) -> Timeline:
    """Lay out a record whose faces bear the final verdicts; `summary` is its overview and `where` who is where in it,
    where they are at hand.

    Of the people without a name the ones seen longest have a lane each, the others share one.
    """
    where = where or Whereabouts.of(record)
    summary, people, ground = summary or overview(record, where), cast(record, where.known), where.ground
    ruler = ground.ruler
    start = float(ruler.start(0)) if record.frames else 0.0
    end = float(ruler.end(len(record.frames) - 1)) if record.frames else 0.0
    end = end if end > start else start + 1.0

    def spans(at: Indices, name: str, colour: Colour) -> tuple[Span, ...]:
        return tuple(_span(ruler, first, last, name, colour) for first, last in ground.takes(at))

    one_by_one, rest = summary.shown()
    lanes = [
        _lane(person, True, spans(where.known[person.name], person.name, colour_of(person.name, people)))
        for person in summary.people
    ]
    lanes += [_lane(person, False, spans(where.unknown[person.name], person.name, STRANGER)) for person in one_by_one]
    if rest:
        others = union(where.unknown[person.name] for person in rest)
        lanes.append(Lane(f"{len(rest)} more unknown", "", False, spans(others, "somebody unknown", STRANGER)))
    cuts = tuple(
        _span(ruler, shot.first, shot.last, f"shot {i + 1}", SHOTS[i % 2]) for i, shot in enumerate(ground.shots)
    )
    return Timeline(
        title=clean(Path(record.header.path).name),
        subtitle=_subtitle(summary),
        start=start,
        end=end,
        lanes=tuple(lanes),
        shots=Lane("shots", "", False, cuts),
        marks=tuple(_marks(start, end)),
    )


def _lane(person: ScreenTime, known: bool, spans: tuple[Span, ...]) -> Lane:
    return Lane(clean(person.name), f"{length(person.seconds)} · {share(person.share)}", known, spans)


def _span(ruler: Ruler, first: int, last: int, words: str, colour: Colour) -> Span:
    start, end = float(ruler.start(first)), float(ruler.end(last))
    return Span(start, end, f"{clean(words)}: {clock(start)} to {clock(end)} ({length(end - start)})", colour)


def _subtitle(summary: Overview) -> str:
    counts = (summary.frames, "frame"), (summary.shots, "shot"), (summary.unknown_tracks, "unknown track")
    return f"{clock(summary.seconds)}: " + ", ".join(count(n, word) for n, word in counts)


def _marks(start: float, end: float) -> Iterator[float]:
    step = next((s for s in _STEPS if (end - start) / s <= _MARKS), _STEPS[-1])
    yield from (i * step for i in range(ceil(start / step), floor(end / step) + 1))
