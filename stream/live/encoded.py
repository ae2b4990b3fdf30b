"""Outputs that encode what is seen: each in a thread of its own, so that none holds up a feed."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from stream.frames import TrackVerdict
from stream.live.held import most_of
from stream.live.outputs import Health, Seen

WAITING = 8
"""Pictures that wait for the encoder at most, besides those between two that were looked at."""
CLOSING = 0.8
"""Seconds for the pictures that wait when a run ends; those that are left then are left out."""


class Encoded(ABC):
    """Encodes what is seen in a thread of its own, which begins with the first picture.

    If the encoder does not keep up, pictures are left out and counted in `skipped`.

    Args:
        name: what people know it by.
        patience: seconds that the run waits at its end until everything is finished; None for as long as it takes.
    """

    draws = True

    def __init__(self, name: str, *, patience: float | None = None) -> None:
        self.health = Health(name)
        self.skipped = 0
        self._patience = patience
        self._waiting: deque[Seen] = deque()
        self._changed = threading.Condition()
        self._most = WAITING
        self._latest = -1
        """Time of the latest picture, ticks."""
        self._closed: float | None = None
        """When it was told to finish, seconds of the monotonic clock."""
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def frame(self, seen: Seen) -> None:
        with self._changed:
            if self._failure is not None:
                raise self._failure
            pts = seen.labelled.frame.pts
            if len(self._waiting) >= self._most or pts <= self._latest:
                self.skipped += 1
                return
            self._latest = pts
            self._waiting.append(seen)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="iznet-encode", daemon=True)
                self._thread.start()

    def between(self, seen: Seen) -> None:
        # All that came since the frame before come at once.
        self._most = WAITING + most_of(seen.labelled.frame.picture)
        self.frame(seen)

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        return  # tracks are for the record

    def close(self, dropped: Mapping[str, int]) -> None:
        with self._changed:
            self._closed = time.monotonic()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(self._patience)
        if self._failure is not None:
            raise self._failure

    @abstractmethod
    def _write(self, seen: Seen) -> None:
        """Encode the next picture; in the encoder's thread, as `_finish`."""

    @abstractmethod
    def _finish(self) -> None:
        """Finish what was begun, if anything was."""

    def _run(self) -> None:
        try:
            while (seen := self._take()) is not None:
                self._write(seen)
            self._finish()
        except BaseException as failure:  # handed to whoever gives the next picture
            with suppress(Exception):  # what is there is to be playable, and its file closed
                self._finish()
            with self._changed:
                self._failure = failure
                self.health.state, self.health.problem = "failed", str(failure)
                self._leave_out()

    def _take(self) -> Seen | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed is not None)
            if self._closed is not None and time.monotonic() > self._closed + CLOSING:
                self._leave_out()
            return self._waiting.popleft() if self._waiting else None

    def _leave_out(self) -> None:
        self.skipped += len(self._waiting)
        self._waiting.clear()
