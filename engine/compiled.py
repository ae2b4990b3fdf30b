"""Loops over arrays in machine code, without the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import numpy as np

from engine.lazy import importing

if TYPE_CHECKING:
    from engine.machine_code import Kind, Loop

P = ParamSpec("P")
R = TypeVar("R")


class Compiled(Generic[P, R]):
    """A function in machine code, which is made or fetched from the disk at the first call with arguments of a kind."""

    def __init__(self, function: Callable[P, R], fastmath: Collection[str]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._fastmath = tuple(sorted(fastmath))
        self._codes: dict[tuple[Any, ...], Callable[..., R]] = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            raise TypeError(f"{self._function.__name__} takes its arguments by position")
        kinds: list[Any] = []
        words: list[Any] = []
        for value in args:
            if type(value) is int:
                kinds.append(int)
                words.append(value)
            elif isinstance(value, np.ndarray):
                memory = value.__array_interface__
                shape, strides = memory["shape"], memory["strides"]
                kinds.append((memory["typestr"], len(shape), strides is None))
                words.append(memory["data"][0])
                words += shape if strides is None else (*shape, *strides)
            else:
                number = value.item() if isinstance(value, np.generic) else value
                kinds.append(type(number))
                words.append(number)
        key = tuple(kinds)
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = self._load(key)
        return code(*words)

    def _load(self, key: tuple[Any, ...]) -> Callable[..., R]:
        with importing():
            from engine.machine_code import ArrayKind, load

        kinds: list[Kind] = [ArrayKind(*kind) if isinstance(kind, tuple) else kind for kind in key]
        return load(self._loop, kinds)

    @cached_property
    def _loop(self) -> Loop:
        from engine.machine_code import Loop

        return Loop(self._function, self._fastmath)

    @cached_property
    def _numba(self) -> Any:
        from engine.machine_code import numba_function

        return numba_function(self._loop)

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks for where another compiled function calls this one."""
        return self._numba._numba_type_


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """A loop over arrays in machine code that runs without the interpreter lock, compiled at its first call.

    The function takes arrays and numbers by position, and the memory that it writes to among them; it allocates
    nothing, raises nothing, and returns nothing or one number, as its annotation says. It may use constants and other
    compiled functions of its own module.

    The code is kept in the user's cache folder. Where nothing can be written there (a locked-down container), every
    process compiles anew: slower to start, same results.

    Example:
        >>> @compiled
        ... def total(values: NDArray[np.float64]) -> float:
        ...     sum = 0.0
        ...     for value in values:
        ...         sum += value
        ...     return sum
        >>> total(np.array([1.0, 2.0]))
        3.0
    """
    return Compiled(function, ())


def compiled_sum(function: Callable[P, R]) -> Compiled[P, R]:
    """As `compiled`, for a function that adds up many terms: they may be added in any order, which is what lets a loop
    be vectorised; NaN stays NaN.
    """
    return Compiled(function, ("reassoc", "contract"))
