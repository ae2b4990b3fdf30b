"""How long each part of the pipeline takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Stage:
    """The sum over all calls of one part of the work."""

    calls: int = 0
    cpu_ms: float = 0.0
    """CPU of the calling thread alone; a library's own threads are not in it."""
    wall_ms: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return {"calls": self.calls, "cpu_ms": round(self.cpu_ms, 2), "wall_ms": round(self.wall_ms, 2)}


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
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            with self._lock:
                stage = self.stages.setdefault(name, Stage())
                stage.calls += 1
                stage.cpu_ms += cpu * 1e3
                stage.wall_ms += wall * 1e3
