"""What a long run says while it goes on: lines for people on stderr, JSON lines for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


class LogFile(WatchedFileHandler):
    """A file that is appended to and may be moved away meanwhile. Once it cannot be written, that is told as any other
    news, and nothing more is tried.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, place: str) -> None:
        self.failure: OutputError | None = None
        """What happened to it, if anything did."""
        self._place = place
        try:
            super().__init__(place, encoding="utf-8")
        except OSError as error:
            raise self._lost(error) from error

    def emit(self, record: logging.LogRecord) -> None:
        if self.failure is None:
            try:
                super().emit(record)
            except OSError as error:  # it was moved away, and there can be no other in its place
                self._give_up(error)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._give_up(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:  # of a full disk, the same again
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = self._lost(error)
            logging.getLogger(LOGGER).error("%s; the run goes on without its log", self.failure)

    def _lost(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._place}: {error.strerror}")


@dataclass(frozen=True, slots=True)
class RunLog:
    """Takes what happens."""

    logger: logging.Logger
    file: LogFile | None

    @property
    def failure(self) -> OutputError | None:
        """Why the file does not hold everything; None where it does, or there is none."""
        return self.file.failure if self.file is not None else None


@contextmanager
def run_log(place: str | None, *, quiet: bool) -> Iterator[RunLog]:
    """Let a run say what happens while this lasts.

    Args:
        place: of the JSON lines: a file, which is appended to and may be moved away meanwhile, or `-` for stderr; None
            for none.
        quiet: whether people are told nothing on stderr.

    Raises:
        OutputError: the file cannot be opened; if it fails later, `RunLog.failure` says so.
    """
    file = LogFile(place) if place is not None and place != "-" else None
    handlers: list[logging.Handler] = [file] if file is not None else []
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
        yield RunLog(logger, file)
    finally:
        logger.level, logger.propagate = before
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
