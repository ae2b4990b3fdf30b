"""Ctrl-C and its like, made to wait where half a thing would be worse than a moment's delay."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a program to end."""


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
    handlers = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in handlers.items():
        if handler is not None:  # None: not set from Python, so it cannot be put back
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)
    if came:  # where the block failed, that is the end
        signal.raise_signal(came[0])
