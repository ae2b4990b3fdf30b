"""What a long run says while it goes on: lines for people on stderr, JSON lines for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler

from engine.errors import OutputError

LOGGER = "stream.live"
FACTS = ("event", "camera", "output", "state", "problem", "report")
"""What a line may hold besides time, level and words."""


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `message`, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= {name: value for name in FACTS if (value := getattr(record, name, None)) is not None}
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def run_log(place: str | None, *, quiet: bool) -> Iterator[logging.Logger]:
    """Let a run say what happens while this lasts.

    Args:
        place: of the JSON lines: a file, which is appended to and may be moved away meanwhile, or `-` for stderr; None
            for none.
        quiet: whether people are told nothing on stderr.

    Raises:
        OutputError: the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if place is not None and place != "-":
        try:
            handlers.append(WatchedFileHandler(place, encoding="utf-8"))
        except OSError as error:
            raise OutputError(f"cannot write {place}: {error.strerror}") from error
    if place == "-":
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(JsonLines())
    if not quiet and place != "-":
        said = logging.StreamHandler(sys.stderr)
        said.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        said.addFilter(lambda record: getattr(record, "event", None) != "run")
        handlers.append(said)
    logger = logging.getLogger(LOGGER)
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.level, logger.propagate = before
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
