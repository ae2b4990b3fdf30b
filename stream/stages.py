"""How long each part of the pipeline takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stream.histogram import Histogram


@dataclass(slots=True)
class Stage:
    """All calls of one part of the work."""

    calls: int = 0
    cpu_ms: float = 0.0
    """CPU of the calling thread alone; a library's own threads are not in it."""
    wall_ms: float = 0.0
    walls: Histogram = field(default_factory=Histogram)
    first_at: float = 0.0
    """When the first call ended, seconds since 1970: start-up is seen from outside."""

    def as_dict(self) -> dict[str, float]:
        return {
            "calls": self.calls,
            "cpu_ms": round(self.cpu_ms, 2),
            "wall_ms": round(self.wall_ms, 2),
            **self.walls.as_dict(),
            "first_at": round(self.first_at, 3),
        }


class StageClock:
    """Adds up the time spent in named stages, from any thread.

    Example:
        >>> clock = StageClock()
        >>> with clock("decode"):
        ...     pass
        >>> clock.stages["decode"].calls
        1
    """

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.latency = Histogram()
        """From a frame's decoding to its line in the record, milliseconds; the look-ahead is in it."""
        self._under_way: deque[float] = deque()
        self._lock = threading.Lock()

    def enters(self) -> None:
        """A frame is decoded and begins its way; frames do not overtake each other."""
        self._under_way.append(time.perf_counter())

    def leaves(self) -> None:
        """The frame that entered first is done."""
        self.latency.add((time.perf_counter() - self._under_way.popleft()) * 1e3)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            with self._lock:
                stage = self.stages.get(name)
                if stage is None:
                    stage = self.stages[name] = Stage(first_at=time.time())
                stage.calls += 1
                stage.walls.add(wall * 1e3)
                stage.cpu_ms += cpu * 1e3
                stage.wall_ms += wall * 1e3
