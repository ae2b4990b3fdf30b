"""A checkpoint is whole or it is the one before."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import InputError, OutputError
from train import checkpoint


def parts(seed: int) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    return {"network": [rng.normal(size=(3, 4)).astype(np.float32), np.array(seed)], "optimizer": [rng.normal(size=5)]}


def assert_holds(path: Path, seed: int) -> None:
    found = checkpoint.load(path, "a")
    assert found.record == {"step": seed}
    for part, arrays in parts(seed).items():
        for a, b in zip(found.arrays[part], arrays, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_what_is_saved_comes_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "c.npz"
    checkpoint.save(path, "a", parts(1), {"step": 1})
    assert_holds(path, 1)
    many = [np.array(i) for i in range(123)]
    checkpoint.save(path, "a", {"m": many}, {})
    assert [int(a) for a in checkpoint.load(path, "a").arrays["m"]] == list(range(123))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "c.npz"
    checkpoint.save(path, "a", parts(1), {"step": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match=r"c\.npz: the disk is full.*untouched"):
        checkpoint.save(path, "a", parts(2), {"step": 2})
    monkeypatch.undo()
    assert_holds(path, 1)
    assert os.listdir(tmp_path) == ["c.npz"]


def test_a_kill_while_writing_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    checkpoint.save(path, "a", parts(1), {"step": 1})
    (tmp_path / ".c.0badcafe.part.npz").write_bytes(path.read_bytes()[:100])
    assert_holds(path, 1)
    checkpoint.save(path, "a", parts(2), {"step": 2})
    assert_holds(path, 2)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    checkpoint.save(path, "small", parts(1), {})
    with pytest.raises(InputError, match=r"c\.npz.*'small'.*'large'"):
        checkpoint.load(path, "large")


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    with pytest.raises(InputError, match="start without --resume"):
        checkpoint.load(path, "a")
    checkpoint.save(path, "a", parts(1), {"step": 1})
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"hello", whole[:200] + bytes(100) + whole[300:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"c\.npz"):
            checkpoint.load(path, "a")
