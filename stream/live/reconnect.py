"""When to try again after a feed was lost. Pure: it tells how long to wait and never waits."""

from __future__ import annotations

import random


class Backoff:
    """Waiting times that double from one failure to the next, up to a longest one, each moved by chance: cameras that
    went down together do not come back asking together (exponential backoff with jitter).

    Args:
        retries: how many attempts in a row may fail before it is given up; None for ever.
        first: seconds before the first attempt.
        longest: seconds that no wait exceeds.
        jitter: part of a wait that chance may take away, 0…1.
        seed: of the chance; the same seed gives the same waits.

    Example:
        >>> backoff = Backoff(retries=3, jitter=0.0)
        >>> [backoff.failed(), backoff.failed(), backoff.failed(), backoff.failed()]
        [0.5, 1.0, 2.0, None]
        >>> backoff.succeeded()
        >>> backoff.failed()
        0.5
    """

    def __init__(
        self,
        retries: int | None = None,
        *,
        first: float = 0.5,
        longest: float = 30.0,
        jitter: float = 0.5,
        seed: int | str = 0,
    ) -> None:
        if retries is not None and retries < 0:
            raise ValueError(f"retries cannot be negative, got {retries = }")
        if not 0 < first <= longest or not 0 <= jitter <= 1:
            raise ValueError(f"want 0 < first ≤ longest and 0 ≤ jitter ≤ 1, got {first = } {longest = } {jitter = }")
        self._retries = retries
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._chance = random.Random(seed)
        self._failures = 0

    def failed(self) -> float | None:
        """Seconds to wait before the next attempt; None when it is given up."""
        if self._retries is not None and self._failures >= self._retries:
            return None
        wait = self._longest
        if self._failures < 64:  # beyond, the power alone would be a number too large
            wait = min(self._longest, self._first * 2.0**self._failures)
        self._failures += 1
        return wait * (1.0 - self._jitter * self._chance.random())

    def succeeded(self) -> None:
        """It was up for a while: the next failure is the first again."""
        self._failures = 0
