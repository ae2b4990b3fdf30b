"""A review with its page, for tests of both."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.encoding import EncoderSettings
from stream.live.guard import Guard, Place
from stream.live.serving import Server
from stream.render import render_video
from stream.result import LabelResult
from stream.review.review import Review
from stream.review.server import ReviewPage
from stream.review.teaching import Teacher
from tests.stream.asking import ask


@dataclass
class Served:
    """A review that can be asked."""

    review: Review
    url: str
    path: Path
    """The record."""

    def ask(
        self, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        return ask(self.url, method, path, data, {"x-iznet": self.review.run} | (headers or {}))

    def state(self) -> Any:
        return json.loads(self.ask("GET", "/state")[2])


@contextlib.contextmanager
def served(
    path: Path,
    token: str | None = None,
    people: tuple[str, ...] = (),
    teacher: Callable[[str], Teacher] | None = None,
    port: int = 0,
) -> Iterator[Served]:
    """Serve the review of a record whose video lies beside it."""
    review = Review(path, people=people, teacher=teacher)
    target = path.with_name("mv.labelled.mp4")

    def draw(resume: bool, overwrite: bool, progress: Callable[[int, int | None], None]) -> LabelResult:
        settings = EncoderSettings("x264", "ultrafast")
        return render_video(
            review.video,
            path,
            target,
            encoder=settings,
            overwrite=overwrite,
            progress=progress,
            threads=1,
            resume=resume,
        )

    review.draws(target, draw)
    with review, Server(ReviewPage(review, Guard(True, token)), Place("127.0.0.1", port)) as server:
        yield Served(review, server.url, path)
