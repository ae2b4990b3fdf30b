"""The examples in the docstrings are true; those of trainings are tried in `tests.train`, which loads Keras anyway."""

from __future__ import annotations

import pytest

import engine
from tests import examples


@pytest.mark.parametrize("name", [name for part in ("engine", "stream", "tools") for name in examples.modules(part)])
def test_examples(name: str) -> None:
    examples.check(name)


def test_every_public_name_is_there() -> None:
    for name in engine.__all__:
        assert getattr(engine, name) is not None
        assert name in dir(engine)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        engine.nonsense  # noqa: B018
