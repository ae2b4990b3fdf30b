"""What every page of ours is served by: a thread with an ASGI server, files, and JSON that is asked and answered."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, ExceptionHandler, Lifespan

from engine.errors import InputError, IznetError, OutputError, UsageError
from stream.live.guard import Door, Guard, Place, cookie_at

SHARED = Path(__file__).with_name("page")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

BACKLOG = 64
"""Connections that may wait to be taken."""


class Application(Protocol):
    """What can be served."""

    app: ASGIApp
    ending: bool
    """Set when the server is about to end: what goes on for ever stops."""


def bound(place: Place) -> socket.socket:
    """A socket that has the address, before there is anything to serve.

    Raises:
        OutputError: the address is taken, not ours, or needs more rights.
    """
    made = socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((place.host, place.port))
        made.listen(BACKLOG)  # from here on nobody is turned away, even before the server is ready
    except OSError as error:
        made.close()
        raise OutputError(
            f"cannot serve on {place.host}:{place.port} ({error.strerror}); choose another --serve HOST:PORT"
        ) from error
    return made


def reachable(host: str) -> str:
    """Where others find what listens on `host`: for all addresses of this computer, the one that it has towards the
    network, or loopback where there is none.

    Example:
        >>> reachable("10.0.0.7")
        '10.0.0.7'
    """
    elsewhere = {"0.0.0.0": ("192.0.2.1", "127.0.0.1"), "::": ("2001:db8::1", "::1")}  # kept for examples
    if host not in elsewhere:
        return host
    far, loopback = elsewhere[host]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((far, 9))  # sends nothing: the system only chooses the way
        except OSError:
            return loopback
        found: str = asking.getsockname()[0]
        return found


class Server:
    """Serves a page in a thread of its own; `listening` is what `bound` gave for the place, if it was asked before.

    Raises:
        OutputError: as `bound`.

    Example:
        >>> with Server(page, Place.parse("8080")) as server:               # doctest: +SKIP
        ...     print(server.url)
    """

    def __init__(self, page: Application, place: Place, listening: socket.socket | None = None) -> None:
        self._page = page
        self._socket = listening or bound(place)
        port = self._socket.getsockname()[1]
        host = reachable(place.host)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                page.app,
                log_level="critical",
                access_log=False,
                lifespan="on",
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


class PageFiles:
    """The files of a page: its own, and those that all pages share.

    Args:
        folder: holds `index.html` and the page's own files.
        names: of those that are served; nothing else is read from the disk.
        guard: looks at a token in the address of the page itself.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], guard: Guard) -> None:
        self._guard = guard
        self._files = {name: SHARED / name for name in ("style.css", "shared.js", "icon.svg")}
        self._files |= {name: folder / name for name in names}
        self._index = folder / "index.html"

    async def index(self, request: Request) -> Response:
        """The page itself. A token in its address becomes a cookie."""
        token = request.query_params.get("token")
        if token is None:
            return _file(self._index)
        if not self._guard.admits(token):
            return PlainTextResponse("that is not the token\n", 401)
        # Out of the address, where it would stay in the history.
        answer = RedirectResponse("/", 303)
        answer.set_cookie(cookie_at(request.headers.get("host", "")), token, httponly=True, samesite="strict", path="/")
        return answer

    async def file(self, request: Request) -> Response:
        """A file of the page, by `name` in the path."""
        path = self._files.get(request.path_params["name"])
        return _file(path) if path is not None else PlainTextResponse("there is no such page\n", 404)


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=f"{KINDS[path.suffix]}; charset=utf-8")


def guarded(
    routes: Sequence[Route],
    guard: Guard,
    run: str,
    handlers: Mapping[Any, ExceptionHandler] | None = None,
    lifespan: Lifespan[Starlette] | None = None,
) -> ASGIApp:
    """An application behind its door: errors of ours are told in words, and no path is corrected into another. Changes
    are taken from pages of this `run` alone."""
    app = Starlette(
        routes=list(routes), exception_handlers={IznetError: refuse} | dict(handlers or {}), lifespan=lifespan
    )
    app.router.redirect_slashes = False
    return Door(app, guard, run)


async def refuse(request: Request, error: Exception) -> Response:
    """Why something cannot be done, in words."""
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError | UsageError) else 500)


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that was sent.

    Raises:
        InputError: it is none.
    """
    try:
        data = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON") from None
    if not isinstance(data, dict):
        raise InputError("the request is not a JSON object")
    return data


def whole(data: Mapping[str, Any], key: str) -> int:
    """A whole number of a request.

    Raises:
        InputError: it is none, negative, or far too large.
    """
    value = data.get(key)
    if type(value) is not int or not 0 <= value < 2**31:
        raise InputError(f"{key} has to be a whole number")
    return value


def text(data: Mapping[str, Any], key: str) -> str:
    """A text of a request.

    Raises:
        InputError: it is none.
    """
    value = data.get(key)
    if not isinstance(value, str):
        raise InputError(f"{key} has to be a text")
    return value


def truth(data: Mapping[str, Any], key: str) -> bool:
    """A yes or no of a request; no where nothing is said.

    Raises:
        InputError: it is neither.
    """
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"{key} has to be true or false")
    return value
