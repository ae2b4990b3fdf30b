"""Nothing of the original is lost: real files go through decode, segments and join, and are compared by the packet."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stream.encoding import EncoderSettings
from stream.joining import chapters_of
from stream.probe import probe, side_data_of
from tests.needs import need
from tests.stream.media import (
    ASS,
    BEFORE_ZERO,
    CHAPTERS,
    Extra,
    Read,
    Video,
    audio,
    copied,
    cover,
    read,
    relabel,
    second_video,
    subrip,
    text_track,
    vfr,
    with_captions,
    write,
)

FAST = {"preset": "ultrafast"}
CONTAINERS = ["mp4", "mov", "mkv"]


def same_times(source: Read, copy: Read) -> None:
    """Each PTS within half a tick of the copy's container, apart from one shift of everything."""
    shift = copy.times[0] - source.times[0]
    half = copy.time_base / 2
    assert len(copy.times) == len(source.times)
    # The shift itself is rounded to a tick, and so is every time.
    assert all(abs(c - s - shift) <= 2 * half for s, c in zip(source.times, copy.times, strict=True))
    if copy.time_base.denominator % source.time_base.denominator == 0:
        assert [c - shift for c in copy.times] == source.times


def same_packets(source: Read, copy: Read, stream: int, tick: Fraction = Fraction(0)) -> None:
    """A copied track: the same bytes, at the same distance from the picture."""
    theirs, ours = source.packets[stream], copy.packets[stream]
    assert [p for _, p in ours] == [p for _, p in theirs]
    for (then, _), (now, _) in zip(theirs, ours, strict=True):
        assert abs((now - copy.times[0]) - (then - source.times[0])) <= tick


def same_pictures(source: Read, copy: Read, limit: float = 6) -> None:
    for theirs, ours in zip(source.pictures, copy.pictures, strict=True):
        assert (ours.width, ours.height) == (theirs.width, theirs.height)
        a, b = (p.to_ndarray(format="rgb24").astype(int) for p in (theirs, ours))
        assert np.abs(a - b).mean() < limit


def same_facts(source: Path, copy: Path) -> None:
    a, b = probe(source), probe(copy)
    assert b.colour.range % 2 == a.colour.range % 2 if b.info.pixel_format.startswith("yuvj") else True
    for name in ("primaries", "transfer", "matrix", "chroma_location"):
        assert getattr(b.colour, name) == getattr(a.colour, name), name
    assert (b.colour.range == 2) == (a.colour.range == 2)
    assert b.info.rotation == a.info.rotation
    assert b.mirrored == a.mirrored
    assert b.field_order == a.field_order
    assert (b.sample_aspect or 1) == (a.sample_aspect or 1)
    assert b.mastering == a.mastering
    assert b.light_level == a.light_level
    assert b.captions == a.captions


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_variable_rate_two_languages_and_chapters(tmp_path: Path, suffix: str) -> None:
    video = Video(frames=40, pts=vfr(40, 512, first=1003), metadata={"language": "kor"})
    path = write(
        tmp_path / "a.mp4",
        video,
        [audio("kor", "본편", offset=777), audio("jpn", hertz=600)],
        chapters=CHAPTERS,
        metadata={"title": "La Vie en Rose", "artist": "IZ*ONE", "date": "2018"},
    )
    out = tmp_path / f"b.{suffix}"
    report = relabel(path, out)
    assert report.frames == 40
    assert report.notes == []
    source, copy = read(path), read(out)
    same_times(source, copy)
    tick = Fraction(0) if suffix != "mkv" else copy.time_base
    same_packets(source, copy, 1, tick)
    same_packets(source, copy, 2, tick)
    assert report.packets == {1: len(source.packets[1]), 2: len(source.packets[2])}
    same_pictures(source, copy)
    same_facts(path, out)
    shift = copy.times[0] - source.times[0]
    for ours, theirs in zip(copy.chapters, source.chapters, strict=True):
        assert ours[2] == theirs[2]
        assert all(abs(ours[i] - theirs[i] - shift) <= tick for i in (0, 1))
    assert len(copy.chapters) == 2
    tags = {k.lower(): v for k, v in copy.metadata.items()}
    assert (tags["title"], tags["artist"], tags["date"]) == ("La Vie en Rose", "IZ*ONE", "2018")
    languages = [m.get("language") for m in copy.stream_metadata[:3]]
    assert languages == ["kor", "kor", "jpn"]
    titles = copy.stream_metadata[1]
    assert titles.get("title", titles.get("name")) == "본편"
    assert abs(copy.length - source.length) <= 2 * copy.time_base or suffix == "mkv"


def test_everything_that_mkv_holds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        Video(frames=30, time_base=Fraction(1, 1000), pts=[round(t / 12.8) for t in vfr(30, 512)]),
        [
            audio("eng", "Stereo"),
            audio("kor", codec="libopus"),
            audio("jpn", codec="pcm_s16le", seconds=0.5),
            subrip("kor"),
            copied(ASS, "ass", {"language": "eng", "title": "Signs"}),
        ],
        chapters=CHAPTERS,
        metadata={"title": "T", "mykey": "kept too"},
        attachments=[("Nanum.ttf", "application/x-truetype-font", bytes(range(256)) * 9)],
    )
    out = tmp_path / "b.mkv"
    relabel(path, out)
    source, copy = read(path), read(out)
    assert copy.kinds == source.kinds == ["video", *["audio"] * 3, *["subtitle"] * 2, "attachment"]
    assert copy.codecs == source.codecs
    same_times(source, copy)
    for stream in range(1, 6):
        same_packets(source, copy, stream)
        assert source.packets[stream]
    assert copy.attachments == source.attachments
    assert copy.chapters == source.chapters
    assert copy.metadata["MYKEY"] == "kept too"
    assert copy.dispositions == source.dispositions
    for theirs, ours in zip(source.stream_metadata, copy.stream_metadata, strict=True):
        assert (ours.get("language"), ours.get("title")) == (theirs.get("language"), theirs.get("title"))


def test_subtitles_of_mp4(tmp_path: Path) -> None:
    texts = [(0.1, 0.3, b"\x00\x05hello"), (0.6, 0.2, b"\x00\x03bye")]
    path = write(tmp_path / "a.mp4", Video(), [audio("eng"), text_track("mov_text", texts, "eng")])
    relabel(path, tmp_path / "b.mp4")
    source, copy = read(path), read(tmp_path / "b.mp4")
    assert copy.kinds == ["video", "audio", "subtitle"]
    same_packets(source, copy, 2)
    assert copy.stream_metadata[2]["language"] == "eng"


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_sound_that_an_edit_list_cuts_away(tmp_path: Path, suffix: str) -> None:
    """MP4 hides what lies before zero; MKV cannot, so it gets no more of it than a decoder needs to begin."""
    path = write(tmp_path / "a.mp4", Video(), [audio("kor", offset=-24000), audio("eng")])
    relabel(path, tmp_path / f"b.{suffix}")
    source, copy = read(path), read(tmp_path / f"b.{suffix}")
    kept = [
        when for when, _ in source.packets[1] if suffix != "mkv" or when + Fraction(1024, 48000) >= -Fraction(1, 20)
    ]
    assert len(copy.packets[1]) == len(kept)
    assert [data for _, data in copy.packets[1]] == [data for _, data in source.packets[1]][-len(kept) :]
    assert abs((copy.packets[1][0][0] - copy.times[0]) - (kept[0] - source.times[0])) <= copy.time_base
    same_packets(source, copy, 2, copy.time_base)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("start", ["mp4", "mkv"])
def test_cover_picture(tmp_path: Path, start: str, suffix: str) -> None:
    extras: list[Extra] = [audio("eng")]
    attachments = []
    picture = read(write(tmp_path / "c.mp4", Video(frames=2), [cover()])).packets[1][0][1]
    if start == "mp4":
        extras.append(cover())
    else:
        attachments = [("cover.jpg", "image/jpeg", picture)]
    path = write(tmp_path / f"a.{start}", Video(), extras, attachments=attachments)
    relabel(path, tmp_path / f"b.{suffix}")
    copy = read(tmp_path / f"b.{suffix}")
    assert copy.kinds == ["video", "audio", "video"]
    assert copy.dispositions[2] & (1 << 10)
    assert copy.packets[2][0][1] == picture


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_second_video_track_is_copied(tmp_path: Path, suffix: str) -> None:
    """Another camera: not labelled, not encoded again."""
    other = read(write(tmp_path / "c.mp4", Video(frames=10, width=32, height=32, codec="mpeg4", options={})))
    path = write(tmp_path / "a.mkv", Video(frames=10, time_base=Fraction(1, 1000)), [second_video()])
    relabel(path, tmp_path / f"b.{suffix}")
    source, copy = read(path), read(tmp_path / f"b.{suffix}")
    assert copy.kinds == ["video", "video"]
    assert copy.codecs[1] == other.codecs[0]
    assert copy.codecs[0] == "h264"
    same_packets(source, copy, 1, Fraction(1, 1000))
    assert len(copy.packets[1]) == 10


@pytest.mark.parametrize("frames", [2, 5, 30])
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_second_video_track_of_reordered_pictures(tmp_path: Path, suffix: str, frames: int) -> None:
    """MKV stores no decoding times, and the first of them cannot be worked out when their pictures are read."""
    other = second_video(frames, "libx264", bf="3", preset="medium")
    path = write(tmp_path / "a.mkv", Video(frames=frames, time_base=Fraction(1, 1000)), [other, audio("eng")])
    report = relabel(path, tmp_path / f"b.{suffix}")
    assert report.notes == []
    source, copy = read(path), read(tmp_path / f"b.{suffix}")
    same_packets(source, copy, 1, copy.time_base if suffix == "mkv" else Fraction(0))
    same_packets(source, copy, 2, copy.time_base)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_what_is_before_zero_is_moved_to_where_it_is_shown(tmp_path: Path, suffix: str) -> None:
    video = Video(frames=30, time_base=Fraction(1, 90000), pts=vfr(30, 3600, BEFORE_ZERO))
    path = write(
        tmp_path / "a.ts",
        video,
        [audio("kor", offset=BEFORE_ZERO * 48 // 90), audio("eng", offset=BEFORE_ZERO * 48 // 90 + 777)],
        options={"max_delay": "0"},
    )
    report = relabel(path, tmp_path / f"b.{suffix}")
    source, copy = read(path), read(tmp_path / f"b.{suffix}")
    assert source.times[0] == -Fraction(1, 2)
    same_times(source, copy)
    shift = copy.times[0] - source.times[0]
    assert report.notes == [
        f"everything is {float(shift):.3f} s later in the copy than in the source and its record, as a.ts begins "
        f"before zero, where {suffix.upper()} shows nothing"
    ]
    assert copy.packets[1][0][0] == 0
    for track in (1, 2):
        assert len(copy.packets[track]) == len(source.packets[track])
        for (then, _), (now, _) in zip(source.packets[track], copy.packets[track], strict=True):
            assert abs(now - then - shift) <= (copy.time_base if suffix == "mkv" else Fraction(1, 48000))


@pytest.mark.parametrize("extra", [audio("eng", offset=-1024), audio("eng", offset=-24000)])
def test_mkv_moves_chapters_with_sound_that_begins_before_zero(tmp_path: Path, extra: Extra) -> None:
    """The run-up of MP4's sound, which MKV cannot hide: its muxer moves all packets, and would leave the chapters."""
    path = write(tmp_path / "a.mp4", Video(), [extra], chapters=CHAPTERS)
    report = relabel(path, tmp_path / "b.mkv")
    source, copy = read(path), read(tmp_path / "b.mkv")
    shift = copy.times[0] - source.times[0]
    assert shift > 0
    assert bool(report.notes) == (shift > Fraction(1, 20)), report.notes
    assert [(start - shift, end - shift, title) for start, end, title in copy.chapters] == source.chapters


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_sound_that_goes_back_a_little(tmp_path: Path, suffix: str) -> None:
    """Times that are a tick of the source apart, one after the other, are the same by the copy's clock."""
    sound = audio("eng", codec="mp2", seconds=1.0)
    path = write(tmp_path / "a.ts", Video(frames=30, time_base=Fraction(1, 90000)), [sound])
    path.write_bytes(path.read_bytes() * 4)
    report = relabel(path, tmp_path / f"b.{suffix}")
    assert any("out of order in time" in note for note in report.notes)
    source, copy = read(path), read(tmp_path / f"b.{suffix}")
    assert sorted(data for _, data in copy.packets[1]) == sorted(data for _, data in source.packets[1])


def test_chapters_move_along(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=30, time_base=Fraction(1, 1000)), chapters=CHAPTERS)
    with av.open(str(path)) as container:
        chapters = chapters_of(container, Fraction(1), Fraction(1, 4))
    times = [(c["start"] * (c["time_base"] or 1), c["end"] * (c["time_base"] or 1)) for c in chapters]
    assert times == [(Fraction(1, 4), Fraction(13, 20)), (Fraction(13, 20), Fraction(1))]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_tags_of_any_name_in_mp4(tmp_path: Path, suffix: str) -> None:
    tags = {"title": "T", "ARTIST": "A", "com.apple.quicktime.make": "Apple", "mood": "밝음"}
    path = write(tmp_path / "a.mkv", Video(time_base=Fraction(1, 1000)), metadata=tags)
    relabel(path, tmp_path / f"b.{suffix}")
    kept = {k.lower(): v for k, v in read(tmp_path / f"b.{suffix}").metadata.items()}
    assert {k.lower(): v for k, v in tags.items()}.items() <= kept.items()


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("turn", [90, -90, 180])
def test_rotation_and_pixel_shape(tmp_path: Path, suffix: str, turn: int) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=5, rotation=turn, sample_aspect=Fraction(4, 3), options=FAST))
    relabel(path, tmp_path / f"b.{suffix}")
    same_facts(path, tmp_path / f"b.{suffix}")
    assert probe(tmp_path / f"b.{suffix}").info.rotation == -turn % 360
    assert probe(tmp_path / f"b.{suffix}").sample_aspect == Fraction(4, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_mirrored_picture(tmp_path: Path, suffix: str) -> None:
    mirror = (-65536, 0, 0, 0, 65536, 0, 64 << 16, 0, 1 << 30)
    path = write(tmp_path / "a.mp4", Video(frames=5, matrix=mirror, options=FAST))
    relabel(path, tmp_path / f"b.{suffix}")
    assert probe(tmp_path / f"b.{suffix}").mirrored
    same_facts(path, tmp_path / f"b.{suffix}")


@pytest.mark.parametrize(
    "colour", [(1, 1, 1, 1), (1, 5, 6, 5), (1, 6, 6, 6), (2, 1, 13, 1)], ids=["709", "625", "525", "full"]
)
def test_colour_tags(tmp_path: Path, colour: tuple[int, int, int, int]) -> None:
    pixel_format = "yuvj420p" if colour[0] == 2 else "yuv420p"
    video = Video(
        frames=5, colour=colour, pixel_format=pixel_format, options=FAST | {"chroma_sample_location": "topleft"}
    )
    path = write(tmp_path / "a.mp4", video)
    relabel(path, tmp_path / "b.mkv")
    same_facts(path, tmp_path / "b.mkv")
    facts = probe(tmp_path / "b.mkv")
    got = facts.colour
    assert (got.range, got.primaries, got.transfer, got.matrix, got.chroma_location) == (*colour, "topleft")


HDR = (
    "log-level=none:repeat-headers=1:hdr10=1:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)


@pytest.mark.parametrize("encoder", ["auto", "x264"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_hdr10_stays_hdr10(tmp_path: Path, suffix: str, encoder: str) -> None:
    video = Video(
        frames=8, codec="libx265", pixel_format="yuv420p10le", colour=(1, 9, 16, 9), width=96,
        options=FAST | {"x265-params": HDR},
    )  # fmt: skip
    path = write(tmp_path / "a.mkv", video)
    facts = probe(path)
    assert (facts.light_level, facts.mastering and facts.mastering.luminance) == ((1000, 400), (0.0001, 1000))
    relabel(path, tmp_path / f"b.{suffix}", EncoderSettings(encoder), per_segment=3)
    out = probe(tmp_path / f"b.{suffix}")
    assert out.codec == ("hevc" if encoder == "auto" else "h264")
    assert out.info.pixel_format == "yuv420p10le"
    same_facts(path, tmp_path / f"b.{suffix}")
    # Every segment carries it, not the first alone.
    first_pictures = [p for p in read(tmp_path / f"b.{suffix}").pictures if p.key_frame]
    assert len(first_pictures) >= 3
    assert all("MASTERING_DISPLAY_METADATA" in side_data_of(p) for p in first_pictures)


@pytest.mark.parametrize(
    ("pixel_format", "codec", "kept"),
    [
        ("yuv420p", "libx264", "yuv420p"),
        ("yuvj420p", "libx264", "yuvj420p"),
        ("yuv422p", "libx264", "yuv422p"),
        ("yuv444p", "libx264", "yuv444p"),
        ("yuv420p10le", "libx264", "yuv420p10le"),
        ("yuv422p10le", "libx264", "yuv422p10le"),
        ("yuv444p10le", "libx265", "yuv444p10le"),
        ("yuv420p12le", "libx265", "yuv420p12le"),
        ("rgb24", "libx264rgb", "yuv444p"),
        ("gbrp10le", "libx265", "yuv444p10le"),
        ("bgr0", "ffv1", "yuv444p"),
        ("yuva420p", "ffv1", "yuv420p"),
        ("gray", "ffv1", "yuv420p"),
        ("yuv411p", "ffv1", "yuv422p"),
        ("nv12", "rawvideo", "yuv420p"),
    ],
)
def test_pixel_formats(tmp_path: Path, pixel_format: str, codec: str, kept: str) -> None:
    options = {"libx265": FAST | {"x265-params": "log-level=none"}, "libx264": FAST}.get(codec, {})
    path = write(tmp_path / "a.mkv", Video(frames=4, codec=codec, pixel_format=pixel_format, options=options))
    assert probe(path).info.pixel_format in (pixel_format, "gbrp", "bgr0", "yuv420p")
    relabel(path, tmp_path / "b.mkv", EncoderSettings(preset="ultrafast"))
    assert probe(tmp_path / "b.mkv").info.pixel_format == kept
    same_pictures(read(path), read(tmp_path / "b.mkv"), 8)


@pytest.mark.parametrize("size", [(853, 481), (64, 64), (853, 480), (64, 35)])
def test_any_size_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    video = Video(frames=3, codec="ffv1", width=size[0], height=size[1], options={})
    path = write(tmp_path / "a.mkv", video)
    relabel(path, tmp_path / "b.mp4")
    info = probe(tmp_path / "b.mp4").info
    assert (info.coded_width, info.coded_height) == size
    assert info.pixel_format == ("yuv420p" if size == (64, 64) else "yuv444p")
    same_pictures(read(path), read(tmp_path / "b.mp4"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("order", ["tt", "bb"])
def test_field_order(tmp_path: Path, suffix: str, order: str) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=10, interlaced=order, options=FAST))
    relabel(path, tmp_path / f"b.{suffix}", per_segment=4)
    same_facts(path, tmp_path / f"b.{suffix}")
    assert probe(tmp_path / f"b.{suffix}").field_order == order
    assert all(p.interlaced_frame for p in read(tmp_path / f"b.{suffix}").pictures)
    relabel(path, tmp_path / f"c.{suffix}", deinterlace=True)
    copy = read(tmp_path / f"c.{suffix}")
    assert not any(p.interlaced_frame for p in copy.pictures)
    same_times(read(path), copy)


@pytest.mark.parametrize("encoder", ["x264", "x265"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_closed_captions(tmp_path: Path, suffix: str, encoder: str) -> None:
    path = with_captions(tmp_path / "a.ts", frames=20)
    relabel(path, tmp_path / f"b.{suffix}", EncoderSettings(encoder, preset="ultrafast"), per_segment=8)

    def captions(file: Path) -> list[bytes]:
        return [side_data_of(p)["A53_CC"] for p in read(file).pictures]

    assert captions(tmp_path / f"b.{suffix}") == captions(path)
    assert len(set(captions(path))) > 5


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_from_transport_stream(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "a.ts", Video(frames=30, time_base=Fraction(1, 90000)), [audio("kor")])
    relabel(path, tmp_path / f"b.{suffix}")
    source, copy = read(path), read(tmp_path / f"b.{suffix}")
    same_times(source, copy)
    # A transport stream puts 7 bytes of header before each AAC packet, which no other container takes.
    assert [p for _, p in copy.packets[1]] == [p[7:] for _, p in source.packets[1]]
    tick = copy.time_base if suffix == "mkv" else Fraction(1, 48000)
    for (then, _), (now, _) in zip(source.packets[1], copy.packets[1], strict=True):
        assert abs((now - copy.times[0]) - (then - source.times[0])) <= tick


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_from_webm_and_avi(tmp_path: Path, suffix: str) -> None:
    vp9 = Video(frames=10, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
    webm = write(tmp_path / "a.webm", vp9, [audio("eng", codec="libopus")])
    old = Video(frames=30, codec="mpeg4", time_base=Fraction(1, 25), options={"bf": "2"})
    avi = write(tmp_path / "a.avi", old, [audio("eng", codec="libmp3lame")])
    for path in (avi,) if suffix == "mov" else (webm, avi):
        relabel(path, tmp_path / f"b.{suffix}", overwrite=True)
        source, copy = read(path), read(tmp_path / f"b.{suffix}")
        same_times(source, copy)
        same_packets(source, copy, 1, Fraction(1, 1000))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_transparency_beside_the_pictures_is_lost_and_said(tmp_path: Path, suffix: str) -> None:
    options = {"deadline": "realtime", "cpu-used": "8"}
    path = write(tmp_path / "a.webm", Video(frames=5, codec="libvpx-vp9", pixel_format="yuva420p", options=options))
    assert read(path).stream_metadata[0]["alpha_mode"] == "1"
    assert relabel(path, tmp_path / f"b.{suffix}").notes == ["the picture's transparency is lost"]
    assert "alpha_mode" not in {key.lower() for key in read(tmp_path / f"b.{suffix}").stream_metadata[0]}


def test_many_segments_and_few_give_the_same_times(tmp_path: Path) -> None:
    """Joints fall anywhere; with and without reordered pictures."""
    path = write(tmp_path / "a.mp4", Video(frames=60, pts=vfr(60, 512)), [audio("eng")])
    source = read(path)
    for preset in ("ultrafast", "veryfast"):
        for length in (1, 7, 60, 250):
            out = tmp_path / f"{preset}{length}.mp4"
            relabel(path, out, EncoderSettings(preset=preset), per_segment=length)
            copy = read(out)
            same_times(source, copy)
            assert copy.length == source.length
            keys = [p.key_frame for p in copy.pictures]
            assert all(keys[i] for i in range(0, 60, length))


def test_a_damaged_file_becomes_a_sound_one(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.ts",
        Video(frames=60, width=160, height=96, time_base=Fraction(1, 90000), options=FAST | {"g": "12"}),
        [audio("eng", seconds=2.4)],
    )
    data = bytearray(path.read_bytes())
    for i in range(20):
        data[len(data) // 4 + i * 997] ^= 0xFF
    (tmp_path / "b.ts").write_bytes(bytes(data))
    relabel(tmp_path / "b.ts", tmp_path / "c.mp4")
    copy = read(tmp_path / "c.mp4")
    assert len(copy.times) >= 50
    assert copy.times[-1] - copy.times[0] < 4
    assert len(copy.packets[1]) > 80
    assert not any(p.is_corrupt for p in copy.pictures)


def test_ffprobe_sees_the_same_streams(tmp_path: Path) -> None:
    need("ffprobe", shutil.which("ffprobe"), "ffprobe is not installed: apt install ffmpeg")
    path = write(
        tmp_path / "a.mp4",
        Video(frames=40, pts=vfr(40, 512), rotation=90, colour=(1, 1, 1, 1)),
        [audio("kor"), audio("eng")],
        chapters=CHAPTERS,
    )
    relabel(path, tmp_path / "b.mp4")

    def shown(file: Path) -> dict[str, object]:
        command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_chapters", "-show_format"]
        found = json.loads(
            subprocess.run([*command, str(file)], check=True, capture_output=True, encoding="utf-8").stdout
        )
        keep = (
            *("codec_name", "codec_type", "width", "height", "pix_fmt", "nb_frames", "avg_frame_rate", "time_base"),
            *("color_range", "color_space", "color_transfer", "color_primaries", "channels", "sample_rate"),
            *("start_time", "duration"),
        )
        return {
            "streams": [{k: s.get(k) for k in keep} | {"rotation": s.get("side_data_list")} for s in found["streams"]],
            "chapters": [(c["start_time"], c["end_time"], c["tags"]) for c in found["chapters"]],
            "start": found["format"]["start_time"],
            "length": found["format"]["duration"],
        }

    assert shown(tmp_path / "b.mp4") == shown(path)


@pytest.mark.shared
def test_real_clip(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "clips" / "hamilton.mp4"
    relabel(path, tmp_path / "b.mp4", per_segment=100)
    source, copy = read(path), read(tmp_path / "b.mp4")
    same_times(source, copy)
    same_packets(source, copy, 1)
    assert copy.length == source.length
