"""An output of a feed that cannot harm the feed: when it fails it is closed, left out, and its failure told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from engine.errors import IznetError
from stream.frames import TrackVerdict
from stream.live.outputs import Continuous, Health, Output, Reported, Seen

log = logging.getLogger(__name__)


class Outlet:
    """Hands what is seen to one output for as long as that works.

    Args:
        output: whatever of `IznetError` it raises is its failure; anything else is a bug and goes on up.

    Example:
        >>> outlet = Outlet(Record("a.tracks.jsonl", header))               # doctest: +SKIP
        >>> outlet.frame(seen)                                              # doctest: +SKIP
        >>> outlet.health                                                   # doctest: +SKIP
        Health(name='a.tracks.jsonl', state='failed', problem='cannot write a.tracks.jsonl: No space left on device')
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.health = output.health if isinstance(output, Reported) else Health(type(output).__name__)
        self._closed = False
        self._begun = False

    @property
    def state(self) -> Literal["not begun", "on", "waiting", "failed"]:
        """Nothing has been seen yet · working · lost for now and asked for again · given up."""
        return self.health.state if self._begun or self.health.state != "on" else "not begun"

    @property
    def up(self) -> bool:
        """Whether it takes what is seen: something has been, and it works."""
        return self.state == "on"

    @property
    def reported(self) -> bool:
        """Whether people are to hear of it."""
        return isinstance(self.output, Reported) or self.failed

    @property
    def failed(self) -> bool:
        """Whether it is left out for good."""
        return self.health.state == "failed"

    @property
    def draws(self) -> bool:
        """Whether it wants boxes and names in the picture now."""
        return not self._closed and self.output.draws

    def frame(self, seen: Seen) -> None:
        """The next frame."""
        self._begun = True
        self._try(lambda: self.output.frame(seen))

    def between(self, seen: Seen) -> None:
        """A frame without anybody looked for on it, for outputs that show all there is."""
        output = self.output
        if isinstance(output, Continuous):
            self._try(lambda: output.between(seen))

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        """Tracks that have ended."""
        self._try(lambda: self.output.over(verdicts))

    def close(self, dropped: Mapping[str, int]) -> None:
        """The run is over."""
        if not self._closed:
            self._try(lambda: self.output.close(dropped))
            self._closed = True

    def _try(self, step: Callable[[], None]) -> None:
        if self._closed:
            return
        try:
            step()
        except IznetError as failure:
            self._closed = True
            self.health.state, self.health.problem = "failed", str(failure)
            facts = {"event": "output", "output": self.health.name, "state": "failed", "problem": str(failure)}
            log.error("%s", failure, extra=facts)
            with suppress(IznetError):  # it is the same again
                self.output.close({})
