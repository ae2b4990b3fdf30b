"""How far a run is: a bar on a terminal, a plain line every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_EVERY = 5.0
"""Seconds between two plain lines."""


class FrameProgress:
    """Call it with the frames done so far and, where the file says, how many there are. `quiet` says nothing.

    Example:
        >>> with FrameProgress("clip.mp4") as progress:  # doctest: +SKIP
        ...     progress(30, 360)
    """

    def __init__(
        self, title: str, console: Console | None = None, every: float = PLAIN_EVERY, *, quiet: bool = False
    ) -> None:
        self._title = title
        self._quiet = quiet
        self._console = console or Console(stderr=True)
        self._every = every
        self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._said = time.monotonic()
        if self._console.is_terminal and not self._quiet:
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
        # Counted from the first frame: until that one is out, networks are loaded and the look-ahead fills.
        if self._first is None:
            self._first = now, done
        state = describe(done, total, now - self._first[0], done - self._first[1])
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=max(done, total) if total else None, state=state)
        elif now - self._said >= self._every and not self._quiet:
            self._said = now
            click.echo(f"{self._title}: {state}", err=True)


class StepProgress:
    """A bar for work of several parts: call it with the part, the steps done and how many there are, from any thread.
    Where there is no terminal a line tells each part. `quiet` says nothing.

    Example:
        >>> with StepProgress("detector") as progress:  # doctest: +SKIP
        ...     progress("Building engine", 3, 120)
    """

    def __init__(self, title: str, console: Console | None = None, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._console = console or Console(stderr=True)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, part: str, done: int, total: int) -> None:
        with self._lock:
            if part not in self._tasks:
                self._tasks[part] = TaskID(0)
                if self._bar is not None:
                    self._tasks[part] = self._bar.add_task(f"{self._title}: {part}", total=total)
                elif not self._quiet:
                    click.echo(f"{self._title}: {part}", err=True)
            if self._bar is not None:
                self._bar.update(self._tasks[part], completed=done, total=total)


def describe(done: int, total: int | None, seconds: float, counted: int) -> str:
    """Frames, frames a second and time left, in words; the rate is that of the `counted` frames in `seconds`.

    Example:
        >>> describe(90, 360, 3.0, 90)
        '90 of 360 frames, 30.0 FPS, 0:00:09 left'
        >>> describe(90, None, 3.0, 60)
        '90 frames, 20.0 FPS'
    """
    words = f"{done} of {total} frames" if total else f"{done} frames"
    if seconds <= 0 or counted <= 0:
        return words
    rate = counted / seconds
    words += f", {rate:.1f} FPS"
    if total and total > done:
        left = round((total - done) / rate)
        words += f", {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
    return words
