"""What is counted of a feed while it runs, and Prometheus's words for it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

LATENCY_BOUNDS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
"""Seconds: upper ends of the buckets."""


class LatencyHistogram:
    """Durations counted in fixed buckets, as Prometheus wants them: cumulative, never going down.

    Example:
        >>> latency = LatencyHistogram((0.1, 0.2))
        >>> for seconds in (0.05, 0.1, 0.15, 9.0):
        ...     latency.add(seconds)
        >>> latency.cumulative(), latency.count
        ([2, 3, 4], 4)
    """

    def __init__(self, bounds: Sequence[float] = LATENCY_BOUNDS) -> None:
        if list(bounds) != sorted(set(bounds)) or not bounds:
            raise ValueError(f"bounds have to rise, got {bounds}")
        self.bounds = tuple(bounds)
        self.total = 0.0
        """Seconds, of all durations."""
        self._counts = [0] * (len(bounds) + 1)

    @property
    def count(self) -> int:
        return sum(self._counts)

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[int]:
        """How many did not exceed each bound, and how many there are."""
        sums, sofar = [], 0
        for count in self._counts:
            sofar += count
            sums.append(sofar)
        return sums


class Recent:
    """The durations of the last frames, for showing how it is now.

    Example:
        >>> recent = Recent(3)
        >>> for n in range(5):
        ...     recent.add(now=n * 0.5, seconds=0.01 * n)
        >>> recent.percentile(50), recent.rate(now=2.0)
        (0.03, 2.0)
    """

    def __init__(self, frames: int = 150) -> None:
        self._latest: deque[tuple[float, float]] = deque(maxlen=frames)

    def add(self, now: float, seconds: float) -> None:
        """A frame was named at `now`, after so many seconds."""
        self._latest.append((now, seconds))

    def percentile(self, percent: float) -> float | None:
        """Seconds that so many per cent of them did not exceed."""
        if not self._latest:
            return None
        ordered = sorted(seconds for _, seconds in self._latest)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    def rate(self, now: float, over: float = 5.0) -> float:
        """Frames a second, over the last seconds."""
        times = [when for when, _ in self._latest if now - when <= over]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric with all its series."""

    name: str
    help: str
    kind: str
    """`counter`, `gauge` or `histogram`."""
    samples: Sequence[tuple[str, Mapping[str, str], float]] = field(default=())
    """Suffix of the name, labels, value."""


def histogram_samples(
    histogram: LatencyHistogram, labels: Mapping[str, str]
) -> list[tuple[str, Mapping[str, str], float]]:
    """A histogram's series."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    sums = histogram.cumulative()
    series = [("_bucket", {**labels, "le": le}, float(n)) for le, n in zip(bounds, sums, strict=True)]
    return [*series, ("_sum", labels, histogram.total), ("_count", labels, float(sums[-1]))]


def exposition(metrics: Iterable[Metric]) -> str:
    """Prometheus's text format, version 0.0.4.

    Example:
        >>> print(exposition([Metric("up", "Whether it is.", "gauge", [("", {"camera": 'a"b'}, 1.0)])]), end="")
        # HELP up Whether it is.
        # TYPE up gauge
        up{camera="a\\"b"} 1
    """
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for suffix, labels, value in metric.samples:
            pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"{metric.name}{suffix}{f'{{{pairs}}}' if pairs else ''} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
