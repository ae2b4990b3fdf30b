"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.embedder import Embedder
from tests.networks import gallery_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """See `tests.stream.chromium`, which a module of such tests imports, so that it is skipped as a whole."""
    from tests.stream.chromium import opened

    with opened() as browser:
        yield browser


@pytest.fixture
def group(tmp_path: Path, embedder: Embedder) -> Path:
    """A gallery of two."""
    path = tmp_path / "group.gallery"
    gallery_of(embedder, "ann", "ben").save(path)
    return path
