"""Where one shot ends and the next begins.

Works on a few rows of every picture, reduced to 32 × 18 cells. A hard cut is a change of *structure*: the mean and
contrast of the luma are taken out before two pictures are compared, so that a coloured light or a dimmer is no
cut. A flash or a strobe changes structure too (it burns the picture out), but the old picture comes back a
moment later; each decision therefore waits a few frames and looks whether it did.

A gradual change, be it one blended frame or a dissolve of two seconds, shows between pictures farther apart. So does
a camera that moves, but what lies between differs: pictures that move keep their contrast, whereas two pictures laid
over each other, whose light and dark have nothing to do with one another, lose some, and it is known how much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled, compiled_sum

GRID = (32, 18)
"""Width and height of the picture that is compared, in cells."""
CELLS = GRID[0] * GRID[1]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of ITU-R BT.601."""
SPANS = (2, 4, 8, 16, 32, 48)
"""Frames before the middle of a gradual change at which it is supposed to have begun."""
FEWEST = 0.04
"""The least mean product of both pictures' shares in the frames of a gradual change; over an even one it is 1/6."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is remembered of one frame to compare it with others."""

    structure: NDArray[np.float32]
    """`[cells]`, zero mean, unit length; all zero where the picture has no contrast (black, white, fog)."""
    colour: NDArray[np.float32]
    """`[3, cells/12]` mean RGB of coarse cells, 0…1."""
    contrast: float
    """Standard deviation of the luma, grey levels; 0 where it is too low to tell a structure."""

    @property
    def blank(self) -> bool:
        """Whether the picture has no contrast."""
        return self.contrast == 0


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
) -> float:
    """Fill structure and colour of a `Glance`, and return its contrast: steps so small that NumPy would take ten times
    as long. `colour` is all zero before."""
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
    return 0.0 if blank else float(length / np.sqrt(structure.size))


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


def _median(values: Collection[float]) -> float:
    # Of a handful: NumPy's takes longer by an import that costs a hundredth of a second.
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


class _Memory:
    """The latest pictures, numbered as they came, and how unlike any two of them are.

    Args:
        capacity: pictures that are remembered.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.count = 0
        """Pictures that came; the latest has the number before it."""
        # Picture `i` is row `i % capacity`: its structure, then its colours. How it compares to an earlier one `j` is
        # in that row of the tables, and the column of `j`.
        self._pictures = np.zeros((capacity, CELLS + CELLS // 4), np.float32)
        self._contrasts = np.zeros(capacity)
        self._tables = np.zeros((2, capacity, capacity), np.float32)
        self._cosines, self._differences = self._tables

    def add(self, picture: Glance) -> int:
        """Take the next picture, and return its number."""
        number, row = self.count, self.count % self.capacity
        self._pictures[row, :CELLS] = picture.structure
        self._pictures[row, CELLS:] = picture.colour.reshape(-1)
        self._contrasts[row] = picture.contrast
        _compare(self._pictures, row, self._tables)
        self.count += 1
        return number

    def difference(self, earlier: int, later: int) -> float:
        """As the function of that name."""
        return float(self._differences[later % self.capacity, earlier % self.capacity])

    def unlike(self, earlier: int, later: int) -> float:
        """How much the structures differ, 0 (same) … 2."""
        return 1.0 - float(self._cosines[later % self.capacity, earlier % self.capacity])

    def least_unlike(self, earlier: range, later: range) -> float:
        """The least that any of the earlier ones and any of the later ones differ by in structure."""
        rows, columns = self._places(later), self._places(earlier)
        return 1.0 - float(self._cosines[rows[:, None], columns].max())

    def share(self, first: int, number: int, last: int) -> float:
        """The part that the later one of two pictures has in one between them, if that is a mixture."""
        a, i, b = first % self.capacity, number % self.capacity, last % self.capacity
        return float(_share(self._cosines, self._contrasts, a, i, b))

    def unmixed(self, first: int, last: int) -> float:
        """How far the pictures between two others are from mixtures of them, 0 (mixtures) … 1 (pictures whose parts
        move) and more; infinite where hardly any is a mixture."""
        return _unmixed(self._cosines, self._contrasts, first, last)

    def _places(self, numbers: range) -> NDArray[np.intp]:
        return np.arange(numbers.start, numbers.stop) % self.capacity


@compiled_sum
def _compare(pictures: NDArray[np.float32], row: int, tables: NDArray[np.float32]) -> None:
    """Fill a row of both tables: the cosine of its picture's structure and of every other's, and their differences."""
    for other in range(pictures.shape[0]):
        same = apart = np.float32(0)
        for i in range(CELLS):
            same += pictures[row, i] * pictures[other, i]
        for i in range(CELLS, pictures.shape[1]):
            apart += abs(pictures[row, i] - pictures[other, i])
        tables[0, row, other] = same
        tables[1, row, other] = np.float32(1) - same + apart / np.float32(pictures.shape[1] - CELLS)


@compiled
def _share(cosines: NDArray[np.float32], contrasts: NDArray[np.float64], a: int, i: int, b: int) -> float:
    """See `_Memory.share`, by rows. Lumas are vectors here, of which only the products are known."""
    start, own, end = contrasts[a], contrasts[i], contrasts[b]
    ends = start * end * cosines[b, a]
    length = start * start + end * end - 2 * ends
    return float((own * end * cosines[b, i] - own * start * cosines[i, a] - ends + start * start) / length)


@compiled
def _unmixed(cosines: NDArray[np.float32], contrasts: NDArray[np.float64], first: int, last: int) -> float:
    """See `_Memory.unmixed`: the larger one of how far the pictures are from the line between the two, in parts of its
    length, and of how much of the contrast they keep that mixtures lose."""
    capacity = contrasts.size
    a, b = first % capacity, last % capacity
    start, end = contrasts[a], contrasts[b]
    ends = start * end * cosines[b, a]
    length = start * start + end * end - 2 * ends
    if length <= 0:
        return 0.0
    aside = kept = lost = 0.0
    for number in range(first + 1, last):
        row = number % capacity
        own = contrasts[row]
        from_start = own * own - 2 * own * start * cosines[row, a] + start * start
        share = _share(cosines, contrasts, a, row, b)
        aside += max(from_start - share * share * length, 0.0)
        share = min(max(share, 0.0), 1.0)
        loss = share * (1 - share) * length
        kept += own * own - ((1 - share) * start * start + share * end * end - loss)
        lost += loss
    count = last - first - 1
    if lost < FEWEST * count * length:
        return np.inf
    return float(max(np.sqrt(aside / count / length), kept / lost))


class ShotDetector:
    """Decides for every frame whether a new shot starts there, `delay` frames late.

    A hard cut starts a shot with the new picture's first frame, a gradual change about its middle. Of dissolves, those
    of up to some sixty frames are found, if the shot before lasted as long as half of them.

    Args:
        threshold: the least difference between two shots.
        contrast: how many times the usual difference around it a change of shot has to reach: in a whip pan every
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

    structure = 0.3
    """The least difference of structure between two shots with a gradual change between them: light that changes
    gradually leaves the structure."""
    middle = 0.25
    """Difference of structure from the shot before that a gradual change makes about its middle."""
    unmixed = 0.4
    """How far from mixtures the pictures of a gradual change may be: both shots may move meanwhile."""

    def __init__(self, threshold: float = 0.45, contrast: float = 2.5, delay: int = 4) -> None:
        self._threshold = threshold
        self._contrast = contrast
        self.delay = delay
        self._flash = delay or 4
        self._seen = _Memory(SPANS[-1] + SPANS[-1] // 2 + 1 + delay)
        """The pictures that are not blank; blank ones are passed over in all that follows."""
        self._start = 0
        """The first one of this shot."""
        self._waiting: deque[int | None] = deque()
        """Frames that are not decided, by the numbers of their pictures; None for a blank one."""
        self._steps: deque[float] = deque(maxlen=8)
        """Differences between neighbours in this shot, cuts left out."""
        self._after_blank = True

    def push(self, picture: Glance) -> list[bool]:
        """Take the next frame; return the decisions that became final (none or one)."""
        self._waiting.append(None if picture.blank else self._seen.add(picture))
        return [self._decide()] if len(self._waiting) > self.delay else []

    def flush(self) -> list[bool]:
        """The decisions still waiting, at the end of the video."""
        return [self._decide() for _ in range(len(self._waiting))]

    def _decide(self) -> bool:
        now = self._waiting.popleft()
        cut = False
        if now is not None and now > self._start:
            step = self._seen.difference(now - 1, now)
            cut = self._is_cut(now, step) or self._is_middle(now)
            if cut:
                self._start = now
                self._steps.clear()
            elif not self._after_blank:
                self._steps.append(step)
        self._after_blank = now is None
        return cut

    def _is_cut(self, now: int, step: float) -> bool:
        """Whether a picture begins a shot that is unlike the one before it by `step`."""
        if step < self._threshold:
            return False
        difference = self._seen.difference
        known = range(max(self._start, now - self._flash), now)
        if any(difference(old, now) < self._threshold for old in known):
            return False  # the end of a flash: a picture from before it is back
        after = range(now + 1, self._seen.count)
        if any(difference(old, new) < min(self._threshold, 0.6 * step) for new in after for old in known):
            return False  # the beginning of a flash: the picture from before it comes back
        steps_after = [difference(a, b) for a, b in pairwise(after)]
        # Either side: a whip pan starts from rest, and comes to rest again.
        usual = max((_median(side) for side in (self._steps, steps_after) if side), default=0.0)
        return step > self._contrast * usual

    def _is_middle(self, now: int) -> bool:
        """Whether a gradual change from one picture to another has passed its middle."""
        oldest = max(self._start, self._seen.count - self._seen.capacity)
        for span in SPANS:
            first = now - span
            if first - span // 2 < oldest:
                return False
            if self._seen.unlike(first, now) >= self.middle and self._is_blend(first, now, span, oldest):
                return True
        return False

    def _is_blend(self, first: int, now: int, span: int, oldest: int) -> bool:
        """Whether there is another shot within a `span` after `now` than there was until `first`, and only mixtures of
        both lie between."""
        seen, newest = self._seen, self._seen.count - 1
        last = min(now + span - 1, newest)  # as far as is known: it may be on the way still
        if now < last and seen.unlike(first, now) < seen.unlike(now, last):
            return False
        change = seen.unlike(first, last)
        if change < self.structure or seen.difference(first, last) < self._threshold:
            return False
        rest = min(span, first - oldest)
        around = max(seen.unlike(first - rest, first), seen.unlike(last, min(last + rest, newest)))
        if change < self._contrast * around:
            return False  # part of a longer movement
        if seen.unmixed(first, last) > self.unmixed:
            return False  # something moves
        if seen.share(first, now - max(2, span // 2), last) >= 0.5:
            return False  # it was past its middle long before
        # Nor may it be a flash, after which a picture from before it is back.
        back = min(
            seen.least_unlike(range(oldest, first + 1), range(last, last + 1)),
            seen.least_unlike(range(first, first + 1), range(last, newest + 1)),
        )
        return back >= self.structure
