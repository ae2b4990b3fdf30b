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


def silences(pts: Sequence[int], shots: Sequence[int], longest: Fraction | None) -> tuple[int, ...]:
    """The frames before which a live source was silent: another shot ended more than `longest` ticks earlier. Nobody
    knows who was there meanwhile.

    Example:
        >>> silences([0, 10, 500, 990], [0, 0, 0, 1], Fraction(100)), silences([0, 500], [0, 1], None)
        ((3,), ())
    """
    if longest is None:
        return ()
    return tuple(i for i in range(1, len(pts)) if shots[i] != shots[i - 1] and pts[i] - pts[i - 1] > longest)


def frame_ends(pts: Sequence[int], silences: Sequence[int] = ()) -> list[int | Fraction]:
    """When each frame ends, in ticks: a frame lasts until the next one begins; the last, and those before `silences`,
    last as long as the others on average, a single one no time.

    Example:
        >>> frame_ends([0, 10, 40])
        [10, 40, Fraction(60, 1)]
        >>> frame_ends([0, 10, 900], silences=[2])
        [10, Fraction(20, 1), Fraction(910, 1)]
    """
    if not pts:
        return []
    silent = sum(pts[i] - pts[i - 1] for i in silences)
    mean = _mean(pts[-1] - pts[0] - silent, len(pts) - 1 - len(silences))
    ends: list[int | Fraction] = [*pts[1:], pts[-1] + mean]
    for i in silences:
        ends[i - 1] = min(Fraction(pts[i]), pts[i - 1] + mean)
    return ends


def _mean(ticks: int, steps: int) -> Fraction:
    return Fraction(ticks, steps) if steps else Fraction(0)


def presence(
    pts: Sequence[int], time_base: Fraction, shown: Mapping[str, Sequence[int]], silences: Sequence[int] = ()
) -> tuple[Presence, ...]:
    """How long everyone is seen, longest first, then by name.

    Frames last as `frame_ends` says.

    Args:
        pts: ticks of every frame of the video, in presentation order.
        time_base: seconds a tick.
        shown: for every name, the positions in `pts` (increasing; repeats count once) at which it is seen.
        silences: the positions before which there was nothing to be seen.

    Example:
        >>> presence([0, 10, 20, 40], Fraction(1, 10), {"yuri": [0, 1, 3]})[0]
        Presence(name='yuri', seconds=3.333, appearances=((0.0, 2.0), (4.0, 5.333)))
    """
    ends = frame_ends(pts, silences)
    people = []
    for name, positions in shown.items():
        runs: list[list[int]] = []
        for position in positions:
            if runs and position - runs[-1][1] <= 1 and pts[position] <= ends[runs[-1][1]]:
                runs[-1][1] = position
            else:
                runs.append([position, position])
        people.append(_present(name, [(pts[first] * time_base, ends[last] * time_base) for first, last in runs]))
    return _longest_first(people)


@dataclass(slots=True)
class _Run:
    """Frames one after another on which a track is, and when the first and the last begin, ticks."""

    first: int
    last: int
    start: int
    until: int
    after: int | None = None
    """When the frame after the last begins; None where none has come."""
    silent: bool = False
    """Whether there was nothing to be seen before that."""

    def end(self, mean: Fraction) -> int | Fraction:
        """When the last one ends, if frames last `mean` on average."""
        if self.after is None:
            return self.until + mean
        return min(Fraction(self.after), self.until + mean) if self.silent else self.after


class PresenceLog:
    """`presence` of frames that come one by one, however long: what is kept grows with the appearances, not with the
    frames.

    Args:
        longest: see `silences`.

    Example:
        >>> log = PresenceLog()
        >>> for pts, tracks in [(0, [7]), (10, [7]), (20, []), (40, [7])]:
        ...     log.frame(pts, tracks)
        >>> log.presence(Fraction(1, 10), {7: "yuri"})[0].appearances
        ((0.0, 2.0), (4.0, 5.333))
    """

    def __init__(self, longest: Fraction | None = None) -> None:
        self.frames = 0
        """So many came."""
        self._longest = longest
        self._latest = self._shot = 0
        """Ticks and shot of the latest frame."""
        self._ticks = self._steps = 0
        """From frame to frame, without silences."""
        self._runs: defaultdict[int, list[_Run]] = defaultdict(list)
        self._here: dict[int, _Run] = {}
        """The runs of the tracks that are on the latest frame."""

    def frame(self, pts: int, tracks: Collection[int], shot: int = 0) -> None:
        """The next frame, and who is on it."""
        step = pts - self._latest if self.frames else 0
        silent = self._longest is not None and shot != self._shot and step > self._longest
        if self.frames and not silent:
            self._ticks += step
            self._steps += 1
        for run in self._here.values():
            run.after, run.silent = pts, silent
        here: dict[int, _Run] = {}
        for track in tracks:
            run = here.get(track) or (None if silent else self._here.get(track)) or self._begun(track, pts)
            run.last, run.until, run.after = self.frames, pts, None
            here[track] = run
        self._here, self._latest, self._shot = here, pts, shot
        self.frames += 1

    def forget(self, track: int) -> None:
        """Nobody will ask about this track."""
        self._runs.pop(track, None)

    def presence(self, time_base: Fraction, names: Mapping[int, str]) -> tuple[Presence, ...]:
        """How long everyone is seen, longest first, then by name; `names` says who the tracks are."""
        mean = _mean(self._ticks, self._steps)
        runs: defaultdict[str, list[_Run]] = defaultdict(list)
        for track, name in names.items():
            runs[name] += self._runs.get(track, ())
        return _longest_first([_present(name, _spans(own, mean, time_base)) for name, own in runs.items() if own])

    def _begun(self, track: int, pts: int) -> _Run:
        run = _Run(self.frames, self.frames, pts, pts)
        self._runs[track].append(run)
        return run


def _spans(runs: Sequence[_Run], mean: Fraction, time_base: Fraction) -> list[tuple[Fraction, Fraction]]:
    """From when to when, seconds, somebody is seen who is all of these tracks."""
    joined: list[tuple[int, int | Fraction, int]] = []
    for run in sorted(runs, key=lambda run: run.first):
        ends = run.end(mean)
        if joined and run.first - joined[-1][2] <= 1 and run.start <= joined[-1][1]:
            start, end, last = joined[-1]
            joined[-1] = start, max(end, ends), max(last, run.last)
        else:
            joined.append((run.start, ends, run.last))
    return [(start * time_base, end * time_base) for start, end, _ in joined]


def _present(name: str, spans: Sequence[tuple[Fraction, Fraction]]) -> Presence:
    seconds = round(float(sum((end - start for start, end in spans), Fraction(0))), 3)
    return Presence(name, seconds, tuple((round(float(s), 3), round(float(e), 3)) for s, e in spans))


def _longest_first(people: Sequence[Presence]) -> tuple[Presence, ...]:
    return tuple(sorted(people, key=lambda p: (-p.seconds, p.name)))
