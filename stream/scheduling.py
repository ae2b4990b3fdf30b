"""Threads that stay as they were scheduled, whatever a library takes for itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def as_scheduled() -> Iterator[None]:
    """Give up real-time scheduling that was taken inside, by the calling thread or others of this process.

    SVT-AV1, where root runs it, as in most containers, makes the thread that opens it and its own ones real-time
    threads of the highest priority (`SCHED_FIFO`, 99), and all that they start inherit it: nothing else on the machine
    gets a CPU while they compute. Who runs this program as real-time threads keeps them.

    Example:
        >>> with as_scheduled():
        ...     pass  # open an encoder
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux alone has it
        yield
        return
    before = os.sched_getscheduler(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != before:
            for task in os.listdir("/proc/self/task"):
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    if os.sched_getscheduler(int(task)) in (os.SCHED_FIFO, os.SCHED_RR):
                        os.sched_setscheduler(int(task), before, os.sched_param(0))
