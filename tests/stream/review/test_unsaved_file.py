"""The file beside a record that holds what is not saved: what is in it, who may read it, and where it cannot be."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import InputError, IznetError, OutputError
from stream.record_lock import PATIENCE, held
from stream.review.corrections import Corrections, Look
from stream.review.review import Review
from stream.review.teaching import Kept, Taught
from stream.review.unsaved_file import Unsaved, decoded, encoded
from stream.tracks import read

NAME = "mv.tracks.jsonl.unsaved"


def test_what_is_written_is_what_is_read(path: Path) -> None:
    corrections = Corrections(read(path))
    corrections.name((1, 3, 5), "Minju", new=True)
    corrections.name((4,), "Yuri")
    corrections.undo(2)
    one, other = Look(4, 30), Look(4, 33)
    taught = Taught("/a/\udcff.gallery", {one: Kept("ann", "a")}, {one: Kept("ben", "b"), other: Kept("ben", "c")})
    unsaved = Unsaved("0" * 64, corrections.history, taught)
    for each in (unsaved, replace(unsaved, taught=None)):
        assert decoded(json.loads(json.dumps(encoded(each)))) == each
    again = Corrections(read(path), (), unsaved.history)
    assert (again.history, again.verdicts) == (corrections.history, corrections.verdicts)


def test_a_disk_that_is_full_is_told_and_the_correction_is_made(
    path: Path, unsaved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Review(path) as review:
        review.name(4, "Minju", new=True)
        before = unsaved.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr("stream.review.unsaved_file.begin_output", full)
            review.name(0, "Chaewon")
        assert review.unsaved == 2
        assert unsaved.read_bytes() == before
        assert (review.kept, review.state()["kept"]) == (None, False)
        (note,) = review.state()["notes"]
        assert f"cannot be kept: {unsaved}: the disk is full; free some space" in note
        review.name(2, "Yuri")  # there is room again
        assert review.kept == unsaved
        assert review.notes == review.state()["notes"] == []
    with Review(path) as review:
        assert tuple(review.taken_up) == (3, 0)


def test_a_folder_that_takes_no_files_is_told_at_once(
    path: Path, unsaved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Review(path) as review:
        review.name(4, "Minju", new=True)
    left = unsaved.read_bytes()

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("engine.file_lock._take", refuse)
    with Review(path) as review:
        assert tuple(review.taken_up) == (1, 0)
        (note,) = review.notes
        assert f"{unsaved}: nothing can be written there (Read-only file system); move the record" in note
        review.name(0, "Chaewon")
        assert (review.unsaved, review.kept, review.notes) == (2, None, [note])
        review.discard()
        assert unsaved.read_bytes() == left  # another review may be at it
    unsaved.write_bytes(b"")
    with Review(path) as review:
        assert "is not taken up" in review.notes[0]
        assert review.unsaved == 0


@pytest.mark.parametrize("length", [240, 255])
def test_a_record_whose_name_leaves_no_room_is_reviewed_and_that_is_told(length: int, path: Path) -> None:
    record = path.rename(path.with_name("mv.tracks.jsonl".rjust(length, "-")))
    with Review(record) as review:
        assert review.notes == []
        review.name(4, "Minju", new=True)
        assert "too many; give a shorter one" in review.notes[0]
        assert (review.kept, review.unsaved) == (None, 1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told_at_once(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with Review(path) as review:
            review.name(4, "Minju", new=True)
            assert "Permission denied" in review.notes[0]
    finally:
        path.parent.chmod(0o700)


def test_one_review_of_a_record_at_a_time_whatever_it_is_called(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(path.name)
    with Review(path) as review:
        for name in (path, link):
            with pytest.raises(OutputError, match=rf"{name.name}: it is open in a review, or another command"):
                Review(name)
        review.name(4, "Minju", new=True)
    with Review(link) as review:
        assert (review.unsaved, review.kept) == (1, path.with_name(NAME))
    with pytest.raises(IznetError):
        Review(tmp_path / "gone.jsonl")
    (tmp_path / "mv.mp4").unlink()
    for _ in range(2):  # what is refused holds nothing
        with pytest.raises(InputError):
            Review(path)
    assert not list(tmp_path.glob("*.lock")) + list(tmp_path.glob(".*"))


def test_a_review_waits_a_moment_for_a_command_that_changes_the_record(path: Path) -> None:
    begun = threading.Event()

    def change() -> None:
        with held(path):
            begun.set()
            time.sleep(PATIENCE / 5)

    other = threading.Thread(target=change)
    other.start()
    assert begun.wait(30)
    with Review(path) as review:
        assert review.notes == []
    other.join()


def test_what_is_closed_is_the_next_reviews_alone(path: Path, unsaved: Path) -> None:
    with Review(path) as review:
        pass
    review.name(4, "Minju", new=True)  # asked for when it was ending
    assert not unsaved.exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("length", [200, 255])
def test_another_record_beside_it_is_reviewed_at_the_same_time_however_alike_their_names(
    length: int, path: Path
) -> None:
    one, other = (path.with_name(f"{digit}.tracks.jsonl".rjust(length, "-")) for digit in "12")
    one.write_bytes(path.read_bytes())
    path.rename(other)
    with Review(one), Review(other) as review:
        assert review.notes == []
        with pytest.raises(OutputError, match="it is open in a review, or another command"):
            Review(one)


def test_nobody_may_read_it_who_may_not_read_the_record(path: Path, unsaved: Path) -> None:
    path.chmod(0o600)
    with Review(path) as review:
        review.name(4, "Minju", new=True)
        review.name(0, "Chaewon")
        assert unsaved.stat().st_mode & 0o777 == 0o600
