"""The page of a live run and its doors for machines: pictures, events, names, `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from engine.errors import InputError
from engine.wording import install
from stream.live.guard import Guard
from stream.live.meter import exposition
from stream.live.naming import Given, NameDesk
from stream.live.report import camera_state, metrics
from stream.live.run import Live
from stream.live.screen import Screen
from stream.live.serving import PageFiles, Server, body_of, guarded, text, whole
from stream.live.thumbnails import Thumbnails

try:
    from stream.live.webrtc import Peers
except ModuleNotFoundError as missing:
    if (missing.name or "").split(".")[0] == "stream":
        raise
    Peers = None  # type: ignore[assignment,misc]  # the page says so, and takes JPEGs

__all__ = ["LivePage", "Peers", "Server"]

T = TypeVar("T")

PAGE = Path(__file__).with_name("page")
TICK = 0.25
"""Seconds between two messages to a page."""
NUMBER = "x-number"
"""The header that says which picture of its camera an answer holds."""
LONGEST_NUMBER = 15
"""Digits."""


class LivePage:
    """The ASGI application.

    Args:
        live: the run.
        screens, thumbnails: one of each a camera; they are among the run's outputs.
        guard: who may talk to it.
        desk: takes names; None where there is no gallery to keep them.
    """

    def __init__(
        self,
        live: Live,
        screens: Sequence[Screen],
        thumbnails: Sequence[Thumbnails],
        guard: Guard,
        desk: NameDesk | None = None,
    ) -> None:
        self.ending = False
        """Set when the server is about to end: what goes on for ever stops."""
        self.run = secrets.token_hex(8)
        """Tells this run from those at the same address before and after it."""
        self._live = live
        self._screens = screens
        self._thumbnails = thumbnails
        self._desk = desk
        self._peers = Peers() if Peers is not None else None
        files = PageFiles(PAGE, ("app.js", "picture.js"), guard)
        routes = [
            Route("/", files.index),
            Route("/cameras/{camera:int}/picture.jpg", self._picture),
            Route("/cameras/{camera:int}/offer", self._offer, methods=["POST"]),
            Route("/cameras/{camera:int}/faces/{epoch:int}-{track:int}.jpg", self._face),
            Route("/names", self._name, methods=["POST"]),
            Route("/undo", self._undo, methods=["POST"]),
            Route("/events", self._events),
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthy),
            Route("/readyz", self._ready),
            Route("/{name:str}", files.file),
        ]
        self.app: ASGIApp = guarded(routes, guard, self.run, lifespan=self._lifespan)

    def state(self) -> dict[str, Any]:
        """All that the page shows, except for pictures."""
        latest = self._desk.latest if self._desk is not None else None
        cameras = [
            camera_state(camera, time.monotonic()) | screen.snapshot()
            for camera, screen in zip(self._live.cameras, self._screens, strict=True)
        ]
        gallery = self._live.gallery
        return {
            "run": self.run,
            "cameras": cameras,
            "people": list(gallery.people) if gallery is not None else [],
            "naming": self._desk is not None,
            "webrtc": self._peers is not None,
            "undo": _given(latest) if latest is not None else None,
        }

    async def _picture(self, request: Request) -> Response:
        """The latest picture, if it is newer than number `after`; at once in any case. A browser has few connections to
        one server, so none is held by what never ends."""
        screen = _of(request, self._screens)
        if screen is None:
            return PlainTextResponse("there is no such camera\n", 404)
        after = request.query_params.get("after", "0")
        if not after.isascii() or not after.isdecimal() or len(after) > LONGEST_NUMBER:
            raise InputError("after has to be a whole number")
        newer = await run_in_threadpool(screen.picture, int(after))
        if newer is None:
            return Response(status_code=204)
        number, data = newer
        return Response(data, media_type="image/jpeg", headers={NUMBER: str(number)})

    async def _offer(self, request: Request) -> Response:
        screen = _of(request, self._screens)
        if screen is None:
            return PlainTextResponse("there is no such camera\n", 404)
        if self._peers is None:
            raise InputError(f"WebRTC is not installed: {install('webrtc')}")
        asked = await body_of(request)
        return JSONResponse({"sdp": await self._peers.answer(text(asked, "sdp"), screen, text(asked, "visit"))})

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        if self._peers is not None:
            await self._peers.close()

    async def _face(self, request: Request) -> Response:
        thumbnails = _of(request, self._thumbnails)
        picture = None
        if thumbnails is not None:
            picture = thumbnails.of(request.path_params["epoch"], request.path_params["track"])
        if picture is None:
            return PlainTextResponse("that face is gone\n", 404)
        return Response(picture, media_type="image/jpeg")

    async def _name(self, request: Request) -> Response:
        if self._desk is None:
            raise InputError("no gallery keeps names in this run; start it with -g")
        asked = await body_of(request)
        given = await run_in_threadpool(
            self._desk.give,
            whole(asked, "camera"),
            whole(asked, "epoch"),
            whole(asked, "track"),
            text(asked, "name"),
        )
        return JSONResponse(_given(given))

    async def _undo(self, request: Request) -> Response:
        if self._desk is None:
            raise InputError("no gallery keeps names in this run; start it with -g")
        given = await run_in_threadpool(self._desk.undo, whole(await body_of(request), "number"))
        return JSONResponse(_given(given))

    async def _events(self, request: Request) -> Response:
        visit = request.query_params.get("visit", "")

        async def messages() -> AsyncIterator[bytes]:
            if self._peers is not None:
                self._peers.came(visit)
            try:
                while not self.ending and not await request.is_disconnected():
                    state = await run_in_threadpool(self.state)
                    yield f"data: {json.dumps(state, ensure_ascii=False)}\n\n".encode()
                    await asyncio.sleep(TICK)
            finally:
                if self._peers is not None:
                    self._peers.left(visit)

        return StreamingResponse(messages(), media_type="text/event-stream")

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(exposition(metrics(self._live)), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _healthy(self, request: Request) -> Response:
        return PlainTextResponse("ok\n") if self._live.alive else PlainTextResponse("the run has ended\n", 503)

    async def _ready(self, request: Request) -> Response:
        waiting = [camera.number for camera in self._live.cameras if camera.reader.state != "live"]
        if waiting:
            return PlainTextResponse(f"{len(waiting)} of {len(self._live.cameras)} sources give no pictures\n", 503)
        return PlainTextResponse("ok\n")


def _of(request: Request, each: Sequence[T]) -> T | None:
    """What belongs to the camera that a request is about; None if there is no such camera."""
    number = request.path_params["camera"]
    return each[number] if number < len(each) else None


def _given(given: Given) -> dict[str, Any]:
    return {"number": given.number, "name": given.name, "new": given.new}
