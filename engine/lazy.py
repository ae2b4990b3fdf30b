"""Imports that are put off, or left out.

An error message or a version number need not wait for OpenCV, Numba and the networks, and those need not bring along
what this program never uses.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


def lazy(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
        package: its name.
        places: by public name, where it lies in the package: `module`, or `module.attribute` where that differs.

    Example:
        >>> find, names = lazy("engine", {"Letterbox": "letterbox"})
        >>> find("Letterbox").__module__, "Letterbox" in names()
        ('engine.letterbox', True)
    """

    def find(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = places[name].partition(".")
        value: object = getattr(importlib.import_module(f"{package}.{module}"), attribute or name)
        vars(sys.modules[package])[name] = value
        return value

    return find, lambda: sorted({*vars(sys.modules[package]), *places})


@contextmanager
def importing() -> Iterator[None]:
    """Within it, nobody looks for garbage: what modules make by the hundred thousand stays, and looking through it
    again and again takes a tenth of the time that they take to import.

    Example:
        >>> with importing():
        ...     import this  # doctest: +SKIP
    """
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looking:
            gc.enable()


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Within it, modules that are not loaded yet cannot be imported: for a library that would like to have them and
    does without where they are not installed.

    Example:
        >>> with without("this"):
        ...     import this
        Traceback (most recent call last):
        ModuleNotFoundError: import of this halted; None in sys.modules
    """
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None stands for a module not to be had
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
