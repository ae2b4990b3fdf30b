"""Which frame is analysed when not all can be: the freshest, and none that is too old; the others are counted.

Pure: whoever calls says what time it is. Every frame that comes in goes out or is dropped for a stated cause, so at
any moment `came == went + dropped + waiting`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

Cause = Literal["superseded", "stale", "lost", "ended"]
CAUSES: Mapping[Cause, str] = {
    "superseded": "a newer one came before it was analysed",
    "stale": "it was older than the bound when its turn came",
    "lost": "the connection broke while it waited",
    "ended": "the run ended while it waited",
}


@dataclass(slots=True)
class Tally:
    """What became of the frames."""

    came: int = 0
    went: int = 0
    drops: Counter[Cause] = field(default_factory=Counter)

    @property
    def dropped(self) -> int:
        return self.drops.total()

    def as_dict(self) -> dict[str, int]:
        """Drops by cause, for a record's summary; only causes that occurred."""
        return {cause: count for cause, count in sorted(self.drops.items()) if count}


class Freshest(Generic[T]):
    """Room for one frame: the latest.

    Args:
        max_staleness: seconds since its arrival after which a frame is not worth analysing any more.

    Example:
        >>> room = Freshest[str](0.2)
        >>> room.offer("first", arrived=0.00)
        >>> room.offer("second", arrived=0.03)
        >>> room.take(now=0.04)
        'second'
        >>> room.tally.as_dict()
        {'superseded': 1}
    """

    def __init__(self, max_staleness: float = 0.2) -> None:
        if not max_staleness > 0:
            raise ValueError(f"the bound on staleness has to be positive, got {max_staleness = }")
        self._bound = max_staleness
        self._waiting: tuple[T, float] | None = None
        self.tally = Tally()

    @property
    def waiting(self) -> int:
        """0 or 1."""
        return int(self._waiting is not None)

    def offer(self, item: T, arrived: float) -> None:
        """A frame that arrived at `arrived`, seconds, is there; whoever still waited is dropped."""
        self._drop("superseded")
        self.tally.came += 1
        self._waiting = item, arrived

    def peek(self) -> T | None:
        """The frame that waits, which goes on waiting."""
        return self._waiting[0] if self._waiting is not None else None

    def take(self, now: float) -> T | None:
        """The frame to analyse at `now`, seconds; None if there is none that is fresh enough."""
        if self._waiting is None:
            return None
        item, arrived = self._waiting
        if now - arrived > self._bound:
            self._drop("stale")
            return None
        self._waiting = None
        self.tally.went += 1
        return item

    def clear(self, cause: Cause) -> None:
        """Drop what waits."""
        self._drop(cause)

    def _drop(self, cause: Cause) -> None:
        if self._waiting is not None:
            self._waiting = None
            self.tally.drops[cause] += 1
