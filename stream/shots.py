"""Where one shot ends and the next begins.

Works on a few rows of every picture, reduced to 32 × 18 cells. A hard cut is a change of *structure*: the mean and
contrast of the luma are taken out before two pictures are compared, so that a coloured light or a dimmer is no
cut. A flash or a strobe changes structure too (it burns the picture out), but the old picture comes back a
moment later; each decision therefore waits a few frames and looks whether it did.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled

GRID = (32, 18)
"""Width and height of the picture that is compared, in cells."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is remembered of one frame to compare it with others."""

    structure: NDArray[np.float32]
    """`[cells]`, zero mean, unit length; all zero where the picture has no contrast (black, white, fog)."""
    colour: NDArray[np.float32]
    """`[3, cells/12]` mean RGB of coarse cells, 0…1."""
    blank: bool
    """Whether the picture has no contrast."""


def glance(rgb: NDArray[np.uint8], blank_contrast: float = 4.0) -> Glance:
    """Reduce a uint8 `[H,W,3]` RGB picture to what shots are told apart by.

    `blank_contrast` is the standard deviation of the luma, in grey levels, below which a picture counts as blank.

    Example:
        >>> import numpy as np
        >>> glance(np.zeros((36, 64, 3), np.uint8)).blank
        True
    """
    if rgb.shape[:2] != GRID[::-1]:
        # Four rows a cell stand for all of them: a mean of fewer pixels, at a fifth of the cost.
        rows = rgb[:: max(1, rgb.shape[0] // (4 * GRID[1]))]
        rgb = np.asarray(cv2.resize(rows, GRID, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = rgb.shape[:2]
    structure = np.empty(rows * columns, np.float32)
    colour = np.zeros((3, (rows // 3) * (columns // 4)), np.float32)
    return Glance(structure, colour, _reduce(rgb, LUMA, float(blank_contrast), structure, colour))


@compiled
def _reduce(
    cells: NDArray[np.uint8],
    weights: NDArray[np.float32],
    blank_contrast: float,
    structure: NDArray[np.float32],
    colour: NDArray[np.float32],
) -> bool:
    """Fill structure and colour of a `Glance`, and tell whether it is blank: steps so small that NumPy would take ten
    times as long. `colour` is all zero before."""
    rows, columns = cells.shape[:2]
    wide = columns // 4
    total = 0.0
    for y in range(rows):
        for x in range(columns):
            luma = np.float32(0)
            for channel in range(3):
                value = np.float32(cells[y, x, channel])
                luma += weights[channel] * value
                colour[channel, y // 3 * wide + x // 4] += value / np.float32(12 * 255)
            structure[y * columns + x] = luma
            total += float(luma)
    mean, energy = total / structure.size, 0.0
    for i in range(structure.size):
        structure[i] -= mean
        energy += structure[i] * structure[i]
    length = np.sqrt(energy)
    blank = bool(length < blank_contrast * np.sqrt(structure.size))
    for i in range(structure.size):
        structure[i] = 0 if blank else structure[i] / length
    return blank


def difference(a: Glance, b: Glance) -> float:
    """How unlike two pictures are, 0 (same) … about 1.5: mostly structure, a little colour."""
    return _difference(a.structure, b.structure, a.colour, b.colour)


@compiled
def _difference(
    a: NDArray[np.float32], b: NDArray[np.float32], colour_a: NDArray[np.float32], colour_b: NDArray[np.float32]
) -> float:
    same = apart = 0.0
    for i in range(a.size):
        same += a[i] * b[i]
    for channel in range(colour_a.shape[0]):
        for i in range(colour_a.shape[1]):
            apart += abs(colour_a[channel, i] - colour_b[channel, i])
    return 1.0 - same + apart / colour_a.size


class ShotDetector:
    """Decides for every frame whether a new shot starts there, `delay` frames late.

    Args:
        threshold: the least difference between two neighbouring frames that can be a cut.
        contrast: how many times the usual difference around it a cut has to reach: in a whip pan every
            neighbour differs, and none of them is a cut.
        delay: frames a decision waits for. A picture that is back within so many frames was a flash. 0 decides at once,
            and takes the beginning of a flash for a cut.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> a, b = (rng.integers(0, 255, (18, 32, 3), dtype=np.uint8) for _ in range(2))
        >>> shots = ShotDetector()
        >>> cuts = [cut for picture in [a, a, a, a, b, b, b, b] for cut in shots.push(glance(picture))]
        >>> cuts + shots.flush()
        [False, False, False, False, True, False, False, False]
    """

    def __init__(self, threshold: float = 0.45, contrast: float = 2.5, delay: int = 4) -> None:
        self._threshold = threshold
        self._contrast = contrast
        self.delay = delay
        self._past: deque[Glance] = deque(maxlen=delay or 4)
        """Frames of this shot that have been decided, the latest last."""
        self._steps: deque[float] = deque(maxlen=8)
        """Differences between neighbours in this shot, cuts left out."""
        self._waiting: deque[Glance] = deque()
        self._last_seen: Glance | None = None
        """The latest decided frame of this shot that was not blank."""

    def push(self, picture: Glance) -> list[bool]:
        """Take the next frame; return the decisions that became final (none or one)."""
        self._waiting.append(picture)
        return [self._decide()] if len(self._waiting) > self.delay else []

    def flush(self) -> list[bool]:
        """The decisions still waiting, at the end of the video."""
        return [self._decide() for _ in range(len(self._waiting))]

    def _decide(self) -> bool:
        now = self._waiting.popleft()
        before = self._past[-1] if self._past and not self._past[-1].blank else self._last_seen
        step = None if before is None or now.blank else difference(before, now)
        cut = step is not None and self._is_cut(now, step)
        if cut:
            self._past.clear()
            self._steps.clear()
            self._last_seen = None
        elif step is not None and not self._past[-1].blank:
            self._steps.append(step)
        self._past.append(now)
        if not now.blank:
            self._last_seen = now
        return cut

    def _is_cut(self, now: Glance, step: float) -> bool:
        """Whether a picture begins a shot that is unlike the one before it by `step`."""
        assert self._last_seen is not None
        if step < self._threshold:
            return False
        if any(difference(old, now) < self._threshold for old in self._past if not old.blank):
            return False  # the end of a flash: a picture from before it is back
        after = list(self._waiting)
        known = [old for old in [*self._past, self._last_seen] if not old.blank]
        if any(
            not new.blank and difference(old, new) < min(self._threshold, 0.6 * step) for new in after for old in known
        ):
            return False  # the beginning of a flash: the picture from before it comes back
        steps_after = [difference(a, b) for a, b in pairwise(after) if not (a.blank or b.blank)]
        # Either side: a whip pan starts from rest, and comes to rest again.
        usual = max((float(np.median(side)) for side in (self._steps, steps_after) if side), default=0.0)
        return step > self._contrast * usual
