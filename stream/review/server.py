"""The page of a review and what it asks for: the record, the video, single frames, corrections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from stream.live.guard import Guard
from stream.live.serving import PageFiles, body_of, guarded, text, truth, whole
from stream.review.corrections import NeedsConsent
from stream.review.review import Review

PAGE = Path(__file__).with_name("page")
TICK = 0.25
"""Seconds between two looks whether there is something to tell a page."""
BEAT = 12
"""Looks after which it is told again: a page takes silence for a connection that is lost."""


class ReviewPage:
    """The ASGI application.

    Args:
        review: what is reviewed.
        guard: who may talk to it.
    """

    def __init__(self, review: Review, guard: Guard) -> None:
        self.ending = False
        """Set when the server is about to end: what goes on for ever stops."""
        self._review = review
        files = PageFiles(PAGE, ("review.js", "overlay.js", "player.js", "review.css"), guard)
        routes = [
            Route("/", files.index),
            Route("/scenes", self._scenes),
            Route("/state", self._state),
            Route("/events", self._events),
            Route("/video", self._video),
            Route("/frames/{index:int}.jpg", self._frame),
            Route("/tracks/{track:int}.jpg", self._face),
            Route("/names", self._name, methods=["POST"]),
            Route("/undo", self._undo, methods=["POST"]),
            Route("/redo", self._redo, methods=["POST"]),
            Route("/save", self._save, methods=["POST"]),
            Route("/discard", self._discard, methods=["POST"]),
            Route("/render", self._render, methods=["POST"]),
            Route("/stop", self._stop, methods=["POST"]),
            Route("/healthz", self._healthy),
            Route("/{name:str}", files.file),
        ]
        self.app: ASGIApp = guarded(routes, guard, review.run, {NeedsConsent: _ask})

    async def _scenes(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._review.scenes))

    async def _state(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._review.state))

    async def _events(self, request: Request) -> Response:
        async def messages() -> AsyncIterator[bytes]:
            told, quiet = None, 0
            while not self.ending and not await request.is_disconnected():
                rendering = self._review.rendering
                news = {
                    "run": self._review.run,
                    "version": self._review.version,
                    "rendering": rendering.as_dict() if rendering is not None else None,
                }
                quiet += 1
                if news != told or quiet >= BEAT:
                    told, quiet = news, 0
                    yield f"data: {json.dumps(news, ensure_ascii=False)}\n\n".encode()
                await asyncio.sleep(TICK)

        return StreamingResponse(messages(), media_type="text/event-stream")

    async def _video(self, request: Request) -> Response:
        if not self._review.video.is_file():
            return PlainTextResponse("the video is not there any more\n", 404)
        return FileResponse(self._review.video)

    async def _frame(self, request: Request) -> Response:
        picture = await run_in_threadpool(self._review.stills.frame, request.path_params["index"])
        return Response(picture, media_type="image/jpeg")

    async def _face(self, request: Request) -> Response:
        picture = await run_in_threadpool(self._review.stills.face, request.path_params["track"])
        return Response(picture, media_type="image/jpeg")

    async def _name(self, request: Request) -> Response:
        asked = await body_of(request)
        track, name = whole(asked, "track"), None if asked.get("name") is None else text(asked, "name")
        flags = {key: truth(asked, key) for key in ("everywhere", "new", "displace", "learn")}
        return await self._answer(lambda: self._review.name(track, name, **flags))

    async def _undo(self, request: Request) -> Response:
        number = whole(await body_of(request), "number")
        return await self._answer(lambda: self._review.undo(number))

    async def _redo(self, request: Request) -> Response:
        number = whole(await body_of(request), "number")
        return await self._answer(lambda: self._review.redo(number))

    async def _save(self, request: Request) -> Response:
        await body_of(request)
        return await self._answer(self._review.save)

    async def _discard(self, request: Request) -> Response:
        await body_of(request)
        return await self._answer(self._review.discard)

    async def _render(self, request: Request) -> Response:
        replace = truth(await body_of(request), "replace")
        return await self._answer(lambda: self._review.render(replace=replace))

    async def _stop(self, request: Request) -> Response:
        await body_of(request)
        return await self._answer(self._review.stop)

    async def _answer(self, do: Any) -> Response:
        """Do it, and tell the page all that may be different now."""
        await run_in_threadpool(do)
        return JSONResponse(await run_in_threadpool(self._review.state))

    async def _healthy(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")


async def _ask(request: Request, error: Exception) -> Response:
    """What would happen, and what has to be said for it to happen."""
    assert isinstance(error, NeedsConsent)
    return JSONResponse({"error": str(error), "consent": error.consent}, 409)
