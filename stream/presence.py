"""Who was on screen, when, and for how long: the pure arithmetic behind a record's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Presence:
    """One person's time on screen."""

    name: str
    seconds: float
    """Total, each frame counted once however many faces bear the name."""
    appearances: tuple[tuple[float, float], ...]
    """Start and end in seconds of every unbroken run of frames; the end is where the last frame ends."""


def frame_ends(pts: Sequence[int]) -> list[Fraction]:
    """When each frame ends, in ticks: a frame lasts until the next one begins; the last lasts as long as the frames on
    average, a single one no time.

    Example:
        >>> frame_ends([0, 10, 40])
        [Fraction(10, 1), Fraction(40, 1), Fraction(60, 1)]
    """
    if not pts:
        return []
    mean = Fraction(pts[-1] - pts[0], len(pts) - 1) if len(pts) > 1 else Fraction(0)
    return [*(Fraction(p) for p in pts[1:]), pts[-1] + mean]


def presence(pts: Sequence[int], time_base: Fraction, shown: Mapping[str, Sequence[int]]) -> tuple[Presence, ...]:
    """How long everyone is seen, longest first, then by name.

    Frames last as `frame_ends` says.

    Args:
        pts: ticks of every frame of the video, in presentation order.
        time_base: seconds a tick.
        shown: for every name, the positions in `pts` (increasing; repeats count once) at which it is seen.

    Example:
        >>> presence([0, 10, 20, 40], Fraction(1, 10), {"yuri": [0, 1, 3]})[0]
        Presence(name='yuri', seconds=3.333, appearances=((0.0, 2.0), (4.0, 5.333)))
    """
    ends = frame_ends(pts)
    people = []
    for name, positions in shown.items():
        runs: list[list[int]] = []
        for position in positions:
            if runs and position - runs[-1][1] <= 1:
                runs[-1][1] = position
            else:
                runs.append([position, position])
        spans = [(pts[first] * time_base, ends[last] * time_base) for first, last in runs]
        seconds = round(float(sum((end - start for start, end in spans), Fraction(0))), 3)
        people.append(Presence(name, seconds, tuple((round(float(s), 3), round(float(e), 3)) for s, e in spans)))
    return tuple(sorted(people, key=lambda p: (-p.seconds, p.name)))
