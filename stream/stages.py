"""How long each part of the pipeline takes."""

from __future__ import annotations

import threading
import time
from collections import deque
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

    def __call__(self, name: str) -> _Timing:
        """A context whose time is added to the stage."""
        return _Timing(self, name)

    def add(self, name: str, cpu: float, wall: float) -> None:
        """Count one call, seconds."""
        with self._lock:
            stage = self.stages.get(name)
            if stage is None:
                stage = self.stages[name] = Stage(first_at=time.time())
            stage.calls += 1
            stage.walls.add(wall * 1e3)
            stage.cpu_ms += cpu * 1e3
            stage.wall_ms += wall * 1e3


class _Timing:
    """One call of a stage; a class of its own, as a generator would take twice as long, ten thousand times a minute."""

    __slots__ = ("_clock", "_cpu", "_name", "_wall")

    def __init__(self, clock: StageClock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._cpu = self._wall = 0.0

    def __enter__(self) -> None:
        self._cpu, self._wall = time.thread_time(), time.perf_counter()

    def __exit__(self, *failure: object) -> None:
        self._clock.add(self._name, time.thread_time() - self._cpu, time.perf_counter() - self._wall)
