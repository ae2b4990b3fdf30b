"""The page of a live run and its doors for machines: pictures, events, names, `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from engine.errors import InputError, IznetError, OutputError
from stream.live.guard import COOKIE, Door, Guard, Place
from stream.live.meter import exposition
from stream.live.naming import Given, NameDesk
from stream.live.report import camera_state, metrics
from stream.live.run import Live
from stream.live.screen import Screen
from stream.live.thumbnails import Thumbnails

T = TypeVar("T")

PAGE = Path(__file__).with_name("page")
FILES = {
    "": ("index.html", "text/html"),
    "style.css": ("style.css", "text/css"),
    "app.js": ("app.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
"""All that is served from the disk, by name."""
TICK = 0.25
"""Seconds between two messages to a page."""
PICTURE_TICK = 0.02
"""Seconds between two looks whether there is a newer picture."""
BOUNDARY = "iznet-picture"


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
        self._live = live
        self._screens = screens
        self._thumbnails = thumbnails
        self._guard = guard
        self._desk = desk
        routes = [
            Route("/", self._index),
            Route("/{name:str}", self._file, name="file"),
            Route("/cameras/{camera:int}/live.mjpg", self._pictures),
            Route("/cameras/{camera:int}/faces/{epoch:int}-{track:int}.jpg", self._face),
            Route("/names", self._name, methods=["POST"]),
            Route("/undo", self._undo, methods=["POST"]),
            Route("/events", self._events),
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthy),
            Route("/readyz", self._ready),
        ]
        # Exact paths first: what is not one of them may be a file of the page.
        routes.sort(key=lambda route: route.name == "file")
        self.app: ASGIApp = Door(Starlette(routes=routes, exception_handlers={IznetError: _refuse}), guard)

    def state(self) -> dict[str, Any]:
        """All that the page shows, except for pictures."""
        latest = self._desk.latest if self._desk is not None else None
        cameras = [
            camera_state(camera, time.monotonic()) | screen.snapshot()
            for camera, screen in zip(self._live.cameras, self._screens, strict=True)
        ]
        gallery = self._live.gallery
        return {
            "cameras": cameras,
            "people": list(gallery.people) if gallery is not None else [],
            "naming": self._desk is not None,
            "undo": _given(latest) if latest is not None else None,
        }

    async def _index(self, request: Request) -> Response:
        token = request.query_params.get("token")
        if token is None:
            return _page_file("")
        if not self._guard.admits(token):
            return PlainTextResponse("that is not the token\n", 401)
        # Out of the address, where it would stay in the history.
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", path="/")
        return answer

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        return _page_file(name) if name and name in FILES else PlainTextResponse("there is no such page\n", 404)

    async def _pictures(self, request: Request) -> Response:
        screen = _of(request, self._screens)
        if screen is None:
            return PlainTextResponse("there is no such camera\n", 404)
        return StreamingResponse(
            self._motion(screen, request), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        )

    async def _motion(self, screen: Screen, request: Request) -> AsyncIterator[bytes]:
        """Pictures as they come; who is slow to take them gets fewer."""
        screen.viewers += 1
        number = 0
        try:
            while not self.ending and not await request.is_disconnected():
                newer = await run_in_threadpool(screen.picture, number)
                if newer is None:
                    await asyncio.sleep(PICTURE_TICK)
                    continue
                number, data = newer
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                yield head.encode() + data + b"\r\n"
        finally:
            screen.viewers -= 1

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
        asked = await _body(request)
        given = await run_in_threadpool(
            self._desk.give,
            _whole(asked, "camera"),
            _whole(asked, "epoch"),
            _whole(asked, "track"),
            _text(asked, "name"),
        )
        return JSONResponse(_given(given))

    async def _undo(self, request: Request) -> Response:
        if self._desk is None:
            raise InputError("no gallery keeps names in this run; start it with -g")
        given = await run_in_threadpool(self._desk.undo, _whole(await _body(request), "number"))
        return JSONResponse(_given(given))

    async def _events(self, request: Request) -> Response:
        async def messages() -> AsyncIterator[bytes]:
            while not self.ending and not await request.is_disconnected():
                state = await run_in_threadpool(self.state)
                yield f"data: {json.dumps(state, ensure_ascii=False)}\n\n".encode()
                await asyncio.sleep(TICK)

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


class Server:
    """Serves a page in a thread of its own.

    Raises:
        OutputError: the address is taken, not ours, or needs more rights.

    Example:
        >>> with Server(page, Place.parse("8080")) as server:               # doctest: +SKIP
        ...     print(server.url)
    """

    def __init__(self, page: LivePage, place: Place) -> None:
        self._page = page
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((place.host, place.port))
        except OSError as error:
            self._socket.close()
            raise OutputError(
                f"cannot serve on {place.host}:{place.port} ({error.strerror}); choose another --serve HOST:PORT"
            ) from error
        port = self._socket.getsockname()[1]
        self.url = f"http://{f'[{place.host}]' if ':' in place.host else place.host}:{port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                page.app,
                log_level="critical",
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=1,
                limit_concurrency=64,
                h11_max_incomplete_event_size=16384,
                ws="none",
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="iznet-serve", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._page.ending = True
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _of(request: Request, each: Sequence[T]) -> T | None:
    """What belongs to the camera that a request is about; None if there is no such camera."""
    number = request.path_params["camera"]
    return each[number] if number < len(each) else None


def _page_file(name: str) -> Response:
    file, kind = FILES[name]
    return Response((PAGE / file).read_bytes(), media_type=f"{kind}; charset=utf-8")


async def _refuse(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 500)


async def _body(request: Request) -> dict[str, Any]:
    try:
        data = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON") from None
    if not isinstance(data, dict):
        raise InputError("the request is not a JSON object")
    return data


def _whole(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    if type(value) is not int or not 0 <= value < 2**31:
        raise InputError(f"{key} has to be a whole number")
    return value


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise InputError(f"{key} has to be a text")
    return value


def _given(given: Given) -> dict[str, Any]:
    return {"number": given.number, "name": given.name, "new": given.new}
