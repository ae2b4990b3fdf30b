"""Where each track was found, and on which of the frames that are still held it is.

Pure logic: no threads, no pictures, no networks. A track is found on frames that were looked at; on those in between it
is put where it must have been. What becomes known later changes the frames that are held: a track began before it was
found with confidence, goes on an earlier one, or turns out to have been two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from stream.cadence import EVEN
from stream.frames import Face, Frame, LabelledFrame, sightings
from stream.identity import Identity
from stream.tracker import apart

MISSED = 0.35
"""Seconds a face may be missed by looks and still be put in between, where it must have been."""
FASTEST = 10.0
"""Face sizes a second that a face may go unseen and still be the same one; a change of size counts as its logarithm."""


@dataclass(slots=True)
class Lifespan:
    """From when to when a track is there, which is kept until the end."""

    shot: int
    first: int
    """pts of the first frame it is on."""
    last: int
    frames: int = 0
    """It is on so many."""
    released: int = 0
    """pts of the latest frame it is on that is not held any more."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    """Where a face was found. Not the frame itself: its picture would stay in memory."""

    face: Face
    index: int
    """Of the frame."""
    time: float
    """Seconds."""

    @classmethod
    def of(cls, frame: Frame, face: Face) -> _Sighting:
        return cls(face, frame.index, frame.time)


@dataclass(slots=True)
class _Trajectory:
    """Both ends of where a track was found, which matter until its shot ends."""

    after: float
    """Seconds of the look before it was found first."""
    first: _Sighting
    latest: _Sighting


class Trajectories:
    """The trajectories of the tracks of one video, and the frames that are held.

    The latest of these is the one that tracks are found on, parted and joined at.

    Args:
        identity: is told who stands beside whom, and asked whose name a track bears.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._held: deque[LabelledFrame] = deque()
        self._lifespans: dict[int, Lifespan] = {}
        self._here: dict[int, _Trajectory] = {}
        """Those of the current shot, in order of appearance."""
        self._passed_over: list[_Sighting] = []
        """What the latest look of this shot found that is in no track."""
        self._looked_at = 0.0
        """Seconds of the latest look."""

    @property
    def held(self) -> Sequence[LabelledFrame]:
        """The frames that are held, in order, with everyone who is known to be there."""
        return self._held

    @property
    def lifespans(self) -> Mapping[int, Lifespan]:
        """Of every track."""
        return self._lifespans

    def cut(self) -> None:
        """A new shot starts: nobody is carried over."""
        self._here.clear()
        self._passed_over.clear()

    def hold(self, labelled: LabelledFrame) -> None:
        """The next frame, on which nobody is yet."""
        self._held.append(labelled)

    def release(self) -> LabelledFrame:
        """The oldest frame that is held, which nothing changes any more."""
        labelled = self._held.popleft()
        for face in labelled.faces:
            self._lifespans[face.track].released = labelled.frame.pts
        return labelled

    def find(self, faces: Sequence[Face], passed_over: Sequence[Face]) -> None:
        """The latest frame was looked at: the `faces` of tracks are there, and weak detections that are in none."""
        labelled = self._held[-1]
        frame = labelled.frame
        labelled.faces.extend(faces)
        self._see(labelled)
        for face in faces:
            now, trajectory = _Sighting.of(frame, face), self._here.get(face.track)
            if trajectory is None:
                self._lifespans[face.track] = Lifespan(frame.shot, frame.pts, frame.pts)
                self._here[face.track] = _Trajectory(self._looked_at, self._gone_back(now), now)
            else:
                if self._looked_at <= trajectory.latest.time or now.time - trajectory.latest.time <= MISSED:
                    self._interpolate(face.track, trajectory.latest, now)
                trajectory.latest = now
            self._lifespans[face.track].last = frame.pts
            self._lifespans[face.track].frames += 1
        self._passed_over = [_Sighting.of(frame, face) for face in passed_over]
        self._looked_at = frame.time

    def sightings(self, track: int, since: float) -> list[tuple[Frame, Face]]:
        """Where a track is on the held frames from `since` seconds on."""
        return sightings(track, self._since(since))

    def predecessors(self, track: int, living: Collection[int]) -> list[int]:
        """The tracks of this shot that this one may go on, in order of appearance: those that are not `living`, ended
        before it began, and from where a face may have got to it meanwhile. None where a frame that it is on is not
        held any more."""
        lifespan = self._lifespans[track]
        if lifespan.first < self._held[0].frame.pts:
            return []
        first = self._here[track].first
        return [
            other
            for other, trajectory in self._here.items()
            if other not in living
            and self._lifespans[other].last < lifespan.first
            and _within_reach(trajectory.latest, first)
        ]

    def join(self, track: int, into: int) -> None:
        """A track goes on one of its `predecessors`: it ceases to exist, as it has for `identity`."""
        gone, kept = self._lifespans.pop(track), self._lifespans[into]
        kept.last, kept.frames = gone.last, kept.frames + gone.frames
        for held in self._held:
            _rename(held, track, into)
        later, trajectory = self._here.pop(track), self._here[into]
        if trajectory.latest.time >= later.after:
            # Nobody looked in between, since it was known who stands there.
            self._interpolate(into, trajectory.latest, later.first)
        trajectory.latest = later.latest

    def part(self, track: int, into: int, since: float, after: float) -> None:
        """The face that was followed as one track is that of another.

        Args:
            track: goes on no more.
            into: the other, which is new.
            since: seconds of the held frame that it begins on.
            after: seconds of the latest look that may have been at the first.
        """
        for held in self._since(since):
            if _rename(held, track, into):
                self._see(held)
        kept, moved = self.sightings(track, after), self.sightings(into, since)
        (first, _), (last, _) = moved[0], moved[-1]
        lifespan = self._lifespans[track]
        self._lifespans[into] = Lifespan(first.shot, first.pts, last.pts, len(moved))
        lifespan.last = kept[-1][0].pts if kept else lifespan.released
        lifespan.frames -= len(moved)
        self._here[into] = _Trajectory(after, _Sighting.of(*moved[0]), _Sighting.of(*moved[-1]))
        if kept:
            self._here[track].latest = _Sighting.of(*kept[-1])
        else:
            del self._here[track]  # where it was seen last is not held any more, so nobody goes it on

    def forget(self, track: int) -> None:
        """Nothing will be asked about this track again."""
        del self._lifespans[track]
        self._here.pop(track, None)

    def _since(self, since: float) -> list[LabelledFrame]:
        """The held frames from `since` seconds on."""
        return [held for held in self._held if held.frame.time >= since]

    def _gone_back(self, now: _Sighting) -> _Sighting:
        """Where a track really begins that is found with confidence only `now`: if the face stood there at the latest
        look already, though weakly, then also in between, where nobody looked."""
        near = [
            (float(np.sum(apart(before.face.box[None], now.face.box[None]))), number)
            for number, before in enumerate(self._passed_over)
        ]
        unlike, number = min(near, default=(np.inf, 0))
        oldest = self._held[0].frame.index
        if unlike > EVEN or not oldest <= self._passed_over[number].index < now.index - 1:
            return now
        before, track = self._passed_over.pop(number), now.face.track
        self._put(self._held[before.index - oldest], replace(before.face, track=track))
        self._interpolate(track, before, now)
        return before

    def _interpolate(self, track: int, before: _Sighting, after: _Sighting) -> None:
        """Put a track on the frames between two sightings, moving evenly, if all of them are still held; not where the
        same person was found elsewhere meanwhile."""
        gap = after.time - before.time
        name = self._identity.naming(track).name
        for held in self._between(before.index, after.index):
            if name is not None and any(self._identity.naming(other.track).name == name for other in held.faces):
                continue
            share = np.float32((held.frame.time - before.time) / gap)
            box = before.face.box + share * (after.face.box - before.face.box)
            landmarks = before.face.landmarks + share * (after.face.landmarks - before.face.landmarks)
            self._put(held, Face(track, box, 0.0, landmarks))

    def _between(self, before: int, after: int) -> list[LabelledFrame]:
        """The frames between those two indices, if all of them are still held."""
        oldest = self._held[0].frame.index
        return list(islice(self._held, before + 1 - oldest, after - oldest)) if oldest <= before + 1 else []

    def _put(self, held: LabelledFrame, face: Face) -> None:
        """One more face on a held frame."""
        held.faces.append(face)
        self._see(held)
        lifespan = self._lifespans[face.track]
        lifespan.first = min(lifespan.first, held.frame.pts)
        lifespan.frames += 1

    def _see(self, held: LabelledFrame) -> None:
        """Tell who stand on this frame together."""
        self._identity.see(held.frame.shot, [face.track for face in held.faces], held.frame.time)


def _rename(held: LabelledFrame, track: int, into: int) -> bool:
    """A track on this frame is another one; whether it is there."""
    for number, face in enumerate(held.faces):
        if face.track == track:
            held.faces[number] = replace(face, track=into)
            return True
    return False


def _within_reach(before: _Sighting, after: _Sighting) -> bool:
    """Whether a face may have got from the one to the other meanwhile."""
    distance, growth = apart(before.face.box[None], after.face.box[None])
    return bool(distance + growth <= 1 + FASTEST * (after.time - before.time))
