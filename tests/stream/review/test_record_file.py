"""The file of a record that is being corrected: whole or as it was, and left alone where somebody else wrote it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError, OutputError
from stream import renaming
from stream.review.corrections import Corrections
from stream.review.record_file import RecordFile
from stream.tracks import Tracks, read


def corrected(file: RecordFile, *tracks: int) -> Tracks:
    """The record with these called Minju."""
    corrections = Corrections(file.record)
    corrections.name(tracks, "Minju", new=True)
    return corrections.record


def test_what_is_corrected_is_written_and_what_is_not_is_not(path: Path) -> None:
    before, touched = path.read_bytes(), path.stat().st_mtime_ns
    file = RecordFile(path)
    assert (file.save(file.record), path.stat().st_mtime_ns) == (0, touched)
    record = corrected(file, 1, 3)
    assert {track: verdict.name for track, verdict in file.differing(record).items()} == {1: "Minju", 3: "Minju"}
    digest = file.digest
    assert (file.save(record), file.corrected) == (2, 2)
    assert file.digest != digest == RecordFile(path.with_name("mv.tracks.jsonl.bak")).digest
    assert file.digest == RecordFile(path).digest
    assert path.with_name("mv.tracks.jsonl.bak").read_bytes() == before
    assert (file.differing(record), file.record, read(path).tracks) == ({}, record, record.tracks)


def test_what_somebody_else_wrote_meanwhile_is_left_alone(path: Path) -> None:
    file = RecordFile(path)
    record = corrected(file, 4)
    renaming.rename(path, {4: "Yuri"})
    theirs = path.read_bytes()
    with pytest.raises(InputError, match="changed by something else"):
        file.save(record)
    assert path.read_bytes() == theirs
    path.unlink()
    with pytest.raises(InputError, match="not there any more; put it back"):
        file.save(record)
    assert not path.exists()


def test_a_file_that_was_touched_or_copied_back_is_what_it_was(path: Path) -> None:
    file = RecordFile(path)
    os.utime(path, ns=(0, 0))
    assert file.save(corrected(file, 1)) == 1
    saved = path.read_bytes()
    path.unlink()
    path.write_bytes(saved)
    assert file.save(corrected(file, 1, 3)) == 1


def test_a_disk_that_is_full_leaves_the_record_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **settings: Any) -> None:
        raise OutputError("no space left")

    before = path.read_bytes()
    file = RecordFile(path)
    record = corrected(file, 4)
    with monkeypatch.context() as patched:
        patched.setattr(renaming, "_rewrite", full)
        with pytest.raises(OutputError):
            file.save(record)
    assert (path.read_bytes(), len(file.differing(record)), file.corrected) == (before, 1, 0)
    assert file.save(record) == 1
