"""A record that is open in a review is changed there, and by nobody else meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from engine.errors import OutputError
from engine.file_lock import locked

PATIENCE = 1.0
"""Seconds to wait for another command, which holds a record for a moment. A review holds it as long as it is open."""


@contextlib.contextmanager
def unreviewed(record: str | os.PathLike[str]) -> Iterator[None]:
    """Keep reviews of a record, and other commands that change it, away.

    Where nothing can be locked beside it, a review cannot hold it either, and notices a change when it saves.

    Raises:
        OutputError: a review of it is open.

    Example:
        >>> with unreviewed("mv.tracks.jsonl"):  # doctest: +SKIP
        ...     correct(Path("mv.tracks.jsonl"), record, verdicts)
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(Path(record), PATIENCE))
        except OutputError as error:
            if not isinstance(error.__cause__, OSError):
                raise OutputError(
                    f"{os.fspath(record)}: a review of it is open; correct it there, or end that review first"
                ) from None
        yield


def check_unreviewed(record: str | os.PathLike[str]) -> None:
    """Refuse to replace a record that is open in a review, before any work is done.

    Raises:
        OutputError: it is.
    """
    with unreviewed(record):
        pass
