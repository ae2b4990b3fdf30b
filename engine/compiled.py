"""Numba, set up one way: machine code, free of the interpreter lock, kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from engine.lazy import without

with without("scipy.linalg.cython_blas", "cffi"):
    # For matrix products and foreign functions in compiled code, of which there are none here: a third of the time that
    # Numba takes to get ready.
    import numba
    import numba.np.arraymath

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call, without the interpreter lock.

    The machine code is kept beside the source, or in the user's cache folder where the source is read-only. Where
    neither can be written (a locked-down container), every process compiles anew: slower to start, same results.
    """
    try:
        return cast(Callable[P, R], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # Numba found no folder that it may write to
        return cast(Callable[P, R], numba.njit(nogil=True)(function))
