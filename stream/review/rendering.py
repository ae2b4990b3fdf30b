"""A copy that is drawn in a thread of its own while somebody watches how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from engine.errors import InterruptedByUser, IznetError
from stream.pipeline import Progress
from stream.result import LabelResult

Render = Callable[[bool, bool, Progress], LabelResult]
"""Makes the copy; told whether it goes on with what is finished of it, whether it may replace a file, and what to call
after every frame. It keeps what was finished when that raises `KeyboardInterrupt`."""
State = Literal["running", "done", "stopped", "failed"]


class Rendering:
    """One copy being made.

    Args:
        render: makes it.
        resume: whether it goes on with what is finished of it.
        overwrite: whether it may replace a file.
    """

    def __init__(self, render: Render, resume: bool, overwrite: bool) -> None:
        self.state: State = "running"
        self.words = ""
        """Why it ended, or what came of it."""
        self.done = 0
        """Frames."""
        self.total: int | None = None
        self.result: LabelResult | None = None
        self.bug: Exception | None = None
        """What nobody foresaw."""
        self._render = render
        self._resume, self._overwrite = resume, overwrite
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="iznet-render", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end after this frame; what was finished is kept as a Ctrl-C keeps it. Waits for that."""
        self._stopping.set()
        self._thread.join()

    def as_dict(self) -> dict[str, Any]:
        """For a page."""
        return {"state": self.state, "words": self.words, "done": self.done, "total": self.total}

    def _run(self) -> None:
        try:
            self.result = result = self._render(self._resume, self._overwrite, self._progress)
        except InterruptedByUser as end:
            self._end("stopped", str(end))
        except IznetError as failure:
            self._end("failed", str(failure))
        except Exception as bug:  # raised by who waits for the end of the review
            self.bug = bug
            self._end("failed", f"a bug: {type(bug).__name__}")
        else:
            self._end("done", f"{result.video} is drawn anew, {result.frames} frames at {result.fps:.0f} a second")

    def _end(self, state: State, words: str) -> None:
        self.words = words
        self.state = state

    def _progress(self, done: int, total: int | None) -> None:
        self.done, self.total = done, total
        if self._stopping.is_set():
            raise KeyboardInterrupt
