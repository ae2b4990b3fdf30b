"""Who has been on screen in the last minutes. Pure: times come from the frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

GAP = 1.0
"""Seconds that somebody may be missed and count as there all the time."""


class LatelySeen:
    """The stays of everybody, as far back as a window reaches.

    Args:
        window: seconds.

    Example:
        >>> lately = LatelySeen(window=60)
        >>> for second in range(3):
        ...     lately.see(["yuri"], float(second))
        >>> lately.stays(now=2.0)
        {'yuri': [(0.0, 2.0)]}
    """

    def __init__(self, window: float = 600.0) -> None:
        self.window = window
        self._stays: dict[str, deque[tuple[float, float]]] = {}

    def see(self, names: Iterable[str], time: float) -> None:
        """These people are on the frame at `time`, seconds; times rise."""
        for name in set(names):
            stays = self._stays.setdefault(name, deque())
            if stays and time - stays[-1][1] <= GAP:
                stays[-1] = stays[-1][0], time
            else:
                stays.append((time, time))

    def stays(self, now: float) -> dict[str, list[tuple[float, float]]]:
        """From and until when, seconds, everybody was there within the window; people in order of first appearance."""
        start = now - self.window
        for name in list(self._stays):
            stays = self._stays[name]
            while stays and stays[0][1] < start:
                stays.popleft()
            if not stays:
                del self._stays[name]
        return {name: [(max(a, start), b) for a, b in stays] for name, stays in self._stays.items()}
