"""Ctrl-C and its like: made to wait where half a thing would be worse than a moment's delay, heard while waiting."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a program to end."""


def wait_for(over: threading.Event, seconds: float | None = None) -> bool:
    """Wait until something is over, or so long; returns whether it is. Ctrl-C is heard meanwhile.

    Not so while a thread is joined: a join that is interrupted takes a running thread for one that has ended.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while not over.is_set():
        # Not one long wait: on some systems that cannot be interrupted.
        left = 0.5 if end is None else min(0.5, end - time.monotonic())
        if left <= 0:
            return False
        over.wait(left)
    return True


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that ask for the end wait until the block is done; the first of them is then as if it came just now.
    Where the block raises something they are forgotten.

    Only the main thread is told of signals; in others nothing changes.

    Example:
        >>> with suppress(KeyboardInterrupt), undisturbed():               # doctest: +SKIP
        ...     finish()    # to its end, however often Ctrl-C is pressed
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    # None: not set from Python, so it cannot be put back.
    handlers = {n: was for n in ENDING if (was := signal.getsignal(n)) not in (None, signal.SIG_IGN)}

    def put_back() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    try:
        for number in handlers:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        try:
            put_back()
        except KeyboardInterrupt:  # came when some were back
            came.append(signal.SIGINT)
            put_back()
    if came:  # where the block failed, that is the end
        # Whose terminal is gone has to learn that first, or what is printed next fails.
        signal.raise_signal(max(came, key=lambda number: number == getattr(signal, "SIGHUP", None)))
