"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.errors import OutputError
from train.output import json_text, write_arrays, write_whole


def test_text_bytes_and_arrays_come_back(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "t.txt", "민주")
    write_whole(tmp_path / "new" / "t.txt", "나코")
    assert (tmp_path / "new" / "t.txt").read_text("utf-8") == "나코"
    write_arrays(tmp_path / "a.npz", x=np.arange(3), names=np.array(["a", "b"]))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["x"].tolist() == [0, 1, 2]
        assert file["names"].tolist() == ["a", "b"]
    assert [p.name for p in tmp_path.rglob(".*")] == []


def test_what_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "t.txt"
    write_whole(target, "old")

    def full(source: object, destination: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"t\.txt: the disk is full"):
        write_whole(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["t.txt"]
    assert target.read_text("utf-8") == "old"


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(OutputError, match=r"file/t\.txt cannot be written"):
        write_whole(tmp_path / "file" / "t.txt", "x")


def test_what_another_run_left_is_spared_where_that_is_asked(tmp_path: Path) -> None:
    write_whole(tmp_path / "t.txt", "old", overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        write_whole(tmp_path / "t.txt", "new", overwrite=False)
    assert (tmp_path / "t.txt").read_text("utf-8") == "old"


def test_json_has_no_nan() -> None:
    """Python writes it all the same, and nothing else reads it."""
    figures = {"ap": {"32": float("nan")}, "interval": (float("nan"), 1.0), "name": "é", "faces": 0}
    assert json_text(figures) == '{"ap": {"32": null}, "interval": [null, 1.0], "name": "é", "faces": 0}'
