"""A record is changed by one at a time: by the review that it is open in, or by a command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from engine.errors import OutputError
from engine.file_lock import locked

PATIENCE = 1.0
"""Seconds to wait for another command, which most hold a record for a moment. A review holds it while it is open."""


@contextlib.contextmanager
def held(record: str | os.PathLike[str]) -> Iterator[str | None]:
    """Keep reviews of a record, and commands that change it, away.

    Gives None, or why nothing can be locked beside the record: then nobody can hold it, and who is about to change it
    has to look whether it still is what it was.

    Raises:
        OutputError: it is held.

    Example:
        >>> with held("mv.tracks.jsonl"):  # doctest: +SKIP
        ...     correct(Path("mv.tracks.jsonl"), record, verdicts)
    """
    with contextlib.ExitStack() as lock:
        why: str | None = None
        try:
            lock.enter_context(locked(Path(record), PATIENCE))
        except OutputError as error:
            if not isinstance(error.__cause__, OSError):
                raise OutputError(
                    f"{os.fspath(record)}: it is open in a review, or another command is changing it; correct it in "
                    "that review, or end that first"
                ) from None
            why = error.__cause__.strerror or str(error.__cause__)
        yield why
