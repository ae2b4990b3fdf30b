"""A run with its page, fed by a script, for tests of both."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError
from engine.gallery import Gallery
from stream.live.address import Address
from stream.live.guard import Guard, Place
from stream.live.naming import NameDesk
from stream.live.run import Live, LiveSettings
from stream.live.screen import Screen
from stream.live.server import LivePage, Server
from stream.live.source import Arrival
from stream.live.thumbnails import Thumbnails
from tests.stream.asking import ask
from tests.stream.live import feeds

STEP = 0.08
"""Seconds between two pictures."""


@dataclass
class Watched:
    """A run that shows Ann and somebody unknown until it is told to stop."""

    live: Live
    url: str
    gallery: Path | None
    people: list[feeds.People]
    """What the camera sees from now on: the last of them."""
    screen: Screen
    page: LivePage

    @property
    def frames(self) -> int:
        return self.live.cameras[0].room.tally.went

    def ask(
        self, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        return ask(self.url, method, path, data, {"x-iznet": self.page.run} | (headers or {}))

    def state(self) -> Any:
        """What a page is told next."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/events")
            answer = connection.getresponse()
            return json.loads(answer.readline().removeprefix(b"data: "))


@contextlib.contextmanager
def watched(
    detector: Detector,
    embedder: Embedder,
    path: Path | None,
    token: str | None = None,
    name: str = "stage",
    port: int = 0,
) -> Iterator[Watched]:
    """Run it. `path` is where the gallery is; None for a run without one."""
    gallery = Gallery.load(path, embedder) if path is not None else None
    over = threading.Event()
    people: list[feeds.People] = [[feeds.ANN, feeds.SOMEBODY]]

    def opens(address: Address, timeout: float, refused: Any) -> Iterator[Arrival]:
        # A machine that stands still for a second must not end a track: the time of the pictures goes on by steps, and
        # the next one comes when the last was looked at.
        began = time.monotonic()
        for count in itertools.count():
            yield Arrival(feeds.picture(people[-1]), began + count * STEP, None)
            over.wait(STEP)
            while live.cameras[0].room.tally.went <= count and not over.is_set():
                over.wait(0.01)
            if over.is_set():
                return

    screen, little = Screen(), Thumbnails()
    live = Live(
        [Address.parse(f"{name}=rtsp://me:s3cret@h.invalid/1?key=k3y")],
        detector,
        embedder if gallery is not None else None,
        gallery,
        LiveSettings(max_staleness=60, retries=0),
        [[little, screen]],
        opens=opens,
    )
    desk = NameDesk(live, path) if path is not None else None
    page = LivePage(live, [screen], [little], Guard(True, token), desk)
    try:
        with contextlib.suppress(InputError), live, Server(page, Place("127.0.0.1", port)) as server:
            feeds.until(lambda: live.cameras[0].room.tally.went > 0, 60)
            yield Watched(live, server.url, path, people, screen, page)
    finally:
        over.set()
