"""Modules out of thin air."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def module(name: str, **attributes: Any) -> ModuleType:
    """A module of that name, which `importlib.util.find_spec` finds once it is in `sys.modules`."""
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    vars(made).update(attributes)
    return made
