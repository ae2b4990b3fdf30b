"""Percentiles of any number of durations in little memory."""

from __future__ import annotations

import math
from array import array

_GROWTH = math.log(1.02)
_SMALLEST = 1e-3
"""Milliseconds: what is shorter counts as this long."""
_BUCKETS = 1 + math.ceil(math.log(1e10) / _GROWTH)


class Histogram:
    """Durations in buckets that are 2 % wide, from a microsecond to hours: a percentile is right to 1 %.

    Example:
        >>> walls = Histogram()
        >>> for ms in range(1, 101):
        ...     walls.add(ms)
        >>> round(walls.percentile(50)), round(walls.percentile(99)), walls.largest
        (50, 98, 100)
    """

    __slots__ = ("_counts", "_total", "largest")

    def __init__(self) -> None:
        self._counts = array("L", bytes(array("L").itemsize * _BUCKETS))
        self._total = 0
        self.largest = 0.0
        """Milliseconds, exactly."""

    def add(self, ms: float) -> None:
        """Count one duration, milliseconds."""
        bucket = int(math.log(ms / _SMALLEST) / _GROWTH) if ms > _SMALLEST else 0
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self._total += 1
        if ms > self.largest:
            self.largest = ms

    def percentile(self, percent: float) -> float:
        """The duration that so many per cent of all do not exceed, milliseconds; 0 where there are none."""
        if not self._total:
            return 0.0
        wanted, seen = max(1, math.ceil(self._total * percent / 100)), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(self.largest, _SMALLEST * math.exp((bucket + 0.5) * _GROWTH))
        return self.largest

    def as_dict(self) -> dict[str, float]:
        """The usual percentiles and the largest, milliseconds."""
        return {
            **{f"p{percent}_ms": round(self.percentile(percent), 3) for percent in (50, 95, 99)},
            "max_ms": round(self.largest, 3),
        }
