"""Segments: fixed, closed, each by itself, joined without a seam."""

from __future__ import annotations

import errno
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError, OutputError
from stream.encoding import EncoderSettings
from stream.joining import decoding_times, join
from stream.journal import write_json
from stream.segments import Coded, SegmentWriter, check_headers, sound_segments
from stream.source import FileSource
from tests.stream.media import Video, audio, read, vfr, write


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write(
        tmp_path / "a.mp4", Video(frames=50, pts=vfr(50, 512)), [audio("eng", seconds=3)], chapters=three_chapters()
    )


def three_chapters() -> list[dict[str, object]]:
    """Of a second and a half each."""
    base = Fraction(1, 1000)
    return [
        {"id": i, "start": 1500 * i, "end": 1500 * i + 1500, "time_base": base, "metadata": {"title": f"Part {i}"}}
        for i in range(3)
    ]


def written(
    clip: Path, folder: Path, length: int, settings: EncoderSettings | None = None, overwrite: bool = False
) -> SegmentWriter:
    with FileSource(clip, 1) as source:
        writer = SegmentWriter(folder, source, settings, length, overwrite=overwrite)
        for frame in source.frames():
            writer.write(frame)
    return writer


def test_lengths_and_journal(clip: Path, tmp_path: Path) -> None:
    writer = written(clip, tmp_path / "work", 16)
    segments = writer.finish()
    assert [s.frames for s in segments] == [16, 16, 16, 2]
    assert [s.first_frame for s in segments] == [0, 16, 32, 48]
    assert [s.index for s in segments] == [0, 1, 2, 3]
    assert all(s.packets[0].key for s in segments)
    assert sound_segments(tmp_path / "work") == segments
    job = json.loads((tmp_path / "work" / "job.json").read_text("utf-8"))["job"]
    assert job["encoder"] == writer.plan.to_json()
    assert job["frames_per_segment"] == 16
    assert sorted(p.pts for s in segments for p in s.packets) == vfr(50, 512)


def test_memory_is_handed_back_after_every_segment(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr("stream.segments.give_memory_back", lambda: given.append(1))
    written(clip, tmp_path / "work", 16).finish()
    assert len(given) == 4


def test_each_segment_decodes_alone(clip: Path, tmp_path: Path) -> None:
    writer = written(clip, tmp_path / "work", 16)
    source = [f.picture.to_ndarray(format="rgb24") for f in FileSource(clip, 1).frames()]
    for segment in writer.finish():
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = segment.extradata
        pictures = []
        for coded, data in segment.read():
            packet = av.Packet(data)
            packet.pts = coded.pts
            pictures += decoder.decode(packet)
        pictures += decoder.decode(None)
        assert len(pictures) == segment.frames
        for i, picture in enumerate(pictures):
            assert not picture.is_corrupt
            off = np.abs(picture.to_ndarray(format="rgb24").astype(int) - source[segment.first_frame + i])
            assert off.mean() < 6


def test_a_segment_depends_on_its_own_frames_alone(clip: Path, tmp_path: Path) -> None:
    """Made alone, or after others, or in a second run: the same bytes."""
    whole = written(clip, tmp_path / "one", 10).finish()
    again = written(clip, tmp_path / "two", 10).finish()
    assert [s.sha256 for s in again] == [s.sha256 for s in whole]
    with FileSource(clip, 1) as source:
        alone = SegmentWriter(tmp_path / "three", source, None, 10)
        for frame in source.frames():
            if 20 <= frame.index < 30:
                alone.write(frame)
        assert alone.finish()[0].sha256 == whole[2].sha256


def test_what_was_there_before_is_removed(clip: Path, tmp_path: Path) -> None:
    before = written(clip, tmp_path / "work", 5)
    before.finish()
    before.work.release()
    with pytest.raises(OutputError, match="--overwrite"):
        written(clip, tmp_path / "work", 40)
    segments = written(clip, tmp_path / "work", 40, overwrite=True).finish()
    assert sound_segments(tmp_path / "work") == segments
    assert len(segments) == 2


def test_a_folder_of_somebody_else_is_left_alone(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "photo.jpg").touch()
    with FileSource(clip, 1) as source, pytest.raises(OutputError, match="in the way"):
        SegmentWriter(tmp_path / "work", source)
    assert (tmp_path / "work" / "photo.jpg").exists()


def test_abort_keeps_what_is_finished(clip: Path, tmp_path: Path) -> None:
    with FileSource(clip, 1) as source:
        writer = SegmentWriter(tmp_path / "work", source, None, 10)
        for frame in source.frames():
            if frame.index == 34:
                break
            writer.write(frame)
        kept = writer.abort()
        assert [s.frames for s in kept] == [10, 10, 10]
        assert sound_segments(tmp_path / "work") == kept
        report = join(kept, clip, tmp_path / "a.partial.mp4", plan=writer.plan, partial=True)
    assert report.frames == 30
    part, source_file = read(tmp_path / "a.partial.mp4"), read(clip)
    assert part.times == source_file.times[:30]
    assert [title for _, _, title in part.chapters] == ["Part 0", "Part 1"]
    assert part.chapters[1][1] <= source_file.times[30]
    # Sound goes as far as the picture does, and not further.
    assert abs(part.packets[1][-1][0] - source_file.times[30]) < Fraction(1, 5)
    assert [p for _, p in part.packets[1]] == [p for _, p in source_file.packets[1]][: len(part.packets[1])]


def test_finish_keeps_the_open_segment_too(clip: Path, tmp_path: Path) -> None:
    with FileSource(clip, 1) as source:
        writer = SegmentWriter(tmp_path / "work", source, None, 250)
        for frame in source.frames():
            if frame.index == 7:
                break
            writer.write(frame)
        assert [s.frames for s in writer.finish()] == [7]


def test_a_changed_or_missing_segment_is_noticed(clip: Path, tmp_path: Path) -> None:
    writer = written(clip, tmp_path / "work", 25)
    segments = writer.finish()
    data = bytearray(segments[1].path.read_bytes())
    data[100] ^= 1
    segments[1].path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"000001\.bin has changed"):
        join(segments, clip, tmp_path / "b.mp4", plan=writer.plan)
    segments[1].path.unlink()
    with pytest.raises(InputError, match=r"000001\.bin cannot be read"):
        join(segments, clip, tmp_path / "b.mp4", plan=writer.plan)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "work"]


def test_journal_ends_at_the_first_gap(clip: Path, tmp_path: Path) -> None:
    written(clip, tmp_path / "work", 10).finish()
    (tmp_path / "work" / "000002.json").unlink()
    assert [s.index for s in sound_segments(tmp_path / "work")] == [0, 1]
    (tmp_path / "work" / "000001.json").write_text("{}", "utf-8")
    assert [s.index for s in sound_segments(tmp_path / "work")] == [0]


def test_other_headers_are_noticed(clip: Path, tmp_path: Path) -> None:
    one = written(clip, tmp_path / "one", 25).finish()
    two = written(clip, tmp_path / "two", 25, EncoderSettings(preset="ultrafast")).finish()
    with pytest.raises(RuntimeError, match="headers"):
        check_headers([one[0], two[1]])


def test_a_full_disk_is_an_output_error(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        if path.name == "000001.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json(path, value)

    monkeypatch.setattr("stream.segments.write_json", full)
    with FileSource(clip, 1) as source:
        writer = SegmentWriter(tmp_path / "work", source, None, 10)
        with pytest.raises(OutputError, match="full") as caught:  # noqa: PT012
            for frame in source.frames():
                writer.write(frame)
            writer.finish()
        assert caught.value.exit_code == 5
        assert [s.index for s in writer.abort()] == [0]


def test_a_folder_that_cannot_be_made(clip: Path, tmp_path: Path) -> None:
    with FileSource(clip, 1) as source, pytest.raises(OutputError, match="does not exist"):
        SegmentWriter(tmp_path / "none" / "work", source)


def fake(groups: list[list[int]]) -> list[Coded]:
    """Packets of segments by their display times in decoding order."""
    return [Coded(pts, 0, 1, j == 0) for group in groups for j, pts in enumerate(group)]


def test_decoding_times_of_a_known_case() -> None:
    times = decoding_times(fake([[0, 80, 40, 120], [160, 240, 200]]))
    assert times.pts == (0, 80, 40, 120, 160, 240, 200)
    assert times.dts == (-40, 0, 40, 80, 120, 160, 200)
    assert times.duration == (40,) * 7
    assert times.end == 280


@given(
    st.lists(st.lists(st.integers(1, 5000), min_size=1, max_size=12), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
    st.integers(-5000, 5000),
)
def test_decoding_times_hold_for_any_order(gaps: list[list[int]], dice: object, start: int) -> None:
    groups, now = [], start
    for group in gaps:
        stamps = []
        for gap in group:
            stamps.append(now)
            now += gap
        rest = stamps[1:]
        dice.shuffle(rest)  # type: ignore[attr-defined]
        groups.append([stamps[0], *rest])
    times = decoding_times(fake(groups))
    assert all(b > a for a, b in pairwise(times.dts))
    assert all(d <= p for d, p in zip(times.dts, times.pts, strict=True))
    ordered = sorted(times.pts)
    lasting = dict(zip(times.pts, times.duration, strict=True))
    assert all(lasting[a] == b - a for a, b in pairwise(ordered))


def test_the_last_picture_lasts_as_long_as_the_source_says() -> None:
    assert decoding_times(fake([[0, 40, 80]]), stated_end=100).end == 100
    assert decoding_times(fake([[0, 40, 80]]), stated_end=9000).end == 120  # cut short: not stretched over what is lost
    assert decoding_times(fake([[0, 40, 80]])).end == 120
    assert decoding_times(fake([[7]])).end == 8


def test_frames_without_their_own_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=5, time_base=Fraction(1, 1000)))
    writer = written(path, tmp_path / "work", 2)
    join(writer.finish(), path, tmp_path / "b.mp4", plan=writer.plan)
    assert read(tmp_path / "b.mp4").length == Fraction(1, 5)
