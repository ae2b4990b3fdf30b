"""On which frames faces are looked for: as seldom as the picture allows.

Pure logic: no clock, no threads, no networks; what was found decides. Two frames that were looked at enclose a gap.
The gap is *even* if the same faces stand at both of its ends, beyond doubt and not far apart: then what lies between is
known too, and need not be looked at. An uneven gap is looked at in its middle and each half judged for itself, down to
neighbouring frames: so a face that appears, leaves, or moves fast is found on the very frame, and no look is wasted.
What comes and goes again within one gap is missed: who has to find everybody (to hide them, say) looks at every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.types import Detections
from stream.tracker import apart

EVERY_FRAME = 0.0
"""A `Cadence.longest` that leaves no gap."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """How wide a gap between two looks may be, and what makes it even.

    Example:
        >>> nobody = Detections.empty()
        >>> sorted(Cadence().looks(8, nobody, lambda frame: nobody))
        [7]
    """

    confident: float = 0.5
    """Score from which a detection counts; a weaker one only confirms a confident one at the other end."""
    longest: float = 0.27
    """Seconds between two looks at the most: eight frames at 30 frames a second."""
    step: float = 0.4
    """How far a face may move over an even gap, in face sizes; a change of size counts as its logarithm."""
    clear: float = 0.5
    """How much nearer a face has to be to itself than to any other one, in face sizes."""
    rival: float = 0.75
    """Part of `confident` that another face's score has to reach to be mistaken for this one."""

    def gap(self, start: float, times: Sequence[float]) -> int:
        """How many of the frames at `times`, seconds, the next gap takes, after a look at `start`: one at least. Its
        last one is to be looked at.
        """
        count = 1
        while count < len(times) and times[count] - start <= self.longest + 1e-6:
            count += 1
        return count

    def looks(self, count: int, before: Detections | None, look: Callable[[int], Detections]) -> dict[int, Detections]:
        """Look at a gap of `count` frames: always at its last one, and within it where it is uneven.

        Args:
            count: frames, numbered from 0.
            before: what was found on the frame before the first; None where there is none, as at a shot's start.
            look: finds the faces of one of the frames; called at most once for each.

        Returns:
            What was found, by frame.
        """
        found = {count - 1: look(count - 1)}
        gaps = [] if before is None else [(-1, before, count - 1, found[count - 1])]
        while gaps:
            first, earlier, last, later = gaps.pop()
            if last - first < 2 or self.motion(earlier, later) <= self.step:
                continue
            middle = (first + last) // 2
            found[middle] = look(middle)
            gaps += [(middle, found[middle], last, later), (first, earlier, middle, found[middle])]
        return found

    def motion(self, before: Detections, after: Detections) -> float:
        """How far the face moved that moved most, in face sizes; infinite where it is in doubt who is who, or somebody
        came or went.
        """
        sure = before.scores >= self.confident, after.scores >= self.confident
        if not (sure[0].any() or sure[1].any()):
            return 0.0
        if not (len(before) and len(after)):
            return np.inf
        distance, growth = apart(before.boxes, after.boxes)
        unlike = distance + growth
        rival = self.rival * self.confident
        most = 0.0
        for one, confident, others in ((unlike, sure[0], after.scores), (unlike.T, sure[1], before.scores)):
            rows = one[confident]
            if not len(rows):
                continue
            nearest, least = rows.argmin(axis=1), rows.min(axis=1)
            if len(set(nearest.tolist())) < len(nearest):
                return np.inf
            rows = np.where(others >= rival, rows, np.inf)
            rows[np.arange(len(rows)), nearest] = np.inf
            if (rows.min(axis=1) - least < self.clear).any():
                return np.inf
            most = max(most, float(least.max()))
        return most
