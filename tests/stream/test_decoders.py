"""What decodes: chosen by the words of `--decoder`, and the same pictures whatever was chosen.

No chip is needed: where one would be opened, a decoder in software stands in that hands out NV12 and P010, as chips do.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import MissingError, UsageError
from stream import decoders, label_video
from stream.decoders import CHIPS, DECODERS, Decoder, arranged, choose
from stream.encoding import EncoderSettings
from stream.pictures import convert
from stream.planes import PixelLayout, same_samples
from stream.probe import side_data_of
from stream.render import render_video
from stream.source import FileSource
from tests.networks import PEOPLE
from tests.networks import scene as faces
from tests.stream.media import Video, cover, vfr, with_captions, write
from tests.stream.test_encoding import facts

ARRANGED = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}


class Pretended:
    """A chip's decoder: knows only what it is told, and has a pixel format of its own."""

    is_hwaccel = True

    def __init__(self, codec: str, give: Callable[[av.VideoFrame], list[av.VideoFrame]]) -> None:
        self.__dict__["own"] = av.CodecContext.create({"av1": "libdav1d"}.get(codec, codec), "r")
        self.__dict__["give"] = give
        self.__dict__["packets"] = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.own if name != "packets" else super(), name, value)

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        self.__dict__["packets"] += 1
        return [given for picture in self.own.decode(packet) for given in self.give(picture)]


def semi_planar(picture: av.VideoFrame) -> list[av.VideoFrame]:
    """As chips lay it out."""
    made = convert(picture, ARRANGED.get(picture.format.name, picture.format.name))
    made.color_range = picture.color_range
    return [made]


class Machine:
    """One with chips in it; `opened` are their decoders so far."""

    def __init__(self, *chips: str) -> None:
        self.chips = chips
        self.give: Callable[[av.VideoFrame], list[av.VideoFrame]] = semi_planar
        self.opened: list[Pretended] = []

    def create(self, name: str, codec: str) -> Any:
        if name not in self.chips:
            raise MissingError(f"decoder {name}: no device")
        self.opened.append(Pretended(codec, self.give))
        return self.opened[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine("qsv")
    monkeypatch.setattr(decoders, "_create", made.create)
    return made


def answering(*chips: str) -> Callable[[str], None]:
    def attempt(name: str) -> None:
        if name not in chips:
            raise MissingError(f"decoder {name}: no device")

    return attempt


@pytest.mark.parametrize(
    ("wanted", "here", "chip", "on_gpu"),
    [
        ("auto", ("nvdec", "qsv"), None, True),
        ("software", ("nvdec", "qsv"), None, False),
        ("hardware", ("nvdec", "qsv"), "nvdec", True),
        ("hardware", ("vaapi", "qsv"), "qsv", False),
        ("hardware", (), None, False),
        ("nvdec", ("nvdec",), "nvdec", True),
        ("vaapi", ("nvdec", "vaapi"), "vaapi", False),
    ],
)
def test_the_word_decides(wanted: str, here: tuple[str, ...], chip: str | None, on_gpu: bool) -> None:
    chosen = choose(wanted, facts(), answering(*here))
    assert (chosen.chip, chosen.on_gpu) == (chip, on_gpu)


def test_what_was_taken_is_said() -> None:
    assert choose("auto", facts(), answering()).note is None
    assert choose("hardware", facts(), answering("vaapi")).note == "decoder: vaapi (Intel or AMD hardware)"
    note = choose("hardware", facts("yuv420p10le", "hevc"), answering()).note
    assert note == "decoder: software, since none of nvdec, qsv, vaapi, videotoolbox decodes hevc yuv420p10le here"
    assert "A53" in str(choose("qsv", facts(captions=True), answering("qsv")).note)
    assert "A53" not in str(choose("nvdec", facts(captions=True), answering("nvdec")).note)


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_that_was_named_is_never_replaced(name: str) -> None:
    others = [chip for chip in CHIPS if chip != name]
    with pytest.raises(MissingError, match=f"decoder {name}: no device"):
        choose(name, facts(), answering(*others))


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(UsageError, match=r"decoder 'cuvid' is unknown; choose from auto, software, hardware, nvdec"):
        choose("cuvid", facts(), answering(*CHIPS))


@pytest.mark.parametrize("name", CHIPS)
def test_on_this_machine_it_answers_or_says_what_to_do(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=5, width=256, height=144))
    with contextlib.suppress(MissingError), FileSource(path, decoder=name) as source:
        assert len(list(source.frames())) == 5
        return
    with pytest.raises(MissingError, match=f"^decoder {name}: .*; .*use --decoder software$"):
        FileSource(path, decoder=name)


def test_a_codec_that_no_chip_knows_is_told_from_a_chip_that_is_absent() -> None:
    """PyAV would go on in software, also where there is such a device."""
    with pytest.raises(MissingError, match="decoder nvdec: this FFmpeg cannot decode prores with it"):
        decoders._create("nvdec", "prores")
    with pytest.raises(MissingError, match="decoder qsv: this FFmpeg cannot decode prores with it"):
        decoders._create("qsv", "prores")


def test_every_kind_of_device_is_one_that_ffmpeg_knows() -> None:
    from av.codec.hwaccel import HWDeviceType

    assert {chip.device for chip in CHIPS.values() if chip.device} <= {kind.name for kind in HWDeviceType}
    assert ("auto", "software", "hardware", *CHIPS) == DECODERS


# Everything that the frames carry, for each kind of file.
FAST = {"preset": "ultrafast", "crf": "18", "bf": "2"}
REORDERED = {"preset": "veryfast", "bf": "3", "b_strategy": "0", "x264-params": "b-pyramid=normal"}
KINDS: dict[str, tuple[str, Video]] = {
    "b-frames": ("a.mp4", Video(frames=30, options=REORDERED)),
    "variable rate": ("a.mkv", Video(frames=30, pts=vfr(30, 512, first=1003))),
    "avi": ("a.avi", Video(frames=20, options=REORDERED)),
    "full range": ("a.mp4", Video(frames=6, pixel_format="yuvj420p", colour=(2, 1, 1, 1))),
    "colours of the container": ("a.mkv", Video(frames=6, colour=(1, 9, 16, 9))),
    "rotated": ("a.mp4", Video(frames=6, rotation=-90)),
    "not square": ("a.mp4", Video(frames=6, sample_aspect=None, width=62, height=46)),
    "interlaced": ("a.mp4", Video(frames=6, interlaced="bb", options={"preset": "ultrafast"})),
    "10 bit": ("a.mkv", Video(frames=12, codec="libx265", pixel_format="yuv420p10le", options={"preset": "ultrafast"})),
    "4:4:4": ("a.mkv", Video(frames=6, pixel_format="yuv444p")),
    "vp9": ("a.webm", Video(frames=12, codec="libvpx-vp9", options={"cpu-used": "8"})),
    "vp9, colours of the container alone": (
        "a.webm",
        Video(frames=6, codec="libvpx-vp9", colour=(1, 9, 16, 9), options={"cpu-used": "8"}),
    ),
    "av1": ("a.mkv", Video(frames=12, codec="libsvtav1", options={"preset": "12"})),
    "mpeg-2": ("a.mkv", Video(frames=12, codec="mpeg2video", time_base=Fraction(1, 25), options={"bf": "2"})),
}


def seen(path: Path, decoder: str, **options: Any) -> list[tuple[object, ...]]:
    """Everything about every frame."""
    with FileSource(path, 1, decoder=decoder, **options) as source:
        found = [
            (
                *(frame.index, frame.pts, frame.time_base, picture.duration, picture.format.name),
                *(picture.width, picture.height, picture.interlaced_frame, picture.key_frame),
                *(picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace),
                hashlib.sha256(picture.to_ndarray().tobytes()).hexdigest(),
                # Which way up is the container's word, and `source.facts` has it; pan and scan nobody reads.
                sorted(item for item in side_data_of(picture).items() if item[0] not in ("DISPLAYMATRIX", "PANSCAN")),
            )
            for frame in source.frames()
            for picture in [frame.picture]
        ]
        return [*found, (str(source.damage.as_dict()),)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chip_gives_what_software_gives(tmp_path: Path, kind: str, machine: Machine) -> None:
    """Samples, times, colours, fields, rotation: all a decoder needs to know gets there, nothing on the way is lost."""
    name, video = KINDS[kind]
    path = write(tmp_path / name, video)
    expected = seen(path, "software")
    assert not machine.opened
    assert seen(path, "qsv") == expected
    attempted, used = machine.opened
    assert attempted.packets < used.packets
    assert used.thread_count == 1


def test_captions_travel_along(tmp_path: Path, machine: Machine) -> None:
    path = with_captions(tmp_path / "a.ts", 8)
    assert seen(path, "qsv") == seen(path, "software")
    assert any("A53_CC" in str(item) for item in seen(path, "qsv")[0])


def test_a_damaged_file_is_as_damaged(tmp_path: Path, machine: Machine) -> None:
    path = write(tmp_path / "a.mkv", Video(frames=60, options={**FAST, "g": "12"}))
    data, dice = bytearray(path.read_bytes()), random.Random(3)
    for _ in range(12):
        data[len(data) // 4 + dice.randrange(len(data) // 2)] ^= 0xFF
    path.write_bytes(bytes(data[: int(len(data) * 0.9)]))
    expected = seen(path, "software")
    assert expected[-1] != ("{}",)
    assert seen(path, "qsv") == expected


def test_deinterlacing_and_a_cover_picture(tmp_path: Path, machine: Machine) -> None:
    video = Video(frames=8, interlaced="tt", options={"preset": "ultrafast"})
    path = write(tmp_path / "a.mkv", video, [cover()])
    assert seen(path, "qsv", deinterlace=True) == seen(path, "software", deinterlace=True)


@pytest.mark.parametrize(
    ("chips", "planar"), [("nv12", "yuv420p"), ("nv12", "yuvj420p"), ("nv16", "yuv422p"), ("p010le", "yuv420p10le")]
)
def test_samples_are_put_in_order_and_not_changed(chips: str, planar: str) -> None:
    dice, top = np.random.default_rng(5), 1 << PixelLayout.of(chips).bits
    picture = av.VideoFrame(70, 50, chips)
    picture.color_range = 2 if planar.startswith("yuvj") else 1
    shift = PixelLayout.of(chips).shift
    for view in PixelLayout.of(chips).views(picture):
        view[...] = dice.integers(0, top, view.shape) << shift
    picture.pts, picture.colorspace = 7, 9
    made = arranged(picture, planar)
    assert (made.format.name, made.pts, int(made.colorspace)) == (planar, 7, 9)
    before, after = PixelLayout.of(chips).views(picture), PixelLayout.of(planar).views(made)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one >> shift, other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *(("nv12", "yuv420p", True), ("nv12", "yuv422p", False), ("p010le", "yuv420p", False)),
        *(("p010le", "yuv420p10le", True), ("p016le", "yuv420p12le", False), ("pal8", "pal8", True)),
        *(("pal8", "yuv420p", False), ("gray", "nv12", False), ("cuda", "yuv420p", False)),
    ],
)
def test_which_formats_hold_the_same_samples(one: str, other: str, same: bool) -> None:
    assert same_samples(one, other) is same_samples(other, one) is same


@pytest.mark.parametrize(
    ("give", "why"),
    [
        (lambda picture: [], r"no Intel device or driver decodes h264 64x48 yuv420p \(no picture comes out\)"),
        (lambda picture: [picture.reformat(width=64, height=64)], "it gives 64x64 yuv420p for pictures of 64x48 yuv"),
        (lambda picture: [picture.reformat(format="p010le")], "it gives 64x48 p010le for pictures of 64x48 yuv420p"),
    ],
)
def test_what_a_chip_does_not_do_right_is_refused(
    tmp_path: Path, machine: Machine, give: Callable[[av.VideoFrame], list[av.VideoFrame]], why: str
) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=8))
    machine.give = give
    with pytest.raises(MissingError, match=f"decoder qsv: {why}.*; use --decoder software"):
        FileSource(path, decoder="qsv")
    with FileSource(path, decoder="hardware") as source:
        assert source.decoder == Decoder(note=source.notes[0])
        assert source.notes[0].startswith("decoder: software, since none of")
        assert len(list(source.frames())) == 8


def test_a_chip_that_gives_nothing_is_given_up_soon(tmp_path: Path, machine: Machine) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=300))
    machine.give = lambda picture: []
    with pytest.raises(MissingError):
        FileSource(path, decoder="qsv")
    assert machine.opened[0].packets <= 101


def stopping(
    after: int, give: Callable[[av.VideoFrame], list[av.VideoFrame]]
) -> Callable[[av.VideoFrame], list[av.VideoFrame]]:
    """A chip that gives so many pictures, and then refuses everything."""
    left = after

    def giving(picture: av.VideoFrame) -> list[av.VideoFrame]:
        nonlocal left
        left -= 1
        if left < 0:
            raise av.error.FFmpegError(5, "Input/output error")
        return give(picture)

    return giving


def test_a_chip_that_stops_in_the_middle_loses_nothing_quietly(tmp_path: Path, machine: Machine) -> None:
    """A few packets that are refused are damage; when it refuses all the rest, that is said, and not the file's."""
    path = write(tmp_path / "a.mp4", Video(frames=300))
    machine.give = stopping(50, lambda picture: [picture])
    with FileSource(path, 1, decoder="qsv") as source:
        frames: list[int] = []
        with pytest.raises(MissingError, match=r"decoder qsv: the Intel device stopped .*; use --decoder software"):
            frames.extend(frame.index for frame in source.frames())
    assert frames == list(range(48))  # one went into the attempt, and the last one's duration is never known


def test_its_own_words_are_handed_on(tmp_path: Path, machine: Machine) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=8))

    def refuse(picture: av.VideoFrame) -> list[av.VideoFrame]:
        raise av.error.FFmpegError(40, "Function not implemented")

    machine.give = refuse
    with pytest.raises(MissingError, match=r"h264 64x48 yuv420p \(Function not implemented\)"):
        FileSource(path, decoder="qsv")


def test_the_chip_is_named_first_of_all_notes(tmp_path: Path, machine: Machine) -> None:
    path = write(tmp_path / "a.mp4", Video(frames=4, interlaced="tt", options={"preset": "ultrafast"}))
    with FileSource(path, decoder="hardware") as source:
        assert source.notes[0] == "decoder: qsv (Intel hardware)"
        assert "interlaced" in source.notes[1]


def test_labelled_and_rendered_through_a_chip(
    tmp_path: Path, machine: Machine, detector: Detector, embedder: Embedder
) -> None:
    """The same record and the same copy, to the byte, and the notes say what decoded."""

    def picture(index: int, width: int, height: int) -> Any:
        return faces(width, height, [((40 + 2 * index, 60, 88 + 2 * index, 120), PEOPLE["ann"])])

    path = write(tmp_path / "mv.mp4", Video(frames=20, width=320, height=240, picture=picture))
    made = {}
    for decoder in ("software", "hardware"):
        folder = tmp_path / decoder
        folder.mkdir()
        copy = folder / "copy.mp4"
        result = label_video(
            path, copy, detector=detector, embedder=embedder, decoder=decoder, encoder=EncoderSettings("x264")
        )
        again = folder / "again.mp4"
        drawn = render_video(path, result.tracks, again, decoder=decoder, encoder=EncoderSettings("x264"))
        made[decoder] = [copy.read_bytes(), result.tracks.read_bytes(), again.read_bytes()]
        said = [any(note.startswith("decoder: qsv") for note in notes) for notes in (result.notes, drawn.notes)]
        assert said == [decoder == "hardware"] * 2
        assert not result.damage
    assert made["software"] == made["hardware"]
    assert len([1 for chip in machine.opened if chip.packets > 10]) == 2


def test_a_run_goes_on_in_software_where_the_chip_stopped(
    tmp_path: Path, machine: Machine, detector: Detector, embedder: Embedder
) -> None:
    """As the message says."""
    path = write(tmp_path / "mv.mp4", Video(frames=500, width=96, height=64))
    common: dict[str, Any] = {"detector": detector, "embedder": embedder, "encoder": EncoderSettings("x264")}
    label_video(path, tmp_path / "whole.mp4", **common)
    machine.give = stopping(320, semi_planar)
    with pytest.raises(MissingError, match=r"use --decoder software.*; --resume goes on from there"):
        label_video(path, tmp_path / "cut.mp4", decoder="qsv", **common)
    result = label_video(path, tmp_path / "cut.mp4", decoder="software", resume=True, **common)
    assert any("went on after 250 frames" in note for note in result.notes)
    assert (tmp_path / "cut.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
