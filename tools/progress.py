"""How far a run is: a bar on a terminal, a plain line every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PLAIN_EVERY = 5.0
"""Seconds between two plain lines."""


class FrameProgress:
    """Call it with the frames done so far and, where the file says, how many there are. `quiet` says nothing.

    Where the frames done begin anew, another pass over the file has begun; of how many `passes` is said.

    Example:
        >>> with FrameProgress("clip.mp4") as progress:  # doctest: +SKIP
        ...     progress(30, 360)
    """

    def __init__(
        self,
        title: str,
        console: Console | None = None,
        every: float = PLAIN_EVERY,
        *,
        quiet: bool = False,
        passes: int = 1,
    ) -> None:
        self._title = title
        self._passes = passes
        self._pass = 1
        self._latest = 0
        self._quiet = quiet
        self._console = console
        self._every = every
        self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._bar: Progress | None = None
        self._task: TaskID

    def __enter__(self) -> Self:
        self._said = time.monotonic()
        if not self._quiet:
            self._bar = _bar(self._console, state=True)
        if self._bar is not None:
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
        if done < self._latest:
            self._first, self._pass = None, self._pass + 1
        if self._first is None:
            self._first = now, done
        self._latest = done
        state = describe(done, total, now - self._first[0], done - self._first[1])
        if self._passes > 1:
            state = f"pass {self._pass} of {self._passes}: {state}"
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
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if not self._quiet:
            self._bar = _bar(self._console)
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, part: str, done: int, total: int) -> None:
        with self._lock:
            if self._bar is not None:
                if part not in self._tasks:
                    self._tasks[part] = self._bar.add_task(f"{self._title}: {part}", total=total)
                self._bar.update(self._tasks[part], completed=done, total=total)
            elif part not in self._said:
                self._said.add(part)
                if not self._quiet:
                    click.echo(f"{self._title}: {part}", err=True)


def _bar(console: Console | None, *, state: bool = False) -> Progress | None:
    """A bar, with room for a `state` in words; none where there is no terminal. Rich takes long to import, and is not
    imported then."""
    if console is None:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console

        console = Console(stderr=True)
    if not console.is_terminal:
        return None
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    words = [TextColumn("{task.fields[state]}", markup=False)] if state else []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *words, TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


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
