"""Which encoder, with which settings."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from engine.errors import MissingError, UsageError
from stream import encoding
from stream.encoders import KINDS, hardware, hardware_options
from stream.encoding import EncoderPlan, EncoderSettings, plan_encoder
from stream.frames import VideoInfo
from stream.probe import Colour, VideoFacts, probe
from tests.stream.media import Video, write


def facts(
    pixel_format: str = "yuv420p", codec: str = "h264", size: tuple[int, int] = (640, 360), **more: object
) -> VideoFacts:
    info = VideoInfo(
        "mv.mp4", *size, rotation=0, time_base=Fraction(1, 11988), duration=10.0, average_rate=Fraction(30),
        pixel_format=pixel_format,
    )  # fmt: skip
    made = VideoFacts(info, 0, codec, "mp4", Colour(), None, None, False, None, Fraction(30))
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pixel_format", "codec", "order", "wanted"),
    [
        ("yuv420p", "h264", None, "libx264"),
        ("yuv420p", "vp9", None, "libx264"),
        ("yuv420p", "hevc", None, "libx265"),
        ("yuv420p10le", "h264", None, "libx265"),
        ("yuv422p10le", "prores", None, "libx265"),
        ("yuv420p10le", "av1", None, "libsvtav1"),
        ("yuv444p", "av1", None, "libx264"),
        ("yuv420p", "mpeg2video", "tt", "libx264"),
        ("yuv420p10le", "hevc", "tt", "libx264"),
    ],
)
def test_auto_keeps_the_family_and_says_what_it_chose(
    pixel_format: str, codec: str, order: str | None, wanted: str
) -> None:
    plan = plan_encoder(EncoderSettings(), facts(pixel_format, codec, field_order=order))
    assert plan.codec == wanted
    assert plan.notes[0].startswith(f"encoder: {plan.encoder} (")


@pytest.mark.parametrize(
    ("source", "encoder", "wanted", "said"),
    [
        ("yuv420p", "x264", "yuv420p", False),
        ("yuvj422p", "x264", "yuvj422p", False),
        ("yuv444p10le", "x264", "yuv444p10le", False),
        ("yuv420p12le", "x265", "yuv420p12le", False),
        ("yuv420p12le", "x264", "yuv420p10le", True),
        ("gbrp", "x264", "yuv444p", True),
        ("rgb48le", "x265", "yuv444p12le", True),
        ("nv12", "x264", "yuv420p", True),
        ("p010le", "x265", "yuv420p10le", True),
        ("yuyv422", "x264", "yuv422p", True),
        ("yuv411p", "x264", "yuv422p", True),
        ("yuv440p", "x264", "yuv444p", True),
        ("gray", "x264", "yuv420p", True),
        ("yuv422p", "svtav1", "yuv420p", True),
        ("yuv422p10le", "svtav1", "yuv420p10le", True),
        ("yuva444p", "x264", "yuv444p", True),
    ],
)
def test_pixel_format_is_kept_or_the_nearest_is_named(source: str, encoder: str, wanted: str, said: bool) -> None:
    plan = plan_encoder(EncoderSettings(encoder), facts(source))
    assert plan.pixel_format == wanted
    assert any(wanted in note and source in note for note in plan.notes) == said
    if source.startswith("yuva"):
        assert any("transparency" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("size", "encoder", "wanted"),
    [
        ((853, 481), "x264", "yuv444p"),
        ((853, 480), "x265", "yuv444p"),
        ((854, 481), "x264", "yuv444p"),
        ((854, 480), "x264", "yuv420p"),
        ((853, 481), "svtav1", "yuv420p"),
    ],
)
def test_odd_sizes(size: tuple[int, int], encoder: str, wanted: str) -> None:
    plan = plan_encoder(EncoderSettings(encoder), facts(size=size))
    assert (plan.pixel_format, plan.width, plan.height) == (wanted, *size)
    assert any("odd" in note for note in plan.notes) == (wanted == "yuv444p")
    plan.open()


def test_what_cannot_be_meant_is_refused() -> None:
    for settings, word in (
        (EncoderSettings("x266"), "x266"),
        (EncoderSettings("x264", crf=60), "51"),
        (EncoderSettings("svtav1", crf=64), "63"),
        (EncoderSettings("x264", crf=-1), "0 to 51"),
    ):
        with pytest.raises(UsageError, match=word):
            plan_encoder(settings, facts())
    with pytest.raises(UsageError, match="preset"):
        plan_encoder(EncoderSettings("x264", preset="warp"), facts()).open()


def test_an_encoder_that_is_not_here_is_named() -> None:
    plan = plan_encoder(EncoderSettings(), facts())
    with pytest.raises(MissingError, match="libnone"):
        replace(plan, codec="libnone").open()


@pytest.mark.parametrize("name", [name for family in ("h264", "hevc", "av1") for name in hardware(family)])
def test_hardware_that_was_named_is_used_or_missed_aloud(name: str) -> None:
    """Whatever this machine has: either the encoder opens, or the message says whose device it wants."""
    codec, maker = KINDS[name].codec, KINDS[name].maker
    if codec not in av.codecs_available:
        with pytest.raises(MissingError, match=f"{codec} is not in this FFmpeg"):
            plan_encoder(EncoderSettings(name), facts())
        return
    plan = plan_encoder(EncoderSettings(name), facts())
    assert plan.codec == codec
    with contextlib.suppress(MissingError):
        plan.open()
        return
    with pytest.raises(MissingError, match=f"no {maker} device or driver"):
        plan.open()


def test_hardware_falls_to_software_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: EncoderPlan) -> None:
        raise MissingError("no device")

    monkeypatch.setattr(EncoderPlan, "open", absent)
    plan = plan_encoder(EncoderSettings("hardware"), facts(codec="hevc"))
    assert plan.codec == "libx265"
    tried = [name for name in hardware("hevc") if KINDS[name].codec in av.codecs_available]
    assert all(name in plan.notes[0] for name in tried)
    assert "in software" in plan.notes[0]
    assert "keeps fields" in plan_encoder(EncoderSettings("hardware"), facts(field_order="tt")).notes[0]


def test_hardware_takes_the_first_that_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_create", lambda codec: None)
    monkeypatch.setattr(EncoderPlan, "open", lambda self: None)
    plan = plan_encoder(EncoderSettings("hardware"), facts("yuv420p10le", "hevc"))
    assert (plan.encoder, plan.pixel_format) == ("nvenc-hevc", "p010le")
    assert plan.notes[0].startswith("encoder: nvenc-hevc (NVIDIA hardware")
    assert plan_encoder(EncoderSettings("hardware"), facts(codec="av1")).encoder == "nvenc-av1"


@pytest.mark.parametrize(
    ("name", "crf", "wanted"),
    [
        ("nvenc", 20, {"rc": "vbr", "cq": "20"}),
        ("qsv", 0, {"global_quality": "1"}),
        ("qsv-av1", 63, {"global_quality": "51"}),
        ("amf", 23, {"rc": "cqp", "qp_i": "23", "qp_p": "23"}),
        ("amf-av1", 63, {"qp_i": "255"}),
        ("videotoolbox", 0, {"global_quality": str(118 * 100)}),
        ("videotoolbox-hevc", 51, {"global_quality": "118"}),
    ],
)
def test_quality_in_each_encoders_own_scale(name: str, crf: float, wanted: dict[str, str]) -> None:
    options = hardware_options(name, KINDS[name].preset, crf)
    assert options.items() >= wanted.items()
    assert ("preset" in options) == (KINDS[name].preset is not None)


def test_what_hardware_cannot_keep_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_create", lambda codec: None)
    said = plan_encoder(EncoderSettings("qsv"), facts(light_level=(1000, 400))).notes
    assert any("HDR" in note for note in said)
    assert any("A53" in note for note in plan_encoder(EncoderSettings("amf"), facts(captions=True)).notes)
    with pytest.raises(UsageError, match="odd side"):
        plan_encoder(EncoderSettings("qsv"), facts(size=(853, 480)))
    assert plan_encoder(EncoderSettings("nvenc"), facts(size=(853, 480))).pixel_format == "yuv444p"
    with pytest.raises(UsageError, match="no presets"):
        plan_encoder(EncoderSettings("videotoolbox", preset="fast"), facts())


def encode(plan: EncoderPlan, frames: int = 12) -> tuple[bytes, bytes]:
    encoder = plan.open()
    data = b""
    for i in range(frames + 1):
        frame = None
        if i < frames:
            frame = av.VideoFrame(plan.width, plan.height, plan.pixel_format)
            for plane in frame.planes:
                plane.update(bytes((i * 3 + j) % 200 + 16 for j in range(plane.buffer_size)))
            frame.pts, frame.time_base = i * 400, plan.time_base
        data += b"".join(bytes(p) for p in encoder.encode(frame))
    return encoder.extradata or b"", data


@pytest.mark.parametrize("encoder", ["x264", "x265", "svtav1"])
def test_every_encoder_of_a_plan_gives_the_same_bytes(encoder: str) -> None:
    plan = plan_encoder(EncoderSettings(encoder), facts(size=(64, 64)))
    assert encode(plan) == encode(plan)


def test_bytes_do_not_depend_on_the_machine() -> None:
    """Threads follow from the picture alone, never from the processors at hand."""
    assert plan_encoder(EncoderSettings(), facts(size=(1280, 720))).threads == 4
    assert plan_encoder(EncoderSettings(), facts(size=(64, 64))).threads == 1
    assert plan_encoder(EncoderSettings(threads=3), facts(size=(1280, 720))).threads == 3


def test_threads_work_on_a_picture_each_unless_nothing_may_be_held_back() -> None:
    """What x264 says of itself in its first packet: slices cost four per cent of the bits and a quarter of the time."""
    plan = plan_encoder(EncoderSettings(threads=2), facts(size=(320, 240)))
    for slices in (False, True):
        assert f" sliced_threads={int(slices)} ".encode() in b"".join(encode(replace(plan, slices=slices)))


@pytest.mark.parametrize("encoder", ["auto", "hardware", *(name for name, kind in KINDS.items() if kind.maker is None)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_stream_of_the_joined_file_has_the_encoders_headers(tmp_path: Path, encoder: str, suffix: str) -> None:
    plan = plan_encoder(EncoderSettings(encoder), facts(size=(64, 64)))
    with av.open(str(tmp_path / f"a.{suffix}"), "w") as container:
        stream = plan.add_stream(container)
        container.start_encoding()
        assert (stream.codec_context.extradata or b"") == (plan.open().extradata or b"")


def test_plans_are_told_apart_by_their_json() -> None:
    one, two = (plan_encoder(EncoderSettings(crf=crf), facts()) for crf in (20, 21))
    assert one.to_json() == plan_encoder(EncoderSettings(), facts()).to_json()
    assert one.to_json() != two.to_json()


def test_what_interlacing_needs() -> None:
    plan = plan_encoder(EncoderSettings("x265"), facts(field_order="tt"))
    assert plan.field_order is None
    assert any("deinterlace" in note for note in plan.notes)


def test_a_height_that_fields_do_not_divide_is_refused_with_the_cure(tmp_path: Path) -> None:
    facts = probe(write(tmp_path / "a.mkv", Video(frames=3, width=64, height=48, interlaced="tt")))
    plan = plan_encoder(EncoderSettings(), replace(facts, info=replace(facts.info, coded_height=46)))
    with pytest.raises(UsageError, match="46 is none; use --deinterlace"):
        plan.open()
    with pytest.raises(UsageError, match="check --preset"):
        replace(plan, pixel_format="yuv422p", options={**plan.options, "preset": "bogus"}).open()


def test_what_becomes_of_fields_is_said_once(tmp_path: Path) -> None:
    facts = probe(write(tmp_path / "a.mkv", Video(frames=3, interlaced="bb")))
    kept, lost = (" ".join(plan_encoder(EncoderSettings(name), facts).notes) for name in ("x264", "x265"))
    assert "its field order is kept" in kept
    assert "cannot be marked" not in kept
    assert "cannot be marked" in lost
    assert "kept" not in lost
