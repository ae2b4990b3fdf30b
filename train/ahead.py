"""Batches made by other processes ahead of the training that takes them, in order."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

import cv2

from engine.errors import MissingError

T = TypeVar("T")

DEEP = 3
"""Batches on the way for each process."""

_make: Callable[[int], Any]


def _remember(make: Callable[[int], Any]) -> None:
    global _make
    _make = make
    cv2.setNumThreads(1)  # there are as many processes as the user wants cores
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process with the one that it works for, which may be killed without a word."""
    wait([parent])
    os._exit(1)


def _call(step: int) -> Any:
    return _make(step)


def ahead(make: Callable[[int], T], first: int, until: int, workers: int = 0) -> Iterator[T]:
    """`make(step)` for the steps from `first` up to `until`, whoever makes it: what comes out is the same.

    Args:
        make: depends on the step alone; with `workers` it can be pickled, and every process has its own copy.
        first: step.
        until: step that is not made any more.
        workers: processes that make batches while the training computes; 0: this one does, when a batch is asked for.

    Raises:
        MissingError: a process died.
        Exception: whatever `make` raises, when the step's turn comes.

    Example:
        >>> list(ahead(abs, -2, 1))
        [2, 1, 0]
    """
    if not workers:
        yield from map(make, range(first, until))
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process whose libraries have threads may hang
    with ProcessPoolExecutor(workers, context, _remember, (make,)) as pool:
        coming: deque[Future[T]] = deque()
        try:
            for step in range(first, until):
                while len(coming) < DEEP * workers and step + len(coming) < until:
                    coming.append(pool.submit(_call, step + len(coming)))
                yield coming.popleft().result()
        except BrokenProcessPool as error:
            raise MissingError(
                "a process that makes batches died, probably for want of memory; --resume with fewer --workers"
            ) from error
        finally:
            for future in coming:
                future.cancel()
