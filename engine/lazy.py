"""Names of a package that are imported when they are first asked for.

An error message or a version number need not wait for OpenCV, Numba and the networks.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


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
