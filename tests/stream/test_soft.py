"""A soft copy: every packet as it was, and a subtitle track that says what the record says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pysubs2
import pytest
from PIL import Image

from engine.errors import InputError, OutputError, UsageError
from stream.label import label_video, record_output, video_output
from stream.render import render_video
from stream.styles import Style
from stream.tracks import Tracks, read
from tests.stream import media
from tests.stream.test_render import FRAMES, HEIGHT, WIDTH, boxes_at, stage, write_record

MILLISECOND = Fraction(1, 1000)
TICK = Fraction(1, 90000)


def rounded(time: Fraction) -> Fraction:
    return int(time / MILLISECOND + Fraction(1, 2)) * MILLISECOND


def source(path: Path, extras: list[media.Extra] | None = None, **over: Any) -> Path:
    """A video whose record is known, with irregular times; MP4 counts in 1/12800 s."""
    settings: dict[str, Any] = {
        "frames": FRAMES,
        "width": WIDTH,
        "height": HEIGHT,
        "picture": stage,
        "pts": media.vfr(FRAMES, 400),
    }
    written = media.write(
        path, media.Video(**(settings | over)), extras or [], chapters=media.CHAPTERS, metadata={"title": "La Vie"}
    )
    write_record(written, record_output(written))
    return written


def soft(path: Path, **over: Any) -> Path:
    out = path.with_name("out.mkv")
    render_video(path, record_output(path), out, soft=True, **over)
    return out


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_every_packet_is_the_sources(suffix: str, tmp_path: Path) -> None:
    extras = [media.audio("eng"), media.audio("kor", hertz=300)] + ([media.subrip()] if suffix == "mkv" else [])
    path = source(tmp_path / f"mv.{suffix}", extras)
    was, now = media.read(path), media.read(soft(path))
    kinds = [kind for kind in was.kinds if kind != "data"]  # MP4 keeps chapter titles in one
    assert now.kinds == ["video", "subtitle", *kinds[1:]]
    faces = now.packets.pop(1)
    assert len(faces) > FRAMES
    del was.packets[len(kinds) :]
    assert [[data for _, data in track] for track in now.packets] == [[d for _, d in track] for track in was.packets]
    # MKV counts milliseconds from its first packet; distances stay.
    shift = now.packets[0][0][0] - rounded(was.packets[0][0][0])
    for before, after in zip(was.packets, now.packets, strict=True):
        for (then, _), (when, _) in zip(before, after, strict=True):
            assert abs(when - shift - then) <= MILLISECOND / 2
    assert [(start - shift, end - shift, title) for start, end, title in now.chapters] == was.chapters
    assert now.metadata["title"] == "La Vie"
    assert [s.get("language") for s in now.stream_metadata][2:4] == ["eng", "kor"]


def _time(packet: Any) -> Fraction:
    return Fraction(packet.pts * packet.time_base)


def shown_at(record: Tracks, path: Path) -> list[list[tuple[int, int, str]]]:
    """For every frame of the record, what the track shows when it is on: place and text of the boxes and names."""
    with av.open(str(path)) as container:
        track = container.streams.subtitles[0]
        first = min(_time(p) for p in container.demux(container.streams.video[0]) if p.size)
        container.seek(0)
        events = []
        for packet in container.demux(track):
            if packet.size:
                length = (packet.duration or 0) * MILLISECOND
                events.append((_time(packet), _time(packet) + length, bytes(packet).decode().split(",", 8)))
    shift = first - rounded(record.frames[0].pts * record.header.time_base)
    found = []
    for frame in record.frames:
        now = rounded(frame.pts * record.header.time_base) + shift
        found.append([(int(f[1]), 0, f[8]) for start, end, f in events if start <= now < end])
    return found


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_subtitles_are_on_exactly_with_their_frames(suffix: str, tmp_path: Path) -> None:
    path = source(tmp_path / f"mv.{suffix}")
    out = soft(path, unknown="box")
    record = read(record_output(path))
    for i, shown in enumerate(shown_at(record, out)):
        boxes = [text for layer, _, text in shown if layer == 0]
        assert len(boxes) == len(boxes_at(i)), i
        for x1, y1, _, _ in boxes_at(i).values():
            assert any(rf"\pos({int(x1)},{int(y1)})" in text for text in boxes), i
        assert [text.rpartition("}")[2] for layer, _, text in shown if layer == 1] == ["ann"], i


def test_the_subtitles_are_on_before_zero(tmp_path: Path) -> None:
    path = source(tmp_path / "mv.ts", pts=media.vfr(FRAMES, 3600, media.BEFORE_ZERO), time_base=Fraction(1, 90000))
    record = read(record_output(path))
    assert record.frames[0].pts < 0 < record.frames[-1].pts
    for i, shown in enumerate(shown_at(record, soft(path))):
        assert [text.rpartition("}")[2] for layer, _, text in shown if layer == 1] == ["ann"], i


def test_a_clock_that_begins_anew(tmp_path: Path) -> None:
    """Two broadcasts put one behind the other: pictures went back to the start, and boxes did not."""
    path = source(
        tmp_path / "mv.ts", [media.audio(codec="mp2", seconds=2.4)], pts=media.vfr(FRAMES, 3600), time_base=TICK
    )
    path.write_bytes(path.read_bytes() * 2)
    record_output(path).unlink()
    write_record(path, record_output(path))
    record, out = read(record_output(path)), soft(path)
    assert len(record.frames) == 2 * FRAMES
    copy = media.read(out)
    seen = [frame.pts * record.header.time_base for frame in record.frames]
    shift = copy.times[0] - seen[0]
    assert all(abs(now - then - shift) <= MILLISECOND for now, then in zip(copy.times, seen, strict=True))
    for i, shown in enumerate(shown_at(record, out)):
        assert [text.rpartition("}")[2] for layer, _, text in shown if layer == 1] == ["ann"], i
    sound = copy.packets[2]
    again = [when for when, data in sound if data == sound[0][1]]
    assert abs((again[1] - again[0]) - (seen[FRAMES] - seen[0])) <= MILLISECOND


def test_the_track_is_one_that_players_show(tmp_path: Path) -> None:
    out = soft(source(tmp_path / "mv.mkv", [media.subrip()]), style=Style("colours"))
    with av.open(str(out)) as container:
        faces, words = container.streams.subtitles
        assert faces.codec_context.name in ("ass", "ssa")
        assert faces.disposition & 1  # on by default
        assert faces.index < words.index
        assert faces.metadata["title"] == "Faces"
        head = pysubs2.SSAFile.from_string((faces.codec_context.extradata or b"").decode())
    assert head.info["PlayResX"] == str(WIDTH)
    assert "Name person 1" in head.styles


def test_rotation_and_colour_stay(tmp_path: Path) -> None:
    path = source(
        tmp_path / "mv.mp4",
        rotation=-90,
        colour=(1, 9, 16, 9),
        pixel_format="yuv420p10le",
        codec="libx265",
        options={"preset": "ultrafast", "x265-params": "log-level=error"},
    )
    out = soft(path)
    was, now = media.read(path).pictures[0], media.read(out).pictures[0]
    for name in ("rotation", "color_primaries", "color_trc", "colorspace", "color_range"):
        assert getattr(was, name) == getattr(now, name), name


def test_no_face_is_no_fault(tmp_path: Path) -> None:
    path = media.write(tmp_path / "mv.mkv", media.Video(frames=8))
    from stream.source import FileSource
    from stream.tracks import Header, TracksWriter

    with FileSource(path) as reader, TracksWriter.open(record_output(path), Header.of(reader.info)) as writer:
        for frame in reader.frames():
            writer.frame(index=frame.index, pts=frame.pts, shot=0, faces=[])
        writer.finish()
    now = media.read(soft(path))
    assert now.kinds == ["video", "subtitle"]
    assert now.packets[1] == []


def test_what_cannot_be_soft_is_said_before_any_work(tmp_path: Path) -> None:
    path = source(tmp_path / "mv.mp4", [media.text_track("mov_text", [(0.1, 0.3, b"\0\2hi")])])
    with pytest.raises(UsageError, match=r"out\.mp4: .*name it \.mkv"):
        render_video(path, record_output(path), tmp_path / "out.mp4", soft=True)
    with pytest.raises(OutputError, match="--omit 1"):
        soft(path)
    assert media.read(soft(path, omit=[1])).kinds == ["video", "subtitle"]
    avi = media.write(tmp_path / "b.avi", media.Video(frames=8))
    with pytest.raises(InputError, match="leave --soft out"):
        label_video(avi, soft=True)
    bare = media.write(tmp_path / "b.h264", media.Video(frames=8))
    with pytest.raises(InputError, match=r"b\.h264 stores no display times, .*leave --soft out"):
        label_video(bare, soft=True)
    bare.unlink()
    gif = tmp_path / "c.gif"
    Image.new("RGB", (64, 48)).save(gif, save_all=True, append_images=[Image.new("RGB", (64, 48), "red")])
    with pytest.raises(OutputError, match=r"cannot hold video track #0 \(gif\), the picture itself; leave --soft out"):
        label_video(gif, soft=True)
    gif.unlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.avi", "mv.mp4", "mv.tracks.jsonl", "out.mkv"]


@pytest.mark.parametrize("open_gop", ["0", "1"])
def test_what_an_edit_list_cuts_away_is_not_shown_again(open_gop: str, tmp_path: Path) -> None:
    """MP4 hides what lies before zero; here that is two groups of pictures, and sound."""
    options = {"preset": "ultrafast", "g": "4", "keyint_min": "4", "sc_threshold": "0", "bf": "2"}
    options["x264-params"] = f"open-gop={open_gop}"
    path = source(
        tmp_path / "mv.mp4", [media.audio(offset=-20000)], pts=range(-8 * 512, (FRAMES - 8) * 512, 512), options=options
    )
    was, now = media.read(path), media.read(soft(path))
    assert len(was.times) == len(now.times) == FRAMES - 8
    for theirs, ours in zip(was.pictures, now.pictures, strict=True):
        assert (theirs.to_ndarray() == ours.to_ndarray()).all()
    shift = now.times[0] - was.times[0]
    assert shift < Fraction(1, 10)
    heard = [(when, data) for when, data in was.packets[1] if when > -Fraction(1, 10)]
    assert [data for _, data in now.packets[2]][-len(heard) + 2 :] == [data for _, data in heard][2:]
    assert len(now.packets[2]) <= len(heard)
    assert abs(now.packets[2][-1][0] - shift - heard[-1][0]) <= MILLISECOND


def test_hidden_pictures_that_others_are_built_on_are_refused(tmp_path: Path) -> None:
    path = source(tmp_path / "mv.mp4", pts=range(-5 * 512, (FRAMES - 5) * 512, 512))
    with pytest.raises(OutputError, match=r"would show 5 pictures .*mv\.mp4.*leave --soft out"):
        soft(path)
    assert not (tmp_path / "out.mkv").exists()


def test_labelling_softly(tmp_path: Path, detector: Any, embedder: Any) -> None:
    path = source(tmp_path / "mv.mp4", [media.audio()])
    record_output(path).unlink()
    result = label_video(path, soft=True, detector=detector, unknown="box")
    assert result.video == video_output(path, soft=True) == tmp_path / "mv.labelled.mkv"
    assert result.frames == FRAMES
    was, now = media.read(path), media.read(tmp_path / "mv.labelled.mkv")
    assert [d for _, d in now.packets[0]] == [d for _, d in was.packets[0]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mv.labelled.mkv", "mv.mp4", "mv.tracks.jsonl"]
