"""The live picture over WebRTC (aiortc), always the freshest: what a slow connection has no time for is left out.

The two ends find each other without any server of others'. The library listens for that on every network address of
this computer, wherever the page itself is served, and answers nobody but those to whom the page gave the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from engine.errors import InputError
from stream.live.screen import Screen

CLOCK = 90_000
"""Ticks a second of a picture's time, as RTP counts them."""
LOOK = 0.01
"""Seconds between two looks whether there is a newer picture."""
MOST = 16
"""Connections at a time."""
PATIENCE = 30.0
"""Seconds in which a connection has to come about."""
GRACE = 3.0
"""Seconds in which somebody who has left may be back."""


class FreshestTrack(MediaStreamTrack):
    """The pictures of a screen for one connection. Each is asked for when the one before has been encoded, so nothing
    waits in between: the newest is given, and older ones never.

    Args:
        screen: whose pictures; counts as one more viewer from the first one on until `stop`.

    Example:
        >>> picture = await FreshestTrack(screen).recv()                    # doctest: +SKIP
    """

    kind = "video"

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen
        self._number = 0
        self._began = 0.0

    async def recv(self) -> av.VideoFrame:
        """The next picture that is newer than the last.

        Raises:
            MediaStreamError: the track was stopped.
        """
        if not self._began:
            self._began = time.monotonic()
            self._screen.viewers += 1
        while self.readyState == "live":
            newer = await asyncio.to_thread(self._screen.frame_after, self._number)
            if newer is not None:
                self._number, picture = newer
                picture.pts = round((time.monotonic() - self._began) * CLOCK)
                picture.time_base = Fraction(1, CLOCK)
                return picture
            await asyncio.sleep(LOOK)
        raise MediaStreamError

    def stop(self) -> None:
        if self.readyState == "live" and self._began:
            self._screen.viewers -= 1
        super().stop()


@dataclass(frozen=True, slots=True)
class _Connection:
    track: FreshestTrack
    visit: str


class Peers:
    """The connections of a page, by visits: one is whoever has the page open, once. Browsers take their leave silently,
    and it shows first in what else they keep open; that is told by `came` and `left`.

    All of it is called in the event loop.
    """

    def __init__(self) -> None:
        self._open: dict[RTCPeerConnection, _Connection] = {}
        self._here: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def came(self, visit: str) -> None:
        """Somebody is there, or again."""
        self._here[visit] += 1

    def left(self, visit: str) -> None:
        """Somebody is gone; unless they are back soon, so are their connections."""
        self._here[visit] -= 1
        self._later(GRACE, lambda peer: self._open[peer].visit == visit and self._here[visit] <= 0)

    async def answer(self, offer: str, screen: Screen, visit: str = "") -> str:
        """Agree with a browser's offer (SDP) to send it a screen's pictures; returns the answer.

        Nobody else is asked how the two find each other: no server of others' is involved.

        Raises:
            InputError: it is no offer to take a picture, or there are too many connections.
        """
        if len(self._open) >= MOST:
            raise InputError(f"{MOST} connections are open, which are the most")
        # Servers have to be none: the library would take one on the internet otherwise.
        peer, track = RTCPeerConnection(RTCConfiguration(iceServers=[])), FreshestTrack(screen)
        self._open[peer] = _Connection(track, visit)

        @peer.on("connectionstatechange")
        async def changed() -> None:
            if peer.connectionState in ("failed", "closed"):
                await self._close(peer)

        try:
            await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            if not any(each.kind == "video" for each in peer.getTransceivers()):
                raise ValueError("there is no picture in it")
            peer.addTrack(track)
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:  # whatever the library thinks of a text from outside
            await self._close(peer)
            raise InputError(f"that is no offer that can be answered ({type(error).__name__})") from error
        # Who has not found the way to us by then will not find it.
        self._later(PATIENCE, lambda other: other is peer and peer.connectionState != "connected")
        return peer.localDescription.sdp

    async def close(self) -> None:
        """Close all."""
        for task in list(self._waiting):
            task.cancel()
        for peer in list(self._open):
            await self._close(peer)

    def _later(self, seconds: float, over: Callable[[RTCPeerConnection], bool]) -> None:
        """Close, in a while, the connections that are over by then."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            for peer in [peer for peer in self._open if over(peer)]:
                await self._close(peer)
            self._here = +self._here

        self._waiting.add(task := asyncio.create_task(wait()))
        task.add_done_callback(self._waiting.discard)

    async def _close(self, peer: RTCPeerConnection) -> None:
        connection = self._open.pop(peer, None)
        if connection is not None:
            connection.track.stop()
            with contextlib.suppress(ConnectionError):
                await peer.close()
