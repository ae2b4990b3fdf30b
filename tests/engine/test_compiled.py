"""Compiled functions run also where no machine code can be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import pytest

from engine.compiled import compiled


def add(a: int, b: int) -> int:
    return a + b


def test_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = numba.njit
    asked = []

    def njit(*functions: Any, **options: Any) -> Any:
        if functions:  # Numba's own
            return real(*functions, **options)
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'add': no locator available for file")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled(add)(2, 3) == 5
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}]
