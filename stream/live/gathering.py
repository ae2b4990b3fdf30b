"""Whose frames are looked at next, and together: those that wait when enough of them do, or when the first has waited
long enough. Pure: whoever calls says what waits."""

from __future__ import annotations

from collections.abc import Sequence


class Gatherer:
    """Puts the frames of several cameras together.

    No frame is held back for longer than `wait`, and nobody's for a camera that gives nothing. With more cameras than
    go together they take turns, so that none waits for ever.

    Args:
        most: frames that are looked at together at the most; with one, each is looked at by itself and at once.
        wait: seconds that the first frame is held back at the most, so that those of other cameras can come.

    Example:
        >>> gatherer = Gatherer(most=2, wait=0.005)
        >>> gatherer.due([0.010, None, None], coming=[False, True, False])
        0.015
        >>> gatherer.due([0.013, None, None], coming=[False, True, False])      # a fresher one in its place
        0.015
        >>> gatherer.due([0.013, 0.014, None], coming=[False, False, False])    # all that can come have
        0.01
        >>> gatherer.take([True, True, True]), gatherer.take([True, True, True])
        ([0, 1], [2, 0])
    """

    def __init__(self, most: int = 1, wait: float = 0.0) -> None:
        if most < 1 or not wait >= 0:
            raise ValueError(
                f"frames go together one at least, and wait for no negative time, got {most = }, {wait = }"
            )
        self.most = most
        self.wait = wait
        self._last = -1
        """The camera whose turn was last."""
        self._since: float | None = None
        """When the first of the frames came that wait, or of those that fresher ones of their cameras replaced."""

    def due(self, arrived: Sequence[float | None], coming: Sequence[bool]) -> float | None:
        """When the frames that wait are to be looked at, in the seconds that they arrived by; None if there are none.

        Args:
            arrived: when each camera's frame came, None where none waits.
            coming: from which cameras a frame may come that does not wait yet.
        """
        waiting = [arrival for arrival in arrived if arrival is not None]
        if not waiting:
            self._since = None
            return None
        self._since = min(waiting) if self._since is None else min(self._since, *waiting)
        return self._since + (self.wait if any(coming) and len(waiting) < self.most else 0.0)

    def take(self, waiting: Sequence[bool]) -> list[int]:
        """The cameras whose frames are looked at now, of those where one waits: the first ones after who came last."""
        order = [(self._last + step) % len(waiting) for step in range(1, len(waiting) + 1)]
        taken = [camera for camera in order if waiting[camera]][: self.most]
        if taken:
            self._last = taken[-1]
        if len(taken) == sum(waiting):  # whoever is left behind has waited as long as they have
            self._since = None
        return taken
