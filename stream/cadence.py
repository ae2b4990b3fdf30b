"""On which frames faces are looked for: as seldom as the picture allows.

Pure logic: no clock, no threads, no networks; what was found decides. Two frames that were looked at enclose a gap.
The gap is *even* if the same faces stand at both of its ends, beyond doubt and not far apart: then what lies between is
known too, and need not be looked at. An uneven gap is looked at in its middle and each half judged for itself, down to
neighbouring frames: so a face that appears, leaves, or moves fast is found on the very frame, and no look is wasted.
Whoever sways in time with the looks stands in the same place at both ends and elsewhere in between: if the pictures
there say so, the frame that is most unlike the ends is looked at too.
After a *calm* gap, over which nobody moved to speak of, the next may be twice as wide.
What comes and goes again within one gap is missed: who has to find everybody (to hide them, say) looks at every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.types import Detections
from stream.tracker import apart

EVERY_FRAME = 0.0
"""A `Cadence.longest` that leaves no gap."""

EVEN = 0.4
"""How far a face may move over an even gap, in face sizes; a change of size counts as its logarithm."""

Astray = Callable[[int, int, NDArray[np.float32]], int | None]
"""Two frames of a gap, -1 for the one before it, and `[N,2,4]` boxes of every face on the one and on the other → the
frame between them on which the picture there is most unlike both, if it is so at all."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking at a gap."""

    found: dict[int, Detections]
    """The faces of the frames that were looked at, by frame."""
    motion: float
    """Over the whole gap or the part of it where more moved, as `Cadence.motion` has it; 0 where there is no look
    before it."""
    misled: bool | None = None
    """Whether all that the pictures raised doubts of was even; None where they raised none."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a gap: what lies between two frames that were looked at."""

    first: int
    earlier: Detections
    last: int
    later: Detections
    motion: float
    doubted: bool
    """Whether the pictures' doubts count."""


_NO_PAIRS = np.empty((0, 2, 4), np.float32)


@dataclass(frozen=True, slots=True)
class Cadence:
    """How wide a gap between two looks may be, and what makes it even.

    Example:
        >>> nobody = Detections.empty()
        >>> sorted(Cadence().looks(8, nobody, lambda frame: nobody).found)
        [7]
    """

    confident: float = 0.5
    """Score from which a detection counts; a weaker one only confirms a confident one at the other end."""
    longest: float = 0.54
    """Seconds between two looks at the most: sixteen frames at 30 frames a second."""
    usual: float = 0.27
    """Seconds between two looks at the most unless the gap before was calm."""
    stray: float = 0.15
    """How far a face may be from where an even gap has it; of what is nearer, the pictures' doubts are wrong."""
    calm: float = 0.12
    """Motion up to which a gap is calm."""
    step: float = EVEN
    """How far a face may move over an even gap."""
    clear: float = 0.5
    """How much nearer a face has to be to itself than to any other one, in face sizes."""
    rival: float = 0.75
    """Part of `confident` that another face's score has to reach to be mistaken for this one."""

    def width(self, before: float | None = None, motion: float = np.inf) -> float:
        """Seconds that the next gap may take, after one of width `before` with that much `motion`; None at the start of
        a shot.
        """
        if before is None or motion > self.calm:
            return min(self.usual, self.longest)
        return min(2 * before, self.longest)

    def gap(self, width: float, start: float, times: Sequence[float]) -> int:
        """How many of the frames at `times`, seconds, the next gap of that `width` takes, after a look at `start`: one
        at least. Its last one is to be looked at.
        """
        count = 1
        while count < len(times) and times[count] - start <= width + 1e-6:
            count += 1
        return count

    def looks(
        self,
        count: int,
        before: Detections | None,
        look: Callable[[int], Detections],
        astray: Astray = lambda first, last, boxes: None,
    ) -> Looked:
        """Look at a gap of `count` frames: always at its last one, and within it where it is uneven.

        Args:
            count: frames, numbered from 0.
            before: what was found on the frame before the first; None where there is none, as at a shot's start.
            look: finds the faces of one of the frames; called at most once for each.
            astray: doubts gaps whose ends agree. Where it is wrong, it is not asked again about that part: it costs
                one look at the most wherever nobody moves.
        """
        found = {count - 1: look(count - 1)}
        if before is None:
            return Looked(found, 0.0)
        most = self.motion(before, found[count - 1])
        misled = None
        gaps = [_Part(-1, before, count - 1, found[count - 1], most, True)]
        while gaps:
            part = gaps.pop()
            if part.last - part.first < 2:
                continue
            even, middle = part.motion <= self.step, (part.first + part.last) // 2
            pairs = self._pairs(part.earlier, part.later) if even and part.doubted else _NO_PAIRS
            if even:
                doubt = astray(part.first, part.last, pairs) if len(pairs) else None
                if doubt is None:
                    continue
                middle = doubt
            between = found[middle] = look(middle)
            doubted = True
            if even:
                share = np.float32((middle - part.first) / (part.last - part.first))
                line = pairs[:, 0] + share * (pairs[:, 1] - pairs[:, 0])
                doubted = self._off(line, between) > self.stray
                misled = misled is not False and not doubted
            gaps += [
                _Part(middle, between, part.last, part.later, self.motion(between, part.later), doubted),
                _Part(part.first, part.earlier, middle, between, self.motion(part.earlier, between), doubted),
            ]
            most = max(most, gaps[-1].motion, gaps[-2].motion)
        return Looked(found, most, misled)

    def _pairs(self, before: Detections, after: Detections) -> NDArray[np.float32]:
        """`[N,2,4]`: where each face is at either end of an even gap."""
        if not (len(before) and len(after)):
            return _NO_PAIRS
        unlike = np.add(*apart(before.boxes, after.boxes))
        rows = np.flatnonzero(before.scores >= self.confident)
        columns = np.flatnonzero(after.scores >= self.confident)
        pairs = {(int(row), int(unlike[row].argmin())) for row in rows}
        pairs |= {(int(unlike[:, column].argmin()), int(column)) for column in columns}
        ordered = np.array(sorted(pairs), np.intp).reshape(-1, 2)
        return np.stack([before.boxes[ordered[:, 0]], after.boxes[ordered[:, 1]]], axis=1)

    @staticmethod
    def _off(line: NDArray[np.float32], found: Detections) -> float:
        """How far the face that is farthest from where it should be is from there; infinite if it is not found."""
        return float(np.add(*apart(line, found.boxes)).min(axis=1).max()) if len(found) else np.inf

    def motion(self, before: Detections, after: Detections) -> float:
        """How far the face moved that moved most, in face sizes; infinite where it is in doubt who is who, or somebody
        came or went.
        """
        sure_before, sure_after = before.scores >= self.confident, after.scores >= self.confident
        if not (sure_before.any() or sure_after.any()):
            return 0.0
        if not (len(before) and len(after)):
            return np.inf
        distance, growth = apart(before.boxes, after.boxes)
        unlike = distance + growth
        return max(
            self._farthest(unlike[sure_before], after.scores), self._farthest(unlike.T[sure_after], before.scores)
        )

    def _farthest(self, unlike: NDArray[np.float64], scores: NDArray[np.float32]) -> float:
        """How far the farthest of N faces is from its nearest one of M with these `scores`, by `[N,M]` how unlike they
        are; infinite where two have the same nearest one, or another is nearly as near.
        """
        if not len(unlike):
            return 0.0
        rows, nearest = np.arange(len(unlike)), unlike.argmin(axis=1)
        least = unlike[rows, nearest]
        others = np.where(scores >= self.rival * self.confident, unlike, np.inf)
        others[rows, nearest] = np.inf
        shared = len(set(nearest.tolist())) < len(nearest)
        return np.inf if shared or (others.min(axis=1) - least < self.clear).any() else float(least.max())
