"""On which frames of a record everybody is. What no correction of a name changes is found once: the frames of every
track, their times, the shots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.frames import TrackVerdict
from stream.takes import Ruler, Shot, named, shots, unnamed, unnamed_as
from stream.tracks import Tracks

Indices = NDArray[np.intp]
"""Of frames, rising, each once."""


class Ground:
    """What stays as it is, however the tracks of a record are called.

    Example:
        >>> ground = Ground(read("mv.tracks.jsonl"))                        # doctest: +SKIP
        >>> ground.frames_of([12])                                          # doctest: +SKIP
        array([300, 301, 302])
    """

    def __init__(self, record: Tracks) -> None:
        self.ruler = Ruler.of(record)
        self.shots: tuple[Shot, ...] = tuple(shots(record.frames))
        self.frames = len(record.frames)
        self._begins = np.array([shot.first for shot in self.shots], np.intp)
        seen: defaultdict[int, list[int]] = defaultdict(list)
        for frame in record.frames:
            for track in {face.track for face in frame.faces}:
                seen[track].append(frame.index)
        self._seen = {track: np.array(at, np.intp) for track, at in seen.items()}

    def __contains__(self, track: int) -> bool:
        """Whether a track is on any frame."""
        return track in self._seen

    def frames_of(self, tracks: Iterable[int]) -> Indices:
        """The frames that any of these tracks is on."""
        return union(self._seen[track] for track in tracks if track in self._seen)

    def takes(self, at: Indices) -> list[tuple[int, int]]:
        """First and last of every unbroken run of these frames inside a shot."""
        shot = np.searchsorted(self._begins, at, "right")
        breaks = np.flatnonzero((np.diff(at) > 1) | (np.diff(shot) > 0)) + 1
        return [(int(run[0]), int(run[-1])) for run in np.split(at, breaks) if len(run)]

    def called(self, verdicts: Sequence[TrackVerdict]) -> Whereabouts:
        """Where everybody is whom the tracks are by these verdicts."""
        known: defaultdict[str, list[int]] = defaultdict(list)
        unknown: defaultdict[str, list[int]] = defaultdict(list)
        for verdict in verdicts:
            if verdict.track not in self:
                continue
            if verdict.name is not None:
                known[verdict.name].append(verdict.track)
            else:
                unknown[unnamed_as(verdict.track, verdict.stranger)].append(verdict.track)
        return Whereabouts(
            self,
            {name: self.frames_of(tracks) for name, tracks in known.items()},
            {name: self.frames_of(tracks) for name, tracks in unknown.items()},
        )


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Who is where."""

    ground: Ground
    known: Mapping[str, Indices]
    """Of everybody with a name, the frames."""
    unknown: Mapping[str, Indices]
    """Of everybody without one, called as `takes.unnamed` calls them."""

    @classmethod
    def of(cls, record: Tracks) -> Whereabouts:
        """By the names that the faces bear."""
        who = unnamed(record)
        known: defaultdict[str, list[int]] = defaultdict(list)
        unknown: defaultdict[str, list[int]] = defaultdict(list)
        for frame in record.frames:
            for naming, found in ((named, known), (who, unknown)):
                for name in {name for face in frame.faces if (name := naming(face)) is not None}:
                    found[name].append(frame.index)
        return cls(Ground(record), _arrays(known), _arrays(unknown))


def union(each: Iterable[Indices]) -> Indices:
    """All frames that are among any of these."""
    several = list(each)
    return np.unique(np.concatenate(several)) if several else np.empty(0, np.intp)


def _arrays(found: Mapping[str, list[int]]) -> dict[str, Indices]:
    return {name: np.array(at, np.intp) for name, at in found.items()}
