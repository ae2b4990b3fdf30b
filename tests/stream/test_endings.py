"""However a run is ended, what was finished is kept, whole and once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.detector import Detector
from engine.errors import InterruptedByUser, OutputError
from stream import label, label_video, read_tracks, segments
from stream.journal import JOB_FILE, WorkFolder
from stream.render import render_video
from stream.tracks import TracksWriter
from tests.signals import interrupting
from tests.stream import media
from tests.stream.test_label import HEIGHT, TIME_BASE, WIDTH, stage

FRAMES = 30


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    video = media.Video(FRAMES, WIDTH, HEIGHT, picture=stage, pixel_format="yuv420p", time_base=TIME_BASE)
    return media.write(tmp_path / "mv.mp4", video)


@pytest.fixture(name="interrupting")
def _interrupting() -> Iterator[None]:
    with interrupting():
        yield


@pytest.mark.parametrize("video", [True, False])
def test_a_record_whose_name_is_taken_meanwhile_is_kept_under_its_partial_one(
    video: bool, clip: Path, detector: Detector, tmp_path: Path
) -> None:
    record = tmp_path / "out.tracks.jsonl"

    def taken(done: int, total: int | None) -> None:
        if done == FRAMES // 2:
            record.write_text("mine", "utf-8")

    with pytest.raises(OutputError, match=r"the record is in .*out\.partial\.tracks\.jsonl"):
        label_video(clip, tmp_path / "out.mp4", detector=detector, tracks=record, video=video, progress=taken)
    assert record.read_text("utf-8") == "mine"
    kept = read_tracks(tmp_path / "out.partial.tracks.jsonl")
    assert len(kept.frames) == FRAMES
    assert kept.summary is not None
    assert len({verdict.track for verdict in kept.tracks}) == len(kept.tracks) > 0
    if video:
        assert len(media.read(tmp_path / "out.mp4").pictures) == FRAMES


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("video", [True, False])
@pytest.mark.parametrize("at", [12, FRAMES - 2])
def test_who_presses_ctrl_c_again_loses_nothing(
    at: int, video: bool, clip: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "FRAMES_PER_SEGMENT", 5)
    written = 0
    ending = threading.Event()
    frame = TracksWriter.frame

    def slowly(self: TracksWriter, **line: object) -> None:
        nonlocal written
        if written == at:
            os.kill(os.getpid(), signal.SIGINT)  # told in the main thread, which then waits for this one
            time.sleep(0.2)
            ending.set()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        elif ending.is_set():
            time.sleep(0.05)
        frame(self, **line)  # type: ignore[arg-type]
        written += 1

    monkeypatch.setattr(TracksWriter, "frame", slowly)
    with pytest.raises(InterruptedByUser, match="interrupted; "):
        label_video(clip, tmp_path / "out.mp4", detector=detector, video=video, lookahead=0.2)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("iznet-")]
    kept = read_tracks(tmp_path / "out.partial.tracks.jsonl")
    assert kept.summary is not None
    assert at < written == len(kept.frames)
    if video:
        assert len(media.read(tmp_path / "out.partial.mp4").pictures) == written


@pytest.mark.usefixtures("interrupting")
def test_a_picture_that_is_being_encoded_is_not_lost(
    clip: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is where the main thread encodes: in the second of two passes, and where a record is drawn again."""
    record = label_video(clip, detector=detector, video=False).tracks
    take = segments._OpenSegment._take
    done: list[int] = []

    def interrupted(self: segments._OpenSegment, packets: list[object]) -> None:
        if packets and not interrupts:
            interrupts.append(len(done))
            os.kill(os.getpid(), signal.SIGINT)
        take(self, packets)

    interrupts: list[int] = []
    monkeypatch.setattr(segments._OpenSegment, "_take", interrupted)
    with pytest.raises(InterruptedByUser, match=r"frames are finished, in .*out\.partial\.mp4"):
        render_video(clip, record, tmp_path / "out.mp4", progress=lambda n, _: done.append(n))
    assert 0 < interrupts[0] < FRAMES
    assert len(media.read(tmp_path / "out.partial.mp4").pictures) == interrupts[0] + 1


def test_nothing_is_left_where_nothing_was_finished(
    clip: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stream.analysis import Analyser

    def interrupted(self: Analyser, gap: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(Analyser, "follow", interrupted)
    with pytest.raises(InterruptedByUser, match="interrupted; no frame was finished"):
        label_video(clip, tmp_path / "out.mp4", detector=detector)
    assert [path.name for path in tmp_path.iterdir()] == ["mv.mp4"]


def test_finished_pieces_are_not_thrown_away_for_want_of_a_word(clip: Path, detector: Detector, tmp_path: Path) -> None:
    """The record of a first pass stands under its final name while the second one draws."""

    passes = 0

    def stop(done: int, total: int | None) -> None:
        nonlocal passes
        passes += done == 1
        if (passes, done) == (2, 20):
            raise KeyboardInterrupt

    out = tmp_path / "out.mp4"
    with pytest.raises(InterruptedByUser, match="20 frames are finished"):
        label_video(clip, out, detector=detector, two_pass=True, progress=stop)
    with pytest.raises(OutputError, match="go on from there with --resume, or start afresh with --overwrite"):
        label_video(clip, out, detector=detector, two_pass=True)
    assert label_video(clip, out, detector=detector, two_pass=True, resume=True).frames == FRAMES
    assert len(media.read(out).pictures) == FRAMES


def test_the_record_of_a_run_that_was_broken_off_is_called_that(clip: Path, detector: Detector, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == 20:
            raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        label_video(clip, tmp_path / "out.mp4", detector=detector, progress=stop)
    partial = tmp_path / "out.partial.tracks.jsonl"
    with pytest.raises(Exception, match=r"ends after \d+ frames and .* goes on: .* a run that was broken off"):
        render_video(clip, partial, tmp_path / "again.mp4")


@pytest.mark.usefixtures("interrupting")
def test_ctrl_c_at_the_end_of_the_first_pass_keeps_it_and_begins_no_second(
    clip: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = label._note_record

    def interrupted(work: WorkFolder, record: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        note(work, record)

    passes: list[int] = []
    out = tmp_path / "out.mp4"
    monkeypatch.setattr(label, "_note_record", interrupted)
    with pytest.raises(InterruptedByUser, match="interrupted; --resume goes on from there"):
        label_video(
            clip, tmp_path / "out.mp4", detector=detector, two_pass=True, progress=lambda n, _: passes.append(n)
        )
    assert passes == list(range(1, FRAMES + 1))
    monkeypatch.undo()
    looks = detector.looks.inferences
    done = label_video(clip, out, detector=detector, two_pass=True, resume=True)
    assert (done.frames, detector.looks.inferences) == (FRAMES, looks)


def test_a_damaged_work_folder_is_started_afresh_where_that_is_asked_for(
    clip: Path, detector: Detector, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    label_video(clip, out, detector=detector, two_pass=True)
    (tmp_path / "out.mp4.iznet").mkdir()
    (tmp_path / "out.mp4.iznet" / JOB_FILE).write_text("", "utf-8")
    assert label_video(clip, out, detector=detector, two_pass=True, overwrite=True).frames == FRAMES
