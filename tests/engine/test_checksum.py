"""A file's SHA-256, and what is said where there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from engine.checksum import sha256_of
from engine.errors import InputError


def test_it_is_that_of_all_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # more than is read at once
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["gone", "folder"])
def test_what_cannot_be_read_is_named_with_the_cure(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(.+\); give the weights$"):
        sha256_of(tmp_path / name, "give the weights")
