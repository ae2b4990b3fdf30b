"""For programs that tests start and send signals to."""

from __future__ import annotations

import signal


def as_usual() -> None:
    """Let signals end a program; a `preexec_fn`. Who runs the tests in the background of a shell has SIGINT ignored,
    who runs them under `nohup` SIGHUP, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
