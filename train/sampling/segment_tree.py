"""A segment tree over disjoint intervals that complete the real line: which interval does a point lie in?

A general segment tree (de Berg et al., *Computational Geometry*, chapter 10.3) lists all of a set of intervals that
hold a point. Where the intervals are disjoint and leave no gap the list has exactly one entry, and a node needs no more
than the first point of its right half: one comparison a level, done for all points at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Interval:
    """The points `low` ≤ v < `high`; infinite ends are allowed."""

    low: float
    high: float


class SegmentTree:
    """Finds the interval of a point in ⌈log₂ m⌉ comparisons.

    Bounds and points that are integers below 2⁵³ are compared exactly.

    Example:
        >>> tree = SegmentTree([Interval(-math.inf, 1), Interval(1, 4), Interval(4, math.inf)])
        >>> tree.find(np.array([0, 1, 3.9, 4])).tolist()
        [0, 1, 1, 2]
    """

    def __init__(self, intervals: Sequence[Interval]) -> None:
        """Build the tree of `intervals`, which are given from left to right.

        Raises:
            ValueError: they overlap, leave a gap, are empty, or do not reach from −∞ to +∞.
        """
        if not intervals or intervals[0].low != -math.inf or intervals[-1].high != math.inf:
            raise ValueError(f"the intervals must reach from -inf to inf, got {list(intervals)}")
        for left, right in itertools.pairwise(intervals):
            if left.high != right.low:
                raise ValueError(f"{left} and {right} overlap or leave a gap")
        for interval in intervals:
            if not interval.low < interval.high:
                raise ValueError(f"{interval} is empty")
        self.intervals = tuple(intervals)
        self._depth = math.ceil(math.log2(len(intervals)))
        # Node n has the children 2n and 2n+1; leaf k is node 2^depth + k. Leaves past the last interval are never
        # reached: the first point of what lies right of them is +inf.
        leaves = 1 << self._depth
        lows = np.full(leaves, math.inf)
        lows[: len(intervals)] = [interval.low for interval in intervals]
        self._first_of_right = np.full(leaves, math.inf)
        for level in range(self._depth):
            nodes = 1 << level
            width = leaves // nodes
            self._first_of_right[nodes : 2 * nodes] = lows[width // 2 :: width]

    def __len__(self) -> int:
        return len(self.intervals)

    def find(self, points: NDArray[Any]) -> NDArray[np.intp]:
        """For each of the finite `points`, of any shape, the position of the interval that holds it."""
        node = np.ones(np.shape(points), np.intp)
        for _ in range(self._depth):
            node = 2 * node + (points >= self._first_of_right[node])
        return node - (1 << self._depth)


def partition(weights: Sequence[int]) -> tuple[SegmentTree, NDArray[np.intp]]:
    """The tree in which each position holds as many of the integers 0, 1, … Σ`weights`−1 as its weight says.

    The first interval begins at −∞ and the last ends at +∞, which changes no probability. Positions of weight 0 get no
    interval.

    Returns:
        The tree, and for each of its intervals the position it belongs to.

    Raises:
        ValueError: a weight is negative, all are zero, or their sum is too large to be compared exactly.

    Example:
        >>> tree, positions = partition([1, 0, 3])
        >>> positions[tree.find(np.arange(4))].tolist()
        [0, 2, 2, 2]
    """
    counts = np.asarray(weights, np.int64)
    if (counts < 0).any() or not 0 < sum(weights) < 2**53:
        raise ValueError(f"weights must not be negative, and their sum within 1 and 2^53: {list(weights)[:20]}")
    positions = np.flatnonzero(counts)
    inner = [float(bound) for bound in np.cumsum(counts[positions])[:-1]]
    lows, highs = [-math.inf, *inner], [*inner, math.inf]
    return SegmentTree([Interval(low, high) for low, high in zip(lows, highs, strict=True)]), positions
