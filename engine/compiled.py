"""Numba, set up one way: machine code, free of the interpreter lock, kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

from engine.lazy import without

P = ParamSpec("P")
R = TypeVar("R")


class Compiled(Generic[P, R]):
    """A function in machine code: compiled, or fetched from the disk, at its first call. Numba, which takes most of a
    second to get ready, is not loaded before.
    """

    def __init__(self, function: Callable[P, R], fastmath: Collection[str]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._fastmath = fastmath

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self._code(*args, **kwargs)
        return result

    @cached_property
    def _code(self) -> Any:
        numba = _numba()
        options = {"nogil": True, **({"fastmath": set(self._fastmath)} if self._fastmath else {})}
        try:
            return numba.njit(**options, cache=True)(self._function)
        except RuntimeError:  # Numba found no folder that it may write to
            return numba.njit(**options)(self._function)

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks for where another compiled function calls this one."""
        return self._code._numba_type_


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Compile `function` at its first call, without the interpreter lock.

    The machine code is kept beside the source, or in the user's cache folder where the source is read-only. Where
    neither can be written (a locked-down container), every process compiles anew: slower to start, same results.
    """
    return Compiled(function, ())


def compiled_sum(function: Callable[P, R]) -> Compiled[P, R]:
    """As `compiled`, for a function that adds up many terms: they may be added in any order, which is what lets a loop
    be vectorised; NaN stays NaN.
    """
    return Compiled(function, ("reassoc", "contract"))


def _numba() -> Any:
    import numba

    with without("scipy.linalg.cython_blas", "cffi"):
        # For matrix products and foreign functions in compiled code, of which there are none here: a third of the time
        # that Numba takes to get ready.
        import numba.core.typing.cffi_utils
        import numba.np.arraymath
    return numba
