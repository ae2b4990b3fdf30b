"""On which frames faces are looked for: as seldom as the picture allows.

Pure logic: no clock, no threads, no networks; what was found decides. Two frames that were looked at enclose a gap.
The gap is *even* if the same faces stand at both of its ends, beyond doubt and not far apart: then what lies between is
known too, and need not be looked at. An uneven gap is looked at in its middle and each half judged for itself, down to
neighbouring frames: so a face that appears, leaves, or moves fast is found on the very frame, and no look is wasted.
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


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking at a gap."""

    found: dict[int, Detections]
    """The faces of the frames that were looked at, by frame."""
    motion: float
    """Over the whole gap, as `Cadence.motion` has it; 0 where there is no look before it."""


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
    calm: float = 0.12
    """Motion up to which a gap is calm."""
    step: float = 0.4
    """How far a face may move over an even gap, in face sizes; a change of size counts as its logarithm."""
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

    def looks(self, count: int, before: Detections | None, look: Callable[[int], Detections]) -> Looked:
        """Look at a gap of `count` frames: always at its last one, and within it where it is uneven.

        Args:
            count: frames, numbered from 0.
            before: what was found on the frame before the first; None where there is none, as at a shot's start.
            look: finds the faces of one of the frames; called at most once for each.
        """
        found = {count - 1: look(count - 1)}
        if before is None:
            return Looked(found, 0.0)
        whole = self.motion(before, found[count - 1])
        gaps = [(-1, before, count - 1, found[count - 1], whole)]
        while gaps:
            first, earlier, last, later, motion = gaps.pop()
            if last - first < 2 or motion <= self.step:
                continue
            middle = (first + last) // 2
            between = found[middle] = look(middle)
            gaps += [
                (middle, between, last, later, self.motion(between, later)),
                (first, earlier, middle, between, self.motion(earlier, between)),
            ]
        return Looked(found, whole)

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
