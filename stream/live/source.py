"""Opening one feed: its pictures as they arrive, until it ends or breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import av.error
from av.codec.context import Flags
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from engine.errors import InputError, IznetError
from stream.live.address import Address
from stream.live.timeline import TICK
from stream.probe import for_ffmpeg, fraction

_REMEMBERED = 256
"""Packets whose arrival is remembered until their picture comes out of the decoder."""
_DEVICES = Path("/dev")
_LISTS = ("hls", "dash")
"""Formats that name pieces of video, which are fetched one after another as quickly as the network allows."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A decoded picture and when its packet came."""

    picture: av.VideoFrame
    arrived: float
    """Seconds of the monotonic clock."""
    seconds: float | None
    """The feed's own stamp."""
    pulled: bool = False
    """Whether it came as soon as it was read, and not when it was sent: whoever takes it has to keep the time."""


class Lost(IznetError):
    """A feed that cannot be opened, broke, or stalled; the message holds no secret."""

    exit_code = InputError.exit_code


class Connect(Protocol):
    """Opens a feed and gives its pictures; `refused` counts packets that cannot be decoded. When it returns, the feed
    is over for good; whatever may come back raises `Lost`."""

    def __call__(self, address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]: ...


def connect(address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]:
    """The pictures of a feed from now on, until it is over.

    Files and patterns are over at their end, as are a list of pieces that says so (HLS, DASH) and a video of known
    length on a web server. A stream that just stops is lost.

    Args:
        address: where.
        timeout: seconds without any data after which it counts as broken.
        refused: called for every packet that the decoder cannot use.

    Raises:
        Lost: it cannot be opened, or breaks, or stalls, or stops.
    """
    with _opened(address, timeout) as container:
        stream: VideoStream | None = container.streams.best("video")  # type: ignore[assignment]
        if stream is None:
            raise Lost(f"{address.shown} holds no pictures")
        for other in container.streams:
            if other is not stream:  # of a list with several qualities, only one is fetched
                other.discard = Discard.all
        context = stream.codec_context
        # Frames in parallel would each wait for the next ones.
        context.thread_type = "SLICE"
        context.flags |= int(Flags.low_delay)
        base = fraction(stream.time_base) or TICK
        ends = address.paced or _ends(address, container)
        pulled = ends or container.format.name in _LISTS
        arrivals: dict[int, float] = {}
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise Lost(_words(address, "broke", error)) from None
            if packet is None:
                break
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
                yield Arrival(picture, now if stamp is None else arrivals.pop(stamp, now), seconds, pulled)
        if not ends and container.format.name in _LISTS:
            # The list may have been closed meanwhile, which only a new look at it tells.
            with _opened(address, timeout) as again:
                ends = _ends(address, again)
    if not ends:
        raise Lost(f"{address.shown} ended")


def _opened(address: Address, timeout: float) -> InputContainer:
    target = for_ffmpeg(address.target) if address.kind == "file" else address.target
    try:
        return av.open(target, format=address.format, options=dict(address.options), timeout=(timeout, timeout))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and address.format == "v4l2":
            there = ", ".join(sorted(map(str, _DEVICES.glob("video*")))) or "none"
            raise Lost(f"{address.shown}: there is no webcam at {address.target}; there are: {there}") from None
        raise Lost(_words(address, "cannot be opened", error)) from None


def _ends(address: Address, container: InputContainer) -> bool:
    """Whether this is all that will ever come: its length is known. That of an RTSP stream is the server's business,
    which may be playing a file in a loop."""
    on_the_web = address.target.lower().startswith(("http://", "https://"))
    return on_the_web and container.duration is not None


def _words(address: Address, what: str, error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return f"{address.shown} stalled: nothing came within the timeout"
    reason = getattr(error, "strerror", None) or str(error)
    return f"{address.shown} {what}: {address.clean(str(reason)).strip()}"
