"""The examples in the docstrings of trainings are true."""

from __future__ import annotations

import pytest

from tests import examples


@pytest.mark.parametrize("name", examples.modules("train"))
def test_examples(name: str) -> None:
    examples.check(name)
