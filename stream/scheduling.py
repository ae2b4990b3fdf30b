"""Threads that stay as they were scheduled, whatever a library takes for itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_TASKS = "/proc/self/task"


@contextlib.contextmanager
def as_scheduled() -> Iterator[None]:
    """Give up real-time scheduling that a library took inside for the calling thread and others that it started.

    SVT-AV1, where root runs it, as in most containers, makes the thread that opens it and its own ones real-time
    threads of the highest priority (`SCHED_FIFO`, 99), and all that they start inherit it: nothing else on the machine
    gets a CPU while they compute. All real-time threads are scheduled afterwards as the calling one was before.

    Example:
        >>> with as_scheduled():
        ...     pass  # open an encoder
    """
    if not os.path.isdir(_TASKS):  # Linux alone has it
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if (os.sched_getscheduler(0), os.sched_getparam(0)) != (policy, parameters):
            for task in map(int, os.listdir(_TASKS)):
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    if os.sched_getscheduler(task) in (os.SCHED_FIFO, os.SCHED_RR):
                        os.sched_setscheduler(task, policy, parameters)
