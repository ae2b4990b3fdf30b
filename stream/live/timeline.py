"""One time for all that comes from a feed, through breaks, restarts and jumps of its own clock. Pure.

A camera's stamps begin anywhere, begin again after every break, and may jump. `Timeline` puts each picture on one line
that began when the run did: within a connection the feed's own distances count, since they are exact; at its start,
and where the stamps leave the time of arrival by more than a second, the arrival does.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

TICK = Fraction(1, 90_000)
"""Seconds a tick: that of MPEG's clocks."""
JUMP = 1.0
"""Seconds by which stamps may leave the arrival before they are taken to have jumped."""
DRIFT = 0.5
"""Seconds from which they are led back, by a thousandth a picture: no two clocks run alike, and that is no jump."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture stands."""

    pts: int
    """Ticks of `TICK` since the run began; strictly rising."""
    broken: bool
    """Whether nothing before it may be followed on to here."""


class Timeline:
    """Places the pictures of one feed.

    Args:
        began: when the run did, seconds of the clock that arrivals are told by.

    Example:
        >>> line = Timeline(began=100.0)
        >>> line.place(seconds=7.00, arrived=101.0), line.place(seconds=7.04, arrived=101.05)
        (Place(pts=90000, broken=True), Place(pts=93600, broken=False))
        >>> line.breaks()
        >>> line.place(seconds=0.00, arrived=103.0)
        Place(pts=270000, broken=True)
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._offset: float | None = None
        """What the stamps have to be moved by; None until the next picture says."""
        self._pts = -1

    def breaks(self) -> None:
        """The connection was lost: what comes next has stamps of its own."""
        self._offset = None

    def place(self, seconds: float | None, arrived: float) -> Place:
        """Where a picture belongs that bears the stamp `seconds` (None for none) and came at `arrived`."""
        since = max(0.0, arrived - self._began)
        stamp = since if seconds is None else seconds
        ahead = 0.0 if self._offset is None else stamp + self._offset - since
        broken = self._offset is None or abs(ahead) > JUMP
        if broken or self._offset is None:
            self._offset = since - stamp
        elif abs(ahead) > DRIFT:
            self._offset -= ahead / 1000
        self._pts = max(self._pts + 1, round((stamp + self._offset) / TICK))
        return Place(self._pts, broken)
