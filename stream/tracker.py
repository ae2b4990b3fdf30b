"""Which detection is which face of the frame before, inside one shot.

Pure logic: no threads, no video, no networks. Two rounds of optimal assignment as in ByteTrack (Zhang et al.,
arXiv 2110.06864): confident detections first, then the weak ones to the tracks that are still without a face;
a weak detection never starts a track. The cost is built for faces: at 30 frames a second a face moves a
fraction of its own width, so the distance between centres in face widths says more than the IoU of small boxes.

Where motion leaves a doubt - two faces cross, or one comes back from behind a hand - the looks of the faces
decide: people who dance alike are told apart by their faces, not by where they stand (DanceTrack, Sun et al.,
arXiv 2111.14690). Looking costs an inference, so it is asked for in doubt only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.types import Detections

_FAR = 1e6

FAINT = 20
"""So many weak detections in a row carry on a track that is not proven."""

Looks = Callable[[Sequence[int]], NDArray[np.float32]]
"""Rows of the detections → their unit embeddings `[k,D]`; a row of NaN for a face not worth a look."""


@dataclass(slots=True)
class Track:
    """One face followed through one shot."""

    id: int
    shot: int
    box: NDArray[np.float32]
    """`[4]` x1, y1, x2, y2 at `time`."""
    time: float
    """Seconds of the latest frame the face was found on."""
    sure: float
    """Seconds of the latest frame it was found on with confidence."""
    finds: int = 1
    """On so many frames it was found with confidence."""
    faint: int = 0
    """On so many since then only weakly."""
    velocity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, np.float32))
    """`[2]` pixels a second of the box's centre."""
    look: NDArray[np.float32] | None = None
    """`[D]` unit embedding: a running mean of what the face looked like, None before the first look."""

    def predicted(self, time: float) -> NDArray[np.float32]:
        """`[4]` where the box should be at `time`, if it goes on as it went."""
        shift = self.velocity * np.float32(time - self.time)
        return self.box + np.concatenate([shift, shift]).astype(np.float32)


class Tracker:
    """Gives each detection the id of its track. Ids count up from 0 and are per tracker, never global.

    Args:
        confident: score from which a detection may start a track.
        reach: how far a centre may be from where it was expected, in face sizes, a frame gap apart.
        weak: what a weak detection may cost at the most (see `assignment_cost`). It may be somebody turned away who
            steps in front of a face, so it only confirms that one is where it is expected, and brings back none that
            was away.
        faint: so many weak detections in a row carry on a track that has fewer than `proven` confident ones: the more
            often something is looked at, the sooner it is once taken for a face.
        proven: confident detections from which a track is surely of a face.
        patience: seconds a face may stay unseen (turned away, behind a hand) and still be the same track.
        doubt: two assignments whose costs differ by less than this are settled by looks.
        away: seconds unseen after which a face that is back has to look like itself, if it was missed meanwhile. A face
            found only weakly is not surely seen: somebody may have stepped in front of it.
        unlike: likeness under which a face that was away is taken for somebody else.
        strangers: cosine that is a likeness of 0, see `Embedder.strangers`; a cosine of 1 is a likeness of 1.

    Example:
        >>> import numpy as np
        >>> face = Detections(np.array([[10, 10, 30, 30]], np.float32), np.ones(1, np.float32),
        ...                   np.zeros((1, 5, 2), np.float32))
        >>> tracker = Tracker()
        >>> tracker.update(face, 0.00), tracker.update(face, 0.04)
        ([0], [0])
        >>> tracker.cut()
        >>> tracker.update(face, 0.08)
        [1]
    """

    def __init__(
        self,
        confident: float = 0.5,
        reach: float = 0.9,
        weak: float = 0.45,
        faint: float = FAINT,
        proven: int = 3,
        patience: float = 0.7,
        doubt: float = 0.3,
        away: float = 0.3,
        unlike: float = 0.15,
        strangers: float = 0.0,
    ) -> None:
        self._confident = confident
        self._reach = reach
        self._weak = weak
        self._faint = faint
        self._proven = proven
        self._patience = patience
        self._doubt = doubt
        self._away = away
        self._unlike = unlike
        self._strangers = strangers
        self._next_id = 0
        self._shot = 0
        self._alive: list[Track] = []
        self._updated = 0.0
        """Seconds of the latest update."""

    @property
    def shot(self) -> int:
        """The number of cuts so far."""
        return self._shot

    @property
    def alive(self) -> list[Track]:
        """The tracks that may still go on."""
        return list(self._alive)

    def cut(self) -> None:
        """A new shot starts: nobody is carried over."""
        self._alive.clear()
        self._shot += 1

    def remember(self, track_id: int, look: NDArray[np.float32]) -> None:
        """Keep what the face of a living track looked like: a unit `[D]` embedding."""
        for track in self._alive:
            if track.id == track_id:
                track.look = _blend(track.look, look)

    def part(self, track_id: int) -> int:
        """The face of a living track has turned out to be another one: it is followed under another id from now on,
        which is returned."""
        track = self._living(track_id)
        track.id, track.look = self._next_id, None
        self._next_id += 1
        return track.id

    def join(self, track_id: int, into: int) -> None:
        """The face of a living track has turned out to be that of one that has ended: it is followed under that one's
        id from now on."""
        self._living(track_id).id = into

    def update(self, detections: Detections, time: float, looks: Looks | None = None) -> list[int]:
        """The track id of each detection at `time` seconds; -1 for a weak one that belongs to no track.

        `looks` embeds detections on request; without it motion alone decides.
        """
        self._alive = [track for track in self._alive if time - track.time <= self._patience]
        ids = np.full(len(detections), -1, np.intp)
        confident = detections.scores >= self._confident
        free = list(self._alive)
        seen: dict[int, NDArray[np.float32]] = {}
        for sure in (True, False):
            rows = np.flatnonzero(confident == sure)
            latest = np.array([track.sure if sure else track.time for track in free])
            away = (latest < self._updated) & (time - latest > self._away)
            most = np.inf if sure else self._weak
            tracks = (
                free
                if sure
                else [track for track, gone in zip(free, away, strict=True) if not gone and self._outlasts(track)]
            )
            away = away if sure else np.zeros(len(tracks), np.bool_)
            for track, row in self._assign(tracks, detections.boxes, rows, time, most, away, looks, seen):
                self._follow(track, detections.boxes[row], time)
                if sure:
                    track.sure, track.finds, track.faint = time, track.finds + 1, 0
                else:
                    track.faint += 1
                if row in seen:
                    track.look = _blend(track.look, seen[row])
                ids[row] = track.id
                free.remove(track)
        for new in np.flatnonzero(confident & (ids < 0)):
            track = Track(self._next_id, self._shot, detections.boxes[new].copy(), time, time, look=seen.get(int(new)))
            self._next_id += 1
            self._alive.append(track)
            ids[new] = track.id
        self._updated = time
        return [int(i) for i in ids]

    def _living(self, track_id: int) -> Track:
        (track,) = (track for track in self._alive if track.id == track_id)
        return track

    def _outlasts(self, track: Track) -> bool:
        """Whether one more weak detection may carry the track on."""
        return track.finds >= self._proven or track.faint < self._faint

    def _assign(
        self,
        tracks: list[Track],
        boxes: NDArray[np.float32],
        rows: NDArray[np.intp],
        time: float,
        most: float,
        away: NDArray[np.bool_],
        looks: Looks | None,
        seen: dict[int, NDArray[np.float32]],
    ) -> list[tuple[Track, int]]:
        if not tracks or not len(rows):
            return []
        # Where it should be by now, or where it was: a head that sways has turned back meanwhile.
        cost = np.minimum(
            assignment_cost(np.stack([track.predicted(time) for track in tracks]), boxes[rows], self._reach),
            assignment_cost(np.stack([track.box for track in tracks]), boxes[rows], self._reach),
        )
        cost[cost > most] = _FAR
        if looks is not None:
            self._settle(cost, tracks, rows, away, looks, seen)
        return [(tracks[i], int(rows[j])) for i, j in assignment(cost)]

    def _settle(
        self,
        cost: NDArray[np.float64],
        tracks: list[Track],
        rows: NDArray[np.intp],
        away: NDArray[np.bool_],
        looks: Looks,
        seen: dict[int, NDArray[np.float32]],
    ) -> None:
        """Add, in place, how unlike the faces are where motion leaves a doubt; rule out who came back as another."""
        remembered = np.array([track.look is not None for track in tracks])
        asked = doubtful(cost, self._doubt) | ((cost < _FAR) & away[:, None])
        asked &= (asked & remembered[:, None]).any(axis=0)  # without a memory there is nothing to compare with
        columns = np.flatnonzero(asked.any(axis=0))
        fresh = [int(rows[j]) for j in columns if int(rows[j]) not in seen]
        if fresh:
            seen.update({row: look for row, look in zip(fresh, looks(fresh), strict=True) if np.isfinite(look).all()})
        for i, j in zip(*np.nonzero(asked), strict=True):
            memory, look = tracks[i].look, seen.get(int(rows[j]))
            if memory is None or look is None:
                cost[i, j] += _UNSEEN
                continue
            likeness = (float(memory @ look) - self._strangers) / (1 - self._strangers)
            cost[i, j] = _FAR if away[i] and likeness < self._unlike else cost[i, j] + _WEIGHT * (1.0 - likeness)

    @staticmethod
    def _follow(track: Track, box: NDArray[np.float32], time: float) -> None:
        gap = time - track.time
        if gap > 0:
            moved = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / np.float32(2 * gap)
            track.velocity = (0.6 * track.velocity + 0.4 * moved).astype(np.float32)
        track.box = box.copy()
        track.time = time


_WEIGHT = 1.5
"""What a cosine distance of 1 costs, against motion's costs of about 0 to 1.5."""
_UNSEEN = 0.75
"""The cost of looks where one of the two was never seen: midway between the same face and a stranger."""


def _blend(old: NDArray[np.float32] | None, new: NDArray[np.float32]) -> NDArray[np.float32]:
    """The running mean of unit embeddings, unit again."""
    if old is None:
        return new
    mean = 0.7 * old + 0.3 * new
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


def doubtful(cost: NDArray[np.float64], margin: float) -> NDArray[np.bool_]:
    """`[T,D]`: the possible assignments that compete with another one for the same track or detection.

    Example:
        >>> doubtful(np.array([[0.1, 0.3], [9e9, 0.2]]), 0.5).tolist()
        [[True, True], [False, True]]
    """
    possible = cost < _FAR
    contested = np.zeros_like(possible)
    for axis in (0, 1):
        if cost.shape[axis] > 1:
            two = np.sort(cost, axis=axis).take([0, 1], axis=axis)
            close = (two.take(1, axis=axis) < _FAR) & (np.diff(two, axis=axis).squeeze(axis) < margin)
            near = cost - np.expand_dims(two.take(0, axis=axis), axis) < margin
            contested |= np.expand_dims(close, axis) & near
    return possible & contested


def assignment(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The possible pairs of row and column of `[T,D]` costs whose sum is least; impossible ones cost `_FAR`.

    Example:
        >>> assignment(np.array([[0.1, 0.3], [0.2, 9e9]]))
        [(0, 1), (1, 0)]
    """
    rows = [i for i, least in enumerate(cost.min(axis=1)) if least < _FAR]
    nearest = cost[rows].argmin(axis=1).tolist()
    if len(set(nearest)) == len(nearest):
        # Everybody's first choice is another one, as nearly always: nothing can be better.
        return list(zip(rows, nearest, strict=True))
    from scipy.optimize import linear_sum_assignment  # seldom needed, and slow to import

    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(cost), strict=True) if cost[i, j] < _FAR]


def assignment_cost(expected: NDArray[np.float32], boxes: NDArray[np.float32], reach: float) -> NDArray[np.float64]:
    """`[T,D]` cost of taking detection d for track t; prohibitive beyond `reach` or a factor of two in size.

    `expected` is `[T,4]`, `boxes` `[D,4]`, both xyxy pixels. The cost is the distance between the centres in
    face sizes plus the logarithm of the ratio of the sizes.
    """
    distance, ratio = apart(expected, boxes)
    cost: NDArray[np.float64] = np.where((distance > reach) | (ratio > np.log(2.0)), _FAR, distance + ratio)
    return cost


def apart(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each of the `[N,4]` boxes is from each of the `[M,4]`, both xyxy pixels: `[N,M]` distances between the
    centres in face sizes, and `[N,M]` logarithms of the ratios of the sizes, without sign.
    """
    ends = []
    for boxes in (before, after):
        corners = boxes.astype(np.float64)
        sides = corners[:, 2:] - corners[:, :2]
        ends.append((corners[:, :2] + sides / 2, np.sqrt(np.maximum(sides[:, 0] * sides[:, 1], 1.0))))
    (a, size_a), (b, size_b) = ends
    shift = a[:, None] - b[None]
    distance = np.hypot(shift[..., 0], shift[..., 1]) / np.sqrt(size_a[:, None] * size_b[None])
    return distance, np.abs(np.log(size_a[:, None] / size_b[None]))
