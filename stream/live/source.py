"""Reading one feed: a connection, and the thread that keeps one up.

`connect` opens a feed and gives its pictures as they arrive until it ends or breaks. `Reader` does so for ever in a
thread of its own, reads everything that comes whether anybody wants it or not - a reader that waits makes a camera
drop it - and after every break tries again as its `Backoff` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import av
import av.error
from av.codec.context import Flags
from av.video.stream import VideoStream

from engine.errors import InputError, IznetError
from stream.live.address import Address
from stream.live.reconnect import Backoff
from stream.live.timeline import TICK, Timeline
from stream.probe import fraction

State = Literal["connecting", "live", "waiting", "ended", "failed"]
"""What a reader is doing: opening · pictures arrive · waiting to try again · nothing more comes · given up."""

_REMEMBERED = 256
"""Packets whose arrival is remembered until their picture comes out of the decoder."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A decoded picture and when its packet came."""

    picture: av.VideoFrame
    arrived: float
    """Seconds of the monotonic clock."""
    seconds: float | None
    """The feed's own stamp."""


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


class Lost(IznetError):
    """A feed that cannot be opened, broke, or stalled; the message holds no secret."""

    exit_code = InputError.exit_code


class Connect(Protocol):
    """Opens a feed and gives its pictures; `refused` counts packets that cannot be decoded."""

    def __call__(self, address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]: ...


def connect(address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]:
    """The pictures of a feed from now on, until it ends.

    Args:
        address: where.
        timeout: seconds without any data after which it counts as broken.
        refused: called for every packet that the decoder cannot use.

    Raises:
        Lost: it cannot be opened, or breaks, or stalls.
    """
    try:
        container = av.open(
            address.target, format=address.format, options=dict(address.options), timeout=(timeout, timeout)
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Lost(_words(address, "cannot be opened", error)) from None
    with container:
        if not container.streams.video:
            raise Lost(f"{address.shown} holds no pictures")
        stream: VideoStream = container.streams.video[0]
        context = stream.codec_context
        # Frames in parallel would each wait for the next ones.
        context.thread_type = "SLICE"
        context.flags |= int(Flags.low_delay)
        base = fraction(stream.time_base) or TICK
        arrivals: dict[int, float] = {}
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise Lost(_words(address, "broke", error)) from None
            if packet is None:
                return
            now = time.monotonic()
            if packet.pts is not None:
                arrivals[packet.pts] = now
                if len(arrivals) > _REMEMBERED:
                    del arrivals[next(iter(arrivals))]
            try:
                pictures = context.decode(packet)
            except av.error.FFmpegError:
                refused()
                continue
            for picture in pictures:
                stamp = picture.pts
                seconds = None if stamp is None else float(stamp * (fraction(picture.time_base) or base))
                yield Arrival(picture, now if stamp is None else arrivals.pop(stamp, now), seconds)


def paced(
    arrivals: Iterator[Arrival], wait: Callable[[float], object], clock: Callable[[], float] = time.monotonic
) -> Iterator[Arrival]:
    """The pictures of something that can be read at any speed, each at its time; it arrives when it is given out.

    `wait` is called with the seconds to sleep, `clock` says what time it is, seconds.
    """
    start: tuple[float, float] | None = None
    for arrival in arrivals:
        if arrival.seconds is None:
            yield arrival
            continue
        now = clock()
        if start is None:
            yield Arrival(arrival.picture, now, arrival.seconds)
            start = clock(), arrival.seconds  # whoever takes the first one may need a while to make ready
            continue
        due = start[0] + arrival.seconds - start[1]
        if due > now:
            wait(due - now)
        yield Arrival(arrival.picture, max(now, due), arrival.seconds)


def _words(address: Address, what: str, error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return f"{address.shown} stalled: nothing came within the timeout"
    reason = getattr(error, "strerror", None) or str(error)
    return f"{address.shown} {what}: {address.clean(str(reason)).strip()}"


class Reader:
    """Keeps one feed coming, in a thread.

    Args:
        address: the feed.
        began: when the run did, seconds of the monotonic clock.
        take: gets every picture, in the reader's thread; must not block.
        lost: called when a connection is over, before anything of the next one comes.
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
        timeout: float = 5.0,
        backoff: Backoff | None = None,
        opens: Connect = connect,
    ) -> None:
        self.address = address
        self.state: State = "connecting"
        self.problem: str | None = None
        """Why the latest connection ended, without secrets."""
        self.connections = 0
        """How many times pictures began to arrive."""
        self.refused = 0
        """Packets that could not be decoded."""
        self._line = Timeline(began)
        self._take = take
        self._lost = lost
        self._timeout = timeout
        self._backoff = backoff or Backoff(seed=address.name)
        self._opens = opens
        self._segment = 0
        self._shape: tuple[object, ...] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"iznet-read {address.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """End; waits at most so long for the thread, which may hang in a read of the network until its timeout."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._keep_up()
        except BaseException as failure:  # a bug: the run has to hear of it, not only stderr
            self.problem = f"{type(failure).__name__}: {self.address.clean(str(failure))}"
            self.state = "failed"
            self._lost()
            raise

    def _keep_up(self) -> None:
        while not self._stop.is_set():
            self.state = "connecting"
            self.problem = self._read()
            if self._stop.is_set():
                break
            if self.address.paced:  # over; what was read last can still be analysed
                self.state = "ended" if self.problem is None else "failed"
                return
            self._line.breaks()
            self._lost()
            wait = self._backoff.failed()
            if wait is None:
                self.state = "failed"
                return
            self.state = "waiting"
            self._stop.wait(wait)
        self.state = "ended"

    def _read(self) -> str | None:
        """Read until the end; what was wrong, None where it simply ended."""
        try:
            with closing(self._pictures()) as arrivals:
                for arrival in arrivals:
                    if self._stop.is_set():
                        return None
                    if self.state != "live":
                        self.state = "live"
                        self.connections += 1
                        self._backoff.succeeded()
                    self._take(self._placed(arrival))
        except Lost as loss:
            return str(loss)
        return None if self.address.paced else f"{self.address.shown} ended"

    def _pictures(self) -> Any:
        arrivals = self._opens(self.address, self._timeout, self._refuse)
        return paced(arrivals, self._stop.wait) if self.address.paced else arrivals

    def _refuse(self) -> None:
        self.refused += 1

    def _placed(self, arrival: Arrival) -> Fresh:
        picture = arrival.picture
        place = self._line.place(arrival.seconds, arrival.arrived)
        shape = (picture.width, picture.height, picture.format.name, picture.rotation)
        if place.broken or shape != self._shape:
            self._shape = shape
            self._segment += 1
        return Fresh(picture, arrival.arrived, place.pts, self._segment)
