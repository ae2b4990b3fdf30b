"""What is to be sent somewhere, in a thread of its own: bounded, tried again, and never waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from stream.live.outputs import Health
from stream.live.reconnect import Backoff

log = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

MOST = 256
"""Things that wait at most; beyond, the oldest is given up."""
LAST = 1.0
"""Seconds for what still waits when a run ends."""
TURN = 0.5
"""Seconds between two looks round while nothing is to be sent."""

Outcome = Literal["sent", "overflow", "refused", "unsent"]
"""Arrived · given up for newer ones · the other side does not want it · the run ended before it could be sent."""


class Unsent(Exception):
    """It could not be sent now; the message holds no secret."""


class Refused(Exception):
    """It will never be taken; the message holds no secret."""


class Carrier(Protocol[T_contra]):
    """Sends one thing after another, from one thread."""

    def send(self, item: T_contra, /) -> None:
        """Send it; may take a few seconds.

        Raises:
            Unsent: not now.
            Refused: never.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class Outbox(Generic[T]):
    """Sends what is put into it, in order. `put` returns at once.

    Args:
        name: of the place it is sent to, without secrets.
        carrier: takes it there.
        backoff: when a place that does not take anything is tried again.

    Example:
        >>> outbox = Outbox("https://host/hook", Webhook(address))          # doctest: +SKIP
        >>> outbox.start(); outbox.put(event); outbox.close()               # doctest: +SKIP
        >>> outbox.outcomes                                                 # doctest: +SKIP
        Counter({'sent': 1})
    """

    def __init__(self, name: str, carrier: Carrier[T], backoff: Backoff | None = None) -> None:
        self.health = Health(name)
        self.outcomes: Counter[Outcome] = Counter()
        self._carrier = carrier
        self._backoff = backoff or Backoff(seed=name)
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed: float | None = None
        """When it was told to finish, seconds of the monotonic clock."""
        self._sending = False
        self._over = False
        self._again = 0.0
        """When the next attempt is due."""
        self._look_round: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="iznet-send", daemon=True)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def start(self, look_round: Callable[[], None] = lambda: None) -> None:
        """Begin to send; `look_round` is called now and then in that thread."""
        self._look_round = look_round
        self._thread.start()

    def put(self, item: T) -> None:
        """Have it sent."""
        with self._changed:
            if len(self._waiting) >= MOST:
                self._waiting.popleft()
                self.outcomes["overflow"] += 1
            self._waiting.append(item)
            self._changed.notify()

    def close(self) -> None:
        """Send what waits if that is quickly done, and end."""
        with self._changed:
            self._closed = time.monotonic()
            self._changed.notify()
        self._thread.join(LAST)
        with self._changed:
            self._over = True
            self.outcomes["unsent"] += len(self._waiting) + self._sending
            self._waiting.clear()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._carrier.send(item)
            except Unsent as failure:
                self._again = time.monotonic() + (self._backoff.failed() or 0.0)
                self._done(None, item)
                self._tell("waiting", str(failure))
            except Refused as failure:
                self._done("refused", item)
                self._tell("waiting", str(failure))
            else:
                self._backoff.succeeded()
                self._done("sent", item)
                self._tell("on", None)
        self._carrier.close()

    def _done(self, outcome: Outcome | None, item: T) -> None:
        """Count what became of it; it waits again where nothing has."""
        with self._changed:
            self._sending = False
            if self._over:
                return  # it has been counted
            if outcome is not None:
                self.outcomes[outcome] += 1
            elif len(self._waiting) >= MOST:
                self.outcomes["overflow"] += 1
            else:
                self._waiting.appendleft(item)

    def _next(self) -> T | None:
        """What is to be sent now; None when it is over."""
        while True:
            with self._changed:
                if self._closed is not None and (
                    not self._waiting or time.monotonic() > self._closed + LAST or self._again > self._closed
                ):
                    return None  # a place that has failed before is not asked again at the end
                if self._waiting and time.monotonic() >= self._again:
                    self._sending = True
                    return self._waiting.popleft()
                self._changed.wait(TURN)
            self._look_round()

    def _tell(self, state: Literal["on", "waiting"], problem: str | None) -> None:
        if (self.health.state, self.health.problem) == (state, problem):
            return
        self.health.state, self.health.problem = state, problem
        facts = {"event": "output", "output": self.health.name, "state": state, "problem": problem}
        words = problem or f"{self.health.name} takes events again"
        log.log(logging.INFO if state == "on" else logging.WARNING, "%s", words, extra=facts)
