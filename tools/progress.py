"""How far a run is: a bar on a terminal, a plain line every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_EVERY = 5.0
"""Seconds between two plain lines."""


class FrameProgress:
    """Call it with the frames done so far and, where the file says, how many there are.

    Example:
        >>> with FrameProgress("clip.mp4") as progress:  # doctest: +SKIP
        ...     progress(30, 360)
    """

    def __init__(self, title: str, console: Console | None = None, every: float = PLAIN_EVERY) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._every = every
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._started = self._said = time.monotonic()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[state]}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=None, state="starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        state = describe(done, total, now - self._started)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=max(done, total) if total else None, state=state)
        elif now - self._said >= self._every:
            self._said = now
            click.echo(f"{self._title}: {state}", err=True)


def describe(done: int, total: int | None, seconds: float) -> str:
    """Frames, frames a second and time left, in words.

    Example:
        >>> describe(90, 360, 3.0)
        '90 of 360 frames, 30.0 FPS, 0:00:09 left'
        >>> describe(90, None, 3.0)
        '90 frames, 30.0 FPS'
    """
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{done} frames, {rate:.1f} FPS"
    words = f"{done} of {total} frames, {rate:.1f} FPS"
    if rate > 0 and total > done:
        left = round((total - done) / rate)
        words += f", {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
    return words
