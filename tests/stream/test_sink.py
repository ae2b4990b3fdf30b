"""What a container can hold, and disks that are full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from engine.errors import OutputError, UsageError
from stream.encoding import EncoderSettings, plan_encoder
from stream.joining import join
from stream.probe import probe
from stream.segments import SegmentWriter
from stream.sink import StreamPlan, container_of, plan_streams
from stream.source import FileSource
from tests.stream.media import ASS, CHAPTERS, Video, audio, copied, cover, read, relabel, subrip, text_track, write


def planned(path: Path, output: Path, omit: tuple[int, ...] = (), encoder: str = "auto") -> StreamPlan:
    return plan_streams(path, output, plan_encoder(EncoderSettings(encoder), probe(path)), omit)


def refused(path: Path, output: Path) -> str:
    with pytest.raises(OutputError) as caught:
        planned(path, output)
    assert output.name in str(caught.value)
    assert caught.value.exit_code == 5
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"), [("a.mp4", "mp4"), ("A.MKV", "matroska"), ("a.mov", "mov"), ("a.m4v", "mp4")]
)
def test_containers(name: str, wanted: str) -> None:
    assert container_of(name) == wanted


@pytest.mark.parametrize("name", ["a.avi", "a.webm", "a", "a.mp3"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"\.mkv"):
        container_of(name)


def test_all_is_copied_where_all_fits(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        Video(frames=3, time_base=Fraction(1, 1000)),
        [audio("eng", seconds=0.2), subrip(), copied(ASS, "ass")],
        attachments=[("f.ttf", "font/ttf", b"123")],
    )
    assert planned(path, tmp_path / "b.mkv") == StreamPlan("matroska", 0, (1, 2, 3, 4), ())


def test_tracks_that_do_not_fit_are_named_with_the_container_that_takes_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        Video(frames=3, time_base=Fraction(1, 1000)),
        [audio("eng", seconds=0.2), subrip("kor"), copied(ASS, "ass", {"language": "eng"})],
        attachments=[("f.ttf", "font/ttf", b"123")],
    )
    message = refused(path, tmp_path / "b.mp4")
    assert "subtitle track #2 (subrip, kor)" in message
    assert "subtitle track #3 (ass, eng)" in message
    assert "attachment track #4" in message
    assert "audio" not in message
    assert "b.mkv" in message


def test_what_fits_nowhere_can_be_left_out_on_request(tmp_path: Path) -> None:
    """Subtitles that only MP4 holds together with those that only MKV holds."""
    path = write(tmp_path / "a.ts", Video(frames=3, time_base=Fraction(1, 90000)), [audio("eng", seconds=0.2)])
    texts = [(0.0, 0.1, b"\x00\x02hi")]
    mp4 = write(tmp_path / "a.mp4", Video(frames=3), [audio("eng", seconds=0.2), text_track("mov_text", texts)])
    assert "b.mp4" in refused(mp4, tmp_path / "b.mkv")
    plan = planned(mp4, tmp_path / "b.mkv", omit=(2,))
    assert plan.copied == (1,)
    assert any("left out, as asked" in note for note in plan.notes)
    assert planned(path, tmp_path / "b.mkv").copied == (1,)


def test_data_that_no_container_can_read_again(tmp_path: Path) -> None:
    """Muxers accept some data tracks and write what cannot be read; that counts as not holding them."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg program here to write a data track")
    (tmp_path / "k.bin").write_bytes(bytes(range(200)))
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=0.2", "-f", "data"]
    command += ["-i", str(tmp_path / "k.bin"), "-map", "0", "-map", "1", "-c:v", "mpeg2video", str(tmp_path / "a.ts")]
    subprocess.run(command, check=True)
    for suffix in ("mp4", "mov", "mkv"):
        message = refused(tmp_path / "a.ts", tmp_path / f"b.{suffix}")
        assert "data track #1" in message
        assert "--omit 1" in message
    assert planned(tmp_path / "a.ts", tmp_path / "b.mkv", omit=(1,)).copied == ()


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_timecode_track_is_written_anew(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "a.mov", Video(frames=10, metadata={"timecode": "01:02:03:04"}), [audio("eng")])
    assert "data" in read(path).kinds
    relabel(path, tmp_path / f"b.{suffix}")
    copy = read(tmp_path / f"b.{suffix}")
    codes = {k.lower(): v for metadata in copy.stream_metadata for k, v in metadata.items()}
    assert codes["timecode"] == "01:02:03:04"
    if suffix != "mkv":
        assert copy.packets[2] == read(path).packets[2]


def test_chapters_are_no_lost_track(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=30), chapters=CHAPTERS)
    assert "data" in read(path).kinds
    plan = planned(path, tmp_path / "b.mkv")
    assert plan.copied == ()
    assert plan.notes == ()


def test_mov_does_not_keep_covers_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=3), [cover()])
    assert "cover picture #1" in refused(path, tmp_path / "b.mov")


def test_a_cover_and_unusual_tags_do_not_fit_mp4_together(tmp_path: Path) -> None:
    picture = read(write(tmp_path / "c.mp4", Video(frames=2), [cover()])).packets[1][0][1]
    path = write(
        tmp_path / "a.mkv",
        Video(frames=3, time_base=Fraction(1, 1000)),
        metadata={"mood": "bright", "title": "T"},
        attachments=[("cover.jpg", "image/jpeg", picture)],
    )
    assert any("MOOD" in note for note in planned(path, tmp_path / "b.mp4").notes)
    relabel(path, tmp_path / "b.mp4")
    assert read(tmp_path / "b.mp4").metadata["title"] == "T"
    assert not planned(path, tmp_path / "b.mkv").notes


def test_an_encoder_that_the_container_does_not_take(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=3, width=64, height=64))
    with pytest.raises(OutputError, match="svtav1"):
        planned(path, tmp_path / "b.mov", encoder="svtav1")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a tiny disk")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path, tiny_disk: Path, suffix: str) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=20, time_base=Fraction(1, 1000)), [audio("x", codec="pcm_s16le")])
    assert path.stat().st_size > 100_000
    with FileSource(path, 1) as source:
        writer = SegmentWriter(tmp_path / "work", source, None, 10)
        for frame in source.frames():
            writer.write(frame)
        segments = writer.finish()
    with pytest.raises(OutputError, match="full") as caught:
        join(segments, path, tiny_disk / f"b.{suffix}", plan=writer.plan)
    assert caught.value.exit_code == 5
    assert list(tiny_disk.iterdir()) == []
    join(segments, path, tmp_path / f"b.{suffix}", plan=writer.plan)  # what was finished can still be used


def test_a_full_disk_while_encoding(tmp_path: Path, tiny_disk: Path) -> None:
    noisy = Video(frames=40, width=320, height=240, options={"preset": "ultrafast", "crf": "1"})
    path = write(tmp_path / "a.mp4", noisy)
    with FileSource(path, 1) as source:
        writer = SegmentWriter(tiny_disk / "work", source, EncoderSettings(crf=1), 4)
        with pytest.raises(OutputError, match="full"):  # noqa: PT012
            for frame in source.frames():
                writer.write(frame)
            writer.finish()
        assert writer.abort()
        writer.work.release()
