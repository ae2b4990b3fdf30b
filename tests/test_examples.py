"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import engine
from engine.errors import MissingError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "stream", "tools", "train")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except MissingError as missing:  # what drives a GPU is not installed everywhere
        assert "cuda" in name
        pytest.skip(str(missing))
    except ModuleNotFoundError as missing:  # nor is what an extra installs
        if (missing.name or "").partition(".")[0] in PACKAGES:
            raise
        pytest.skip(str(missing))
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_every_public_name_is_there() -> None:
    for name in engine.__all__:
        assert getattr(engine, name) is not None
        assert name in dir(engine)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        engine.nonsense  # noqa: B018
