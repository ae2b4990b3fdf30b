"""What would change a record that is open in a review is refused, and the record stays as it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.detector import Detector
from engine.errors import InputError, OutputError
from stream import label_video
from stream.record_lock import held
from stream.renaming import rename
from stream.review.review import Review
from stream.tracks import read
from tests.stream.review import stage

WORDS = (
    r"mv\.tracks\.jsonl: it is open in a review, or another command is changing it; correct it in that review, or end "
    r"that first$"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return stage.both(tmp_path)


def test_a_record_is_not_renamed_under_a_review(path: Path) -> None:
    before = path.read_bytes()
    own = path.with_name("own.jsonl")
    with Review(path):
        with pytest.raises(OutputError, match=WORDS) as caught:
            rename(path, {0: "Chaewon"})
        assert caught.value.exit_code == 5
        rename(path, {0: None}, own)  # reading it changes nothing
        with pytest.raises(OutputError, match=WORDS):
            rename(own, {0: "Yuri"}, path, overwrite=True)
    assert path.read_bytes() == before
    assert rename(path, {0: None}).changed == {0: ("Yuri", None)}


def test_a_record_is_not_made_anew_under_a_review(path: Path, detector: Detector) -> None:
    before = path.read_bytes()
    video = path.with_name("mv.mp4")

    def refused() -> Detector:
        raise AssertionError("opened though the record is open in a review")

    with Review(path):
        with pytest.raises(OutputError, match=WORDS):
            label_video(video, tracks=path, video=False, overwrite=True, detector=refused)
        with pytest.raises(OutputError, match="use --overwrite"):  # which comes first
            label_video(video, tracks=path, video=False, detector=refused)
    assert path.read_bytes() == before
    assert label_video(video, tracks=path, video=False, overwrite=True, detector=detector).tracks == path
    assert {verdict.name for verdict in read(path).tracks} == {None}
    assert sorted(each.name for each in path.parent.iterdir()) == ["mv.mp4", "mv.tracks.jsonl"]


def test_a_record_that_is_made_anew_is_not_reviewed_meanwhile(path: Path, detector: Detector) -> None:
    """What would be corrected there would be gone."""
    tried: list[int] = []

    def progress(done: int, total: int | None) -> None:
        if not tried:
            tried.append(done)
            with pytest.raises(OutputError, match=WORDS):
                Review(path)

    label_video(
        path.with_name("mv.mp4"), tracks=path, video=False, overwrite=True, detector=detector, progress=progress
    )
    assert tried
    with Review(path) as review:
        assert review.notes == []


def test_two_commands_wait_for_each_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither undoes what the other corrects."""
    monkeypatch.setattr("stream.record_lock.PATIENCE", 60.0)  # also where all is slow
    with held(path):
        other = threading.Thread(target=rename, args=(path, {2: None}))
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert {verdict.track: verdict.name for verdict in read(path).tracks}[2] == "Chaewon"
    other.join()
    assert {verdict.track: verdict.name for verdict in read(path).tracks}[2] is None


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege on Windows")
def test_the_record_behind_a_link_is_the_one_that_is_open(path: Path) -> None:
    link = path.with_name("link.jsonl")
    link.symlink_to(path)
    with Review(link), pytest.raises(OutputError, match="it is open in a review"):
        rename(path, {0: "Chaewon"})


def test_where_nothing_can_be_locked_the_file_itself_says_what_cannot_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("engine.file_lock._take", refuse)
    assert rename(path, {0: None}).changed == {0: ("Yuri", None)}
    with pytest.raises(OutputError, match=r"the folder .*none does not exist"):
        rename(path, {0: "Yuri"}, path.with_name("none") / "x.jsonl")


@pytest.mark.parametrize("folder", [".", "/"])
def test_a_folder_without_a_name_of_its_own_is_told_as_one(
    folder: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(OutputError, match="is a folder; give a file name"):
        rename(path, {0: None}, folder)
    with pytest.raises(InputError, match=r"cannot be read \(.+\); check its name"):
        Review(folder)
    assert sorted(each.name for each in path.parent.iterdir()) == ["mv.mp4", "mv.tracks.jsonl"]
