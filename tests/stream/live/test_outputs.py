"""Files that never end: their names, their pieces, and what is in them."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import OutputError, UsageError
from stream.encoding import EncoderSettings
from stream.frames import Face, Frame, LabelledFrame, VideoInfo
from stream.live.outputs import Seen, check_names, name_for, pieces
from stream.live.record import Record
from stream.live.recording import Recording, Rotation
from stream.live.timeline import TICK
from stream.overlay import Overlay
from stream.tracks import Header
from tests.stream import media
from tests.stream.live import feeds

SECOND = int(1 / TICK)
FAST = EncoderSettings("x264", "ultrafast")


def info_of(width: int = 320, height: int = 240, pixel_format: str = "yuv444p") -> VideoInfo:
    return VideoInfo("cam", width, height, 0, TICK, None, None, pixel_format)


def seen(index: int, info: VideoInfo, pts: int | None = None, epoch: int = 1) -> Seen:
    picture = feeds.picture(width=info.coded_width, height=info.coded_height).reformat(format=info.pixel_format)
    face = Face(0, np.array([40, 60, 88, 120], np.float32), 0.9, np.zeros((5, 2), np.float32), "ann")
    pts = index * SECOND // 25 if pts is None else pts
    picture.pts, picture.time_base = pts, TICK
    Overlay(info).draw(picture, [face])
    return Seen(LabelledFrame(Frame(picture, index, pts, TICK), 0, [face]), info, epoch)


def record_all(recording: Recording, frames: list[Seen]) -> None:
    for frame in frames:
        feeds.until(lambda: len(recording._waiting) < 4)  # the encoder keeps up, however busy the machine
        recording.frame(frame)
    recording.close({})


def test_names_for_several_cameras() -> None:
    assert name_for("rec/{camera}.mkv", "http://h:80/a?b=***", 3) == "rec/http-h-80-a-b.mkv"
    assert name_for("rec.mkv", "door", 1) == "rec.mkv"
    assert name_for("{camera}.mkv", "../..", 2) == "camera.mkv"
    with pytest.raises(UsageError, match=r"rec\.mkv.*\{camera\}"):
        name_for("rec.mkv", "door", 2)


@pytest.mark.parametrize("names", [["door", "door"], ["left door", "Left-Door"], ["..", "camera"]])
def test_cameras_that_cannot_be_told_apart_are_refused(names: list[str]) -> None:
    with pytest.raises(UsageError, match="NAME=SOURCE"):
        check_names(names)
    check_names(["door", "door 2", "stage"])


def test_pieces_are_numbered_or_bear_the_time() -> None:
    names = pieces("a/door.mkv")
    assert [next(names) for _ in range(3)] == [Path("a/door.mkv"), Path("a/door-2.mkv"), Path("a/door-3.mkv")]
    timed = pieces("door-%Y.tracks.jsonl")
    first, second = next(timed), next(timed)
    assert re.fullmatch(r"door-\d{4}\.tracks\.jsonl", first.name)
    assert second.name == first.name.replace(".tracks", "-2.tracks")


def test_a_recording_holds_what_was_drawn_at_its_time(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), FAST)
    info = info_of()
    pts = [0, 3600, 5000, 9000, 20000]
    record_all(recording, [seen(n, info, pts=7 * SECOND + p) for n, p in enumerate(pts)])
    read = media.read(tmp_path / "a.mkv")
    assert [round(t * 1000) for t in read.times] == [round(p / 90) for p in pts]
    rgb = read.pictures[2].to_ndarray(format="rgb24")
    red = rgb[90, 40].astype(int)
    assert red[0] > 200
    assert red[1] < 60
    assert recording.skipped == 0


@pytest.mark.parametrize("encoder", ["x264", "x265", "svtav1"])
def test_every_software_encoder_records(encoder: str, tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), EncoderSettings(encoder))
    info = info_of(pixel_format="yuv420p")
    record_all(recording, [seen(n, info) for n in range(4)])
    assert len(media.read(tmp_path / "a.mkv").pictures) == 4


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj422p", "yuv420p10le", "nv12", "rgb24"])
def test_pictures_of_any_camera_are_recorded(pixel_format: str, tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), FAST)
    info = info_of(pixel_format=pixel_format)
    record_all(recording, [seen(n, info) for n in range(3)])
    assert len(media.read(tmp_path / "a.mkv").pictures) == 3


def test_every_piece_begins_with_a_key_frame_and_plays_by_itself(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), FAST, Rotation(seconds=1.0))
    info = info_of()
    record_all(recording, [seen(n, info) for n in range(60)])
    assert recording.written == [tmp_path / name for name in ("a.mkv", "a-2.mkv", "a-3.mkv")]
    assert [len(media.read(path).pictures) for path in recording.written] == [25, 25, 10]
    for path in recording.written:
        with av.open(str(path)) as container:
            first = next(container.demux(container.streams.video[0]))
            assert first.is_keyframe
            assert first.pts == 0


def test_pieces_by_size_and_by_geometry(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), FAST, Rotation(size=1))
    small, large = info_of(), info_of(480, 360)
    record_all(recording, [seen(n, small) for n in range(4)] + [seen(4, large)])
    # Every piece is full with its first picture, since the encoder holds none back.
    assert [[picture.width for picture in media.read(path).pictures] for path in recording.written] == [
        [320],
        [320],
        [320],
        [320],
        [480],
    ]


def test_an_encoder_that_cannot_keep_up_leaves_pictures_out_and_counts_them(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), FAST)
    info = info_of()
    with recording._changed:  # the encoder's thread cannot take anything meanwhile
        for n in range(30):
            recording.frame(seen(n, info))
    recording.close({})
    kept = len(media.read(tmp_path / "a.mkv").pictures)
    assert recording.skipped == 22
    assert kept + recording.skipped == 30


def test_a_full_disk_is_told_and_what_was_written_plays_and_is_closed(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot bound the size of files")
    path = tmp_path / "a.mkv"
    recording = Recording(str(path), EncoderSettings("x264", "ultrafast", 1, threads=1))
    info = info_of()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def feed() -> None:
        for n in range(1000):
            recording.frame(seen(n, info))
            feeds.until(lambda: not recording._waiting or recording._failure is not None)

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"a\.mkv: larger than the file system or limit allows"):
            feed()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path not in {Path(os.readlink(link)) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    assert len(media.read(path).pictures) > 5


def test_a_run_that_ends_waits_only_so_long_for_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.live.encoded.CLOSING", 0.0)
    busy, go = threading.Event(), threading.Event()

    class Slow(Recording):
        def _write(self, seen: Seen) -> None:
            busy.set()
            go.wait(20)
            super()._write(seen)

    recording = Slow(str(tmp_path / "a.mkv"), FAST)
    info = info_of()
    recording.frame(seen(0, info))
    assert busy.wait(20)
    for n in range(1, 6):
        recording.frame(seen(n, info))
    closing = threading.Thread(target=recording.close, args=({},))
    closing.start()
    feeds.until(lambda: recording._closed is not None)
    go.set()
    closing.join(20)
    assert len(media.read(tmp_path / "a.mkv").pictures) == 1
    assert recording.skipped == 5


def test_pictures_that_come_at_once_since_they_were_held_are_not_too_many(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), FAST)
    info = info_of()
    with recording._changed:  # the encoder's thread cannot take anything meanwhile
        for n in range(40):
            recording.between(seen(n, info))
        recording.frame(seen(40, info))
    recording.close({})
    assert len(media.read(tmp_path / "a.mkv").pictures) == 41
    assert recording.skipped == 0


def test_a_recording_that_a_crash_cuts_off_plays(tmp_path: Path) -> None:
    recording = Recording(str(tmp_path / "a.mkv"), EncoderSettings("x264", "ultrafast", threads=1))
    info = info_of()
    for n in range(300):
        feeds.until(lambda: len(recording._waiting) < 4)
        recording.frame(seen(n, info))
    feeds.until(lambda: not recording._waiting)
    (tmp_path / "cut.mkv").write_bytes((tmp_path / "a.mkv").read_bytes())
    recording.close({})
    assert len(media.read(tmp_path / "cut.mkv").pictures) >= 250  # a second at most is lost


def test_a_recording_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.mkv"):
        Recording(str(tmp_path / "a.mp4"))
    (tmp_path / "a.mkv").touch()
    with pytest.raises(OutputError, match="exists"):
        Recording(str(tmp_path / "a.mkv"))
    with pytest.raises(OutputError, match="does not exist"):
        Recording(str(tmp_path / "no" / "a.mkv"))
    with pytest.raises(OutputError, match=r"a\.mkv is a file, not a folder"):
        Recording(str(tmp_path / "a.mkv" / "b.mkv"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that takes no files of anybody")
def test_a_folder_that_takes_no_files_is_told_before_any_picture_comes() -> None:
    def header(info: VideoInfo) -> Header:
        return Header.of(info)

    for make in (lambda: Recording("/proc/x.mkv"), lambda: Record("/proc/x.jsonl", header)):
        with pytest.raises(OutputError, match="no file can be written into /proc") as refused:
            make()
        assert refused.value.exit_code == 5


def test_that_a_folder_takes_files_is_found_out_without_a_trace(tmp_path: Path) -> None:
    Recording(str(tmp_path / "a.mkv"))
    assert not list(tmp_path.iterdir())


def test_a_later_piece_that_is_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a-2.mkv").write_text("precious", "utf-8")
    recording = Recording(str(tmp_path / "a.mkv"), FAST, Rotation(seconds=0.1))
    info = info_of()

    def feed() -> None:
        for n in range(1000):
            recording.frame(seen(n, info))
            feeds.until(lambda: not recording._waiting or recording._failure is not None)

    with pytest.raises(OutputError, match=r"a-2\.mkv exists"):
        feed()
    with pytest.raises(OutputError):
        recording.close({})
    assert (tmp_path / "a-2.mkv").read_text("utf-8") == "precious"
    assert media.read(tmp_path / "a.mkv").pictures


def test_a_record_refuses_a_file_that_exists_before_any_picture_comes(tmp_path: Path) -> None:
    path = tmp_path / "a.tracks.jsonl"
    path.write_text("precious", "utf-8")

    def header(info: VideoInfo) -> Header:
        return Header.of(info)

    with pytest.raises(OutputError, match="exists"):
        Record(str(path), header)
    record = Record(str(path), header, overwrite=True)
    record.close({})
    assert path.read_text("utf-8") == "precious"  # nothing came, so nothing was written
