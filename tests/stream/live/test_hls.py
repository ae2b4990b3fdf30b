"""HLS: a folder whose list and segments can be played at any moment."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from engine.errors import OutputError, UsageError
from stream.encoding import EncoderSettings
from stream.live.hls import LISTED, HlsFolder
from tests.stream.live import feeds
from tests.stream.live.test_outputs import FAST, info_of, seen


def fill(hls: HlsFolder, first: int, last: int, info: object) -> None:
    for n in range(first, last):
        feeds.until(lambda: len(hls._waiting) < 4)
        hls.frame(seen(n, info))  # type: ignore[arg-type]


def test_a_folder_plays_and_every_segment_begins_with_a_key_frame(tmp_path: Path) -> None:
    hls = HlsFolder(tmp_path / "hls", FAST)
    fill(hls, 0, 130, info_of(pixel_format="yuv420p"))
    hls.close({})
    lines = hls.playlist.read_text("utf-8").splitlines()
    segments = [line for line in lines if line.endswith(".ts")]
    assert lines[0] == "#EXTM3U"
    assert lines[-1] == "#EXT-X-ENDLIST"
    assert segments == ["1-0.ts", "1-1.ts", "1-2.ts"]
    for segment in segments:
        with av.open(str(tmp_path / "hls" / segment)) as container:
            assert next(container.demux(container.streams.video[0])).is_keyframe
    with av.open(str(hls.playlist)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 130


def test_it_can_be_played_while_it_is_written(tmp_path: Path) -> None:
    hls = HlsFolder(tmp_path / "hls", FAST)
    info = info_of(pixel_format="yuv420p")
    fill(hls, 0, 110, info)
    feeds.until(lambda: not hls._waiting and hls.playlist.exists())
    assert "#EXT-X-ENDLIST" not in hls.playlist.read_text("utf-8")
    segment = next(line for line in hls.playlist.read_text("utf-8").splitlines() if line.endswith(".ts"))
    with av.open(str(tmp_path / "hls" / segment)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    hls.close({})


def test_old_segments_are_removed(tmp_path: Path) -> None:
    hls = HlsFolder(tmp_path / "hls", FAST)
    info = info_of(64, 48, "yuv420p")
    fill(hls, 0, 50 * (LISTED + 6), info)
    hls.close({})
    segments = [line for line in hls.playlist.read_text("utf-8").splitlines() if line.endswith(".ts")]
    assert len(segments) == LISTED
    assert len(list((tmp_path / "hls").glob("*.ts"))) <= LISTED + 2


def test_another_size_goes_on_in_the_same_list(tmp_path: Path) -> None:
    hls = HlsFolder(tmp_path / "hls", FAST)
    fill(hls, 0, 60, info_of(pixel_format="yuv420p"))
    fill(hls, 60, 100, info_of(480, 360, "yuv420p"))
    hls.close({})
    text = hls.playlist.read_text("utf-8")
    assert "#EXT-X-DISCONTINUITY" in text
    sizes = []
    for line in text.splitlines():
        if line.endswith(".ts"):
            with av.open(str(tmp_path / "hls" / line)) as container:
                sizes.append(next(container.decode(video=0)).width)
    assert sizes == [320, 320, 480]


def test_a_full_disk_is_told_and_what_is_listed_plays(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot bound the size of files")
    hls = HlsFolder(tmp_path / "hls", EncoderSettings("x264", "ultrafast", 1, threads=1))
    info = info_of(pixel_format="yuv420p")
    fill(hls, 0, 51, info)
    feeds.until(hls.playlist.exists)
    size = (tmp_path / "hls" / "1-0.ts").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(OutputError, match=r"hls/1-1\.ts: larger than the file system or limit allows"):
            fill(hls, 51, 200, info)
        with pytest.raises(OutputError):
            hls.close({})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in (tmp_path / "hls").iterdir()} == {"live.m3u8", "1-0.ts"}
    assert [line for line in hls.playlist.read_text("utf-8").splitlines() if line.endswith(".ts")] == ["1-0.ts"]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="svtav1"):
        HlsFolder(tmp_path / "hls", EncoderSettings("svtav1"))
    with pytest.raises(OutputError, match=r"hls: the folder .*no does not exist"):
        HlsFolder(tmp_path / "no" / "hls")
    for folder in ("/proc/hls", "/proc/self"):
        with pytest.raises(OutputError, match="no file can be written into /proc"):
            HlsFolder(folder)
    (tmp_path / "hls").mkdir()
    (tmp_path / "hls" / "live.m3u8").touch()
    with pytest.raises(OutputError, match="exists"):
        HlsFolder(tmp_path / "hls")
    HlsFolder(tmp_path / "hls", overwrite=True).close({})


@pytest.mark.parametrize("name", ["cam%d", "50%02d", "a%d/hls"])
def test_a_folder_that_ffmpeg_would_take_for_a_pattern_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"%.*another folder"):
        HlsFolder(tmp_path / name, FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_may_have_a_percent_sign_in_its_name(tmp_path: Path) -> None:
    hls = HlsFolder(tmp_path / "100% cam", FAST)
    fill(hls, 0, 10, info_of(pixel_format="yuv420p"))
    hls.close({})
    with av.open(str(hls.playlist)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
