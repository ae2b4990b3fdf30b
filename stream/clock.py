"""Times that rise, whatever a damaged or spliced file says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")

SPLICE = 1
"""Seconds: a clock set back by more than this was set anew; by less, it stumbled."""


class Clock:
    """Makes one stream's time stamps rise, changing none that already does.

    A stamp that is missing follows from the one before. One that alone is out of line (a damaged packet) goes where
    its neighbours leave room. Where the clock is set back for good (a spliced broadcast), it goes on from where it
    was and keeps all distances. Small stumbles move to just after the one before.

    Args:
        time_base: seconds a tick.
        step: ticks from one stamp to the next where nothing better is known.
        least: ticks by which stamps rise at least; 0 lets equal ones be.

    Example:
        >>> clock = Clock(Fraction(1, 1000), step=40)
        >>> [clock.settle(a, b) for a, b in with_next([0, 40, 95_000_000, 120, None, 200])]
        [0, 40, 80, 120, 160, 200]
    """

    def __init__(self, time_base: Fraction, step: int, least: int = 1) -> None:
        self._splice = SPLICE / time_base
        self._step = max(1, step)
        self._least = least
        self._last: int | None = None
        self._shift = 0
        self.derived = 0
        """Stamps that were missing."""
        self.moved = 0
        """Stamps that were changed."""

    def settle(self, stamp: int | None, following: int | None = None) -> int:
        """The time for `stamp`; `following` is the next stamp of the stream, where it is known."""
        now = self._place(stamp, following)
        self._last = now
        return now

    def _place(self, stamp: int | None, following: int | None) -> int:
        last = self._last
        if stamp is None:
            self.derived += 1
            return 0 if last is None else last + self._step
        now = stamp + self._shift
        if following is not None and following < stamp:
            after = following + self._shift
            if last is None:
                if now - after > self._splice:
                    self.moved += 1
                    return after - self._step
            elif after > last:
                self.moved += 1
                return max(last + self._least, min(last + self._step, after - 1))
        if last is None or now >= last + self._least:
            return now
        self.moved += 1
        if last - now > self._splice:
            self._shift += last + self._step - now
            return last + self._step
        return last + self._least


def with_next(items: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    """Every item with the one after it, None after the last."""
    held: list[T] = []
    for item in items:
        if held:
            yield held.pop(), item
        held.append(item)
    for item in held:
        yield item, None
