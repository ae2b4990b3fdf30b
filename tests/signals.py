"""For programs, this one among them, that tests send signals to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def as_usual() -> None:
    """Let signals end a program; a `preexec_fn`. Who runs the tests in the background of a shell has SIGINT ignored,
    who runs them under `nohup` SIGHUP, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def interrupting() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt in this process, whatever the tests were started with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
