"""Keeping one feed coming: the thread that reads it, whatever happens to it.

`Reader` reads everything that comes, whether anybody wants it or not - a reader that waits makes a camera drop it - and
after every break tries again as its `Backoff` says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal

import av

from stream.live.address import Address
from stream.live.reconnect import Backoff
from stream.live.source import Arrival, Connect, Lost, connect
from stream.live.timeline import Timeline
from stream.pictures import coarse_rgb
from stream.shots import GRID, ShotDetector, glance

log = logging.getLogger(__name__)

State = Literal["connecting", "live", "waiting", "ended", "failed"]
"""What a reader is doing: opening · pictures arrive · waiting to try again · nothing more comes · given up."""

STEADY = 2.0
"""Seconds of pictures after which a connection counts as a success: one that breaks at once is another failure."""
LAG = 1.0
"""Seconds that what can be read at any speed may be late before its time is set anew."""
SPLICE = 10.0
"""Seconds from one stamp to the next that are no pause, but another clock."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A picture with its place in the run."""

    picture: av.VideoFrame
    arrived: float
    """Seconds of the monotonic clock."""
    pts: int
    """Ticks of `stream.live.timeline.TICK` since the run began."""
    segment: int
    """Pictures of one segment belong together; tracks end where it changes."""


def paced(
    arrivals: Iterator[Arrival],
    wait: Callable[[float], object],
    ready: Callable[[av.VideoFrame], object] = lambda picture: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Arrival]:
    """The pictures of a feed, those that were pulled each at its time; it arrives when it is given out.

    `wait` is called with the seconds to sleep, `clock` says what time it is, seconds. Time begins when `ready` has
    returned, which is called with the first picture.
    """
    start: float | None = None
    for arrival in arrivals:
        if not arrival.pulled or arrival.seconds is None:
            yield arrival
            continue
        if start is None:
            ready(arrival.picture)
        now = clock()
        early = 0.0 if start is None else start + arrival.seconds - now
        if start is None or not -LAG <= early <= SPLICE:
            start, early = now - arrival.seconds, 0.0
        if early > 0:
            wait(early)
        yield replace(arrival, arrived=now + max(0.0, early))


class Reader:
    """Keeps one feed coming, in a thread.

    Args:
        address: the feed.
        began: when the run did, seconds of the monotonic clock.
        take: gets every picture, in the reader's thread; must not block.
        lost: called when a connection is over, before anything of the next one comes.
        ready: called with the first picture of what can be read at any speed, whose time begins when it returns.
        timeout: seconds without data after which a feed counts as stalled.
        backoff: when to try again.
        opens: how a feed is opened.
    """

    def __init__(
        self,
        address: Address,
        *,
        began: float,
        take: Callable[[Fresh], None],
        lost: Callable[[], None],
        ready: Callable[[av.VideoFrame], object] = lambda picture: None,
        timeout: float = 5.0,
        backoff: Backoff | None = None,
        opens: Connect = connect,
    ) -> None:
        self.address = address
        self.state: State = "connecting"
        """Changed by `_turn_to` only."""
        self.problem: str | None = None
        """Why the latest connection ended, without secrets."""
        self.connections = 0
        """How many times pictures began to arrive."""
        self.refused = 0
        """Packets that could not be decoded."""
        self._line = Timeline(began)
        self._take = take
        self._lost = lost
        self._ready = ready
        self._timeout = timeout
        self._backoff = backoff or Backoff(seed=address.name)
        self._opens = opens
        self._segment = 0
        self._shape: tuple[object, ...] | None = None
        self._shots = ShotDetector(delay=0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"iznet-read {address.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def leave(self) -> None:
        """Come to an end, without waiting for it."""
        self._stop.set()

    def stop(self, seconds: float = 1.0) -> None:
        """End; waits at most so long for the thread, which may hang in a read of the network until its timeout."""
        self.leave()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._keep_up()
        except BaseException as failure:  # a bug: the run has to hear of it, not only stderr
            self.problem = f"{type(failure).__name__}: {self.address.clean(str(failure))}"
            self._turn_to("failed")
            self._lost()
            raise

    def _keep_up(self) -> None:
        while not self._stop.is_set():
            self._turn_to("connecting")
            self.problem = self._read()
            if self.problem is None:  # over; what was read last can still be analysed
                break
            if self.address.paced:  # what is on this computer and cannot be read now cannot be read later
                self._turn_to("failed")
                return
            self._line.breaks()
            self._lost()
            wait = self._backoff.failed()
            if wait is None:
                self._turn_to("failed")
                return
            self._turn_to("waiting")
            self._stop.wait(wait)
        self._turn_to("ended")

    def _turn_to(self, state: State) -> None:
        self.state = state
        problem = self.problem if state in ("waiting", "failed") else None
        level = {"waiting": logging.WARNING, "failed": logging.ERROR}.get(state, logging.INFO)
        facts = {"event": "source", "camera": self.address.name, "state": state, "problem": problem}
        log.log(level, "%s: %s%s", self.address.name, state, f": {problem}" if problem else "", extra=facts)

    def _read(self) -> str | None:
        """Read until the end; what was wrong, None where it is over or was stopped."""
        first: float | None = None
        try:
            with closing(self._pictures()) as arrivals:
                for arrival in arrivals:
                    if self._stop.is_set():
                        return None
                    if first is None:
                        first = arrival.arrived
                        self.connections += 1
                        self._turn_to("live")
                    if arrival.arrived - first >= STEADY:
                        self._backoff.succeeded()
                    self._take(self._placed(arrival))
        except Lost as loss:
            return None if self._stop.is_set() else str(loss)
        return None

    def _pictures(self) -> Any:
        return paced(self._opens(self.address, self._timeout, self._refuse), self._stop.wait, self._ready)

    def _refuse(self) -> None:
        self.refused += 1

    def _placed(self, arrival: Arrival) -> Fresh:
        picture = arrival.picture
        place = self._line.place(arrival.seconds, arrival.arrived)
        shape = (picture.width, picture.height, picture.format.name, picture.rotation)
        apart = place.broken or shape != self._shape
        if apart:
            self._shots = ShotDetector(delay=0)
        # Here, where every picture comes by: between two that are far apart, somebody who walks looks like a cut.
        (cut,) = self._shots.push(glance(coarse_rgb(picture, *GRID)))
        if apart or cut:
            self._shape = shape
            self._segment += 1
        return Fresh(picture, arrival.arrived, place.pts, self._segment)
