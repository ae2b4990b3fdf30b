"""A record with its video, and where its review leaves what is not saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stream.review import stage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return stage.both(tmp_path)


@pytest.fixture
def unsaved(path: Path) -> Path:
    return path.with_name("mv.tracks.jsonl.unsaved")
