"""The examples in the docstrings of a part: which modules have some that can be tried, and whether they are true."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRIED = re.compile(r"^\s*>>> (?!.*# doctest: \+SKIP)", re.MULTILINE)


def modules(part: str) -> list[str]:
    """Those with an example that is tried; the others need not be imported, which takes long."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / part).rglob("*.py")
        if TRIED.search(path.read_text("utf-8"))
    )


def check(name: str) -> None:
    """Try the examples of a module; skips where what an extra installs is missing."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (ROOT / (missing.name or "").partition(".")[0]).is_dir():  # one of ours
            raise
        pytest.skip(str(missing))
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
