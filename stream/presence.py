"""Who was on screen, when, and for how long: the pure arithmetic behind a record's summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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


def frame_ends(pts: Sequence[int]) -> list[int | Fraction]:
    """When each frame ends, in ticks: a frame lasts until the next one begins; the last lasts as long as the frames on
    average, a single one no time.

    Example:
        >>> frame_ends([0, 10, 40])
        [10, 40, Fraction(60, 1)]
    """
    if not pts:
        return []
    mean = Fraction(pts[-1] - pts[0], len(pts) - 1) if len(pts) > 1 else Fraction(0)
    return [*pts[1:], pts[-1] + mean]


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
        people.append(_present(name, [(pts[first] * time_base, ends[last] * time_base) for first, last in runs]))
    return _longest_first(people)


@dataclass(slots=True)
class _Run:
    """Frames one after another on which a track is, and when the first begins and the last ends, ticks."""

    first: int
    last: int
    start: int
    end: int | Fraction


class PresenceLog:
    """`presence` of frames that come one by one, however long: what is kept grows with the appearances, not with the
    frames.

    Example:
        >>> log = PresenceLog()
        >>> for pts, tracks in [(0, [7]), (10, [7]), (20, []), (40, [7])]:
        ...     log.frame(pts, tracks)
        >>> log.presence(Fraction(1, 10), {7: "yuri"})[0].appearances
        ((0.0, 2.0), (4.0, 5.333))
    """

    def __init__(self) -> None:
        self.frames = 0
        """So many came."""
        self._start = self._latest = 0
        """Ticks of the first frame and of the latest."""
        self._runs: defaultdict[int, list[_Run]] = defaultdict(list)
        self._here: dict[int, _Run] = {}
        """The runs of the tracks that are on the latest frame."""

    def frame(self, pts: int, tracks: Collection[int]) -> None:
        """The next frame, and who is on it."""
        for run in self._here.values():
            run.end = pts
        here: dict[int, _Run] = {}
        for track in tracks:
            run = here.get(track) or self._here.get(track) or self._begun(track, pts)
            run.last = self.frames
            here[track] = run
        if not self.frames:
            self._start = pts
        self._here, self._latest = here, pts
        self.frames += 1

    def forget(self, track: int) -> None:
        """Nobody will ask about this track."""
        self._runs.pop(track, None)

    def presence(self, time_base: Fraction, names: Mapping[int, str]) -> tuple[Presence, ...]:
        """How long everyone is seen, longest first, then by name; `names` says who the tracks are."""
        mean = Fraction(self._latest - self._start, self.frames - 1) if self.frames > 1 else Fraction(0)
        for run in self._here.values():
            run.end = self._latest + mean
        runs: defaultdict[str, list[_Run]] = defaultdict(list)
        for track, name in names.items():
            runs[name] += self._runs.get(track, ())
        return _longest_first([_present(name, _spans(own, time_base)) for name, own in runs.items() if own])

    def _begun(self, track: int, pts: int) -> _Run:
        run = _Run(self.frames, self.frames, pts, pts)
        self._runs[track].append(run)
        return run


def _spans(runs: Sequence[_Run], time_base: Fraction) -> list[tuple[Fraction, Fraction]]:
    """From when to when, seconds, somebody is seen who is all of these tracks."""
    joined: list[tuple[int, int | Fraction, int]] = []
    for run in sorted(runs, key=lambda run: run.first):
        if joined and run.first - joined[-1][2] <= 1:
            start, end, last = joined[-1]
            joined[-1] = start, max(end, run.end), max(last, run.last)
        else:
            joined.append((run.start, run.end, run.last))
    return [(start * time_base, end * time_base) for start, end, _ in joined]


def _present(name: str, spans: Sequence[tuple[Fraction, Fraction]]) -> Presence:
    seconds = round(float(sum((end - start for start, end in spans), Fraction(0))), 3)
    return Presence(name, seconds, tuple((round(float(s), 3), round(float(e), 3)) for s, e in spans))


def _longest_first(people: Sequence[Presence]) -> tuple[Presence, ...]:
    return tuple(sorted(people, key=lambda p: (-p.seconds, p.name)))
