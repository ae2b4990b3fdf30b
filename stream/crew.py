"""Threads that work as one: bounded channels between them, and one failure ends them all."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from engine.signals import undisturbed, wait_for

T = TypeVar("T")


class Stopped(Exception):
    """The crew is going home: raised by a channel in whoever waits on it."""


class Channel(Generic[T]):
    """A bounded queue between two threads; `put` waits for room, iteration ends at `close`.

    Whoever waits for room is woken when half of it is free again: waking costs more than a hand-over.
    """

    def __init__(self, capacity: int, name: str = "") -> None:
        if capacity < 1:
            raise ValueError(f"a channel needs room for one item at least, got {capacity = }")
        self.name = name
        self._puts = self._depths = self._deepest = 0
        self._put_wait = self._take_wait = 0.0
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._drained = threading.Condition(self._lock)
        self._closed = False
        self._stopped = False

    def put(self, item: T) -> None:
        """Hand over an item, waiting for room. Raises `Stopped` when the crew stops."""
        with self._lock:
            if len(self._items) >= self._capacity:
                started = time.perf_counter()
                while len(self._items) >= self._capacity and not self._stopped:
                    self._drained.wait()
                self._put_wait += time.perf_counter() - started
            if self._stopped:
                raise Stopped
            if self._closed:
                raise ValueError("put on a closed channel")
            self._items.append(item)
            self._puts += 1
            self._depths += len(self._items)
            self._deepest = max(self._deepest, len(self._items))
            self._filled.notify()

    def hand(self, item: T) -> None:
        """Put an item and wait until it is taken, so that whoever makes large ones is never more than one ahead."""
        self.put(item)
        with self._lock:
            while self._items and not self._stopped:
                self._drained.wait()
            if self._stopped:
                raise Stopped

    def as_dict(self) -> dict[str, float]:
        """How full it was when something was put in, and how long each side waited for the other, milliseconds."""
        with self._lock:
            return {
                "items": self._puts,
                "capacity": self._capacity,
                "depth_mean": round(self._depths / max(1, self._puts), 2),
                "depth_max": self._deepest,
                "put_wait_ms": round(self._put_wait * 1e3, 1),
                "take_wait_ms": round(self._take_wait * 1e3, 1),
            }

    def close(self) -> None:
        """No more items will come; what is in the channel can still be taken."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()

    def stop(self) -> None:
        """Drop what is in the channel and wake everybody with `Stopped`."""
        with self._lock:
            self._stopped = True
            self._items.clear()
            self._filled.notify_all()
            self._drained.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._lock:
                if not self._items:
                    started = time.perf_counter()
                    while not (self._items or self._closed or self._stopped):
                        self._filled.wait()
                    self._take_wait += time.perf_counter() - started
                if self._stopped:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                if len(self._items) <= self._capacity // 2:
                    self._drained.notify_all()
            yield item


class Crew:
    """Threads and the channels between them. The first failure stops all, and is what `wait` raises.

    Example:
        >>> crew = Crew()
        >>> numbers = crew.channel(2)
        >>> def count() -> None:
        ...     for n in range(3):
        ...         numbers.put(n)
        ...     numbers.close()
        >>> crew.start("count", count)
        >>> list(numbers)
        [0, 1, 2]
        >>> crew.wait()
    """

    def __init__(self) -> None:
        self._channels: list[Channel[object]] = []
        self._threads: list[tuple[threading.Thread, threading.Event]] = []
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def channel(self, capacity: int, name: str = "") -> Channel[T]:
        """A new channel that stops when the crew does."""
        made: Channel[T] = Channel(capacity, name)
        self._channels.append(made)  # type: ignore[arg-type]
        return made

    def queues(self) -> dict[str, dict[str, float]]:
        """How the named channels fared."""
        return {channel.name: channel.as_dict() for channel in self._channels if channel.name}

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread of its own."""
        over = threading.Event()

        def guarded() -> None:
            try:
                work()
            except Stopped:
                pass
            except BaseException as failure:  # handed to whoever waits
                self.fail(failure)
            finally:
                over.set()

        thread = threading.Thread(target=guarded, name=f"iznet-{name}", daemon=True)
        with undisturbed():
            thread.start()
            self._threads.append((thread, over))

    def fail(self, failure: BaseException) -> None:
        """Note a failure, unless there was one before, and stop everybody."""
        with self._lock:
            if self._failure is None:
                self._failure = failure
        self.stop()

    def stop(self) -> None:
        """Make every thread end at its next look at a channel."""
        for channel in self._channels:
            channel.stop()

    @property
    def failure(self) -> BaseException | None:
        """The first failure, if there was one."""
        return self._failure

    def wait(self) -> None:
        """Wait for all threads to end, then raise the first failure if there was one."""
        for thread, over in self._threads:
            wait_for(over)
            with undisturbed():
                thread.join()
        if self._failure is not None:
            raise self._failure
