"""Real media files for tests, written with PyAV: small pictures, every feature that must survive.

path = write(tmp_path / "a.mkv", Video(frames=30), [audio("eng"), audio("kor"), subrip()], chapters=CHAPTERS)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.filter
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from stream.encoding import EncoderSettings
from stream.joining import JoinReport, join
from stream.segments import SegmentWriter
from stream.source import FileSource

VFR_STEPS = (1, 3, 1, 1, 2, 5, 1, 2, 2, 1)
"""Distances between frames, in frames of the nominal rate, repeated."""

CHAPTERS: list[Any] = [
    {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "Intro"}},
    {"id": 2, "start": 400, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "La Vie en Rose"}},
]


BEFORE_ZERO = 2**33 - 45000
"""Half a second before the clock of a transport stream begins anew: a file that starts there is read from -0.5 s on."""


def vfr(frames: int, step: int, first: int = 0) -> list[int]:
    """Irregular times, in ticks."""
    pts, now = [], first
    for i in range(frames):
        pts.append(now)
        now += VFR_STEPS[i % len(VFR_STEPS)] * step
    return pts


def scene(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A picture `[height, width, 3]` RGB in smooth colours with a square that moves; its index can be read back."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 200 // max(1, width - 1) + 20, y * 200 // max(1, height - 1) + 20
    rgb = np.stack([red, green, (x + y + 4 * index) % 160 + 40], -1)
    picture = rgb.astype(np.uint8)
    side = max(4, height // 4)
    left = (index * 3) % max(1, width - side)
    picture[height // 3 : height // 3 + side, left : left + side] = 230
    return picture


@dataclass
class Video:
    """The picture to write."""

    frames: int = 30
    width: int = 64
    height: int = 48
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    time_base: Fraction = Fraction(1, 12800)
    rate: Fraction = Fraction(25)
    pts: Sequence[int] | None = None
    picture: Callable[[int, int, int], NDArray[np.uint8]] = scene
    """From index, width and height to what the frame shows, uint8 `[height, width, 3]` RGB."""
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "18", "bf": "2"})
    colour: tuple[int, int, int, int] | None = None
    """Range, primaries, transfer, matrix."""
    sample_aspect: Fraction | None = None
    rotation: float = 0
    """Degrees counter-clockwise, as PyAV takes it."""
    matrix: Sequence[int] | None = None
    interlaced: str | None = None
    """`tt` or `bb`."""
    metadata: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[av.VideoFrame, int], av.VideoFrame] | None = None
    """A last change to each frame before it is encoded."""

    @property
    def times(self) -> list[int]:
        if self.pts is not None:
            return list(self.pts)
        step = round(1 / (self.rate * self.time_base))
        return [i * step for i in range(self.frames)]


@dataclass
class Extra:
    """A track beside the picture: `add` makes its stream, `packets` its packets (with time base and times)."""

    add: Callable[[OutputContainer], Stream]
    packets: Callable[[Stream], list[Packet[Any]]]
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int | None = None


def audio(
    language: str = "und",
    title: str | None = None,
    codec: str = "aac",
    seconds: float = 1.2,
    hertz: int = 440,
    rate: int = 48000,
    offset: int = 0,
) -> Extra:
    """A tone; `offset` shifts it by so many samples against the picture."""

    def add(container: OutputContainer) -> Stream:
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = "stereo"  # type: ignore[union-attr]
        return stream

    def packets(stream: Stream) -> list[Packet[Any]]:
        context = stream.codec_context
        samples = context.frame_size or 1024  # type: ignore[attr-defined]
        made: list[Packet[Any]] = []
        for start in range(0, int(seconds * rate), samples):
            t = np.arange(start, start + samples) / rate
            wave = (0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
            layout = context.format.name  # type: ignore[attr-defined]
            if layout == "fltp":
                frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            else:
                whole = (np.repeat(wave, 2)[None] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="stereo")
            frame.sample_rate = rate
            frame.time_base = Fraction(1, rate)
            frame.pts = start + offset
            made += stream.encode(frame)  # type: ignore[attr-defined]
        return made + stream.encode(None)  # type: ignore[attr-defined,no-any-return]

    metadata = {"language": language} | ({"title": title} if title else {})
    return Extra(add, packets, metadata)


def text_track(codec: str, texts: Sequence[tuple[float, float, bytes]], language: str = "kor") -> Extra:
    """Subtitles that need no header (`subrip`, `webvtt`, `mov_text`): start and length in seconds, payload."""

    def add(container: OutputContainer) -> Stream:
        stream = container.add_mux_stream(codec)
        stream.time_base = Fraction(1, 1000)
        return stream

    def packets(stream: Stream) -> list[Packet[Any]]:
        made = []
        for start, length, text in texts:
            packet: Packet[Any] = Packet(text)
            packet.stream = stream
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round(length * 1000)
            packet.is_keyframe = True
            made.append(packet)
        return made

    return Extra(add, packets, {"language": language})


def subrip(language: str = "kor") -> Extra:
    return text_track("subrip", [(0.1, 0.4, "안녕하세요".encode()), (0.6, 0.3, b"bye")], language)


def copied(file: bytes, format_name: str, metadata: dict[str, str] | None = None) -> Extra:
    """The first track of another file, for what only a demuxer makes (`ass`)."""
    kept: list[Any] = []

    def add(container: OutputContainer) -> Stream:
        source = av.open(io.BytesIO(file), format=format_name)
        kept.append(source)
        return container.add_stream_from_template(source.streams[0])

    def packets(stream: Stream) -> list[Packet[Any]]:
        made = []
        for packet in kept[0].demux():
            if packet.size:
                packet.stream = stream
                made.append(packet)
        return made

    return Extra(add, packets, metadata or {})


ASS = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 320
PlayResY: 180

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Nanum,20,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,2,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.10,0:00:00.50,Default,,0,0,0,,{\\i1}hello{\\i0}
Dialogue: 0,0:00:00.60,0:00:00.90,Default,,0,0,0,,again
"""


def cover(codec: str = "mjpeg") -> Extra:
    """Cover art."""

    def add(container: OutputContainer) -> Stream:
        stream: Any = container.add_stream(codec, rate=1)
        stream.width, stream.height = 32, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
        return stream  # type: ignore[no-any-return]

    def packets(stream: Stream) -> list[Packet[Any]]:
        frame = av.VideoFrame.from_ndarray(scene(0, 32, 32), "rgb24")
        frame.pts = 0
        return stream.encode(frame) + stream.encode(None)  # type: ignore[attr-defined,no-any-return]

    return Extra(add, packets, {}, disposition=1 << 10)


def second_video(frames: int = 10, codec: str = "mpeg4", **options: str) -> Extra:
    """Another moving picture beside the first."""
    video = Video(frames=frames, width=32, height=32, codec=codec, time_base=Fraction(1, 25), options=options)
    return Extra(lambda container: _add_video(container, video), lambda stream: encode(video, stream))


def encode(video: Video, stream: Any) -> list[Packet[Any]]:
    """The picture's packets."""
    made: list[Packet[Any]] = []
    times = video.times
    for i, pts in enumerate(times):
        frame = av.VideoFrame.from_ndarray(video.picture(i, video.width, video.height), "rgb24")
        if video.pixel_format != "rgb24":
            frame = frame.reformat(
                format=video.pixel_format,
                dst_colorspace={1: 1, 9: 9}.get(video.colour[3]) if video.colour else None,
                dst_color_range=video.colour[0] if video.colour else None,
            )
        if video.prepare is not None:
            frame = video.prepare(frame, i)
        if video.interlaced is not None:
            frame = with_fields(frame, video.interlaced)
        frame.pts, frame.time_base = pts, video.time_base
        following = times[i + 1] if i + 1 < len(times) else pts + (times[-1] - times[-2] if len(times) > 1 else 512)
        frame.duration = following - pts
        made += stream.encode(frame)
    return made + list(stream.encode(None))


def with_fields(frame: av.VideoFrame, order: str) -> av.VideoFrame:
    """The frame marked as interlaced, top (`tt`) or bottom (`bb`) field first."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    setter = graph.add("setfield", {"tt": "tff", "bb": "bff"}[order])
    graph.link_nodes(source, setter, graph.add("buffersink")).configure()
    graph.push(frame)
    marked = graph.pull()
    assert isinstance(marked, av.VideoFrame)
    return marked


def with_captions(path: Path, frames: int) -> Path:
    """A transport stream of H.264 whose every picture carries an A53 caption of its own, put there byte by byte."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream("h264", rate=25, width=64, height=48)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(scene(i, 64, 48), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            for coded in encoder.encode(frame):
                # SEI type 4, ITU-T T.35: country, provider, "GA94", one caption of three bytes.
                body = b"\xb5\x00\x31GA94\x03\x41\xff" + bytes([0xFC, 0x94, 0x20 + i % 16]) + b"\xff"
                sei = b"\x00\x00\x00\x01\x06" + bytes([4, len(body)]) + body + b"\x80"
                packet: Packet[Any] = Packet(sei + bytes(coded))
                packet.pts, packet.dts, packet.time_base = coded.pts, coded.dts, Fraction(1, 25)
                packet.is_keyframe = coded.is_keyframe
                packet.stream = stream
                container.mux(packet)
    return path


def write(
    path: Path,
    video: Video | None = None,
    extras: Sequence[Extra] = (),
    *,
    chapters: list[Any] | None = None,
    metadata: dict[str, str] | None = None,
    attachments: Sequence[tuple[str, str, bytes]] = (),
    format_name: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a file and return its path."""
    with av.open(str(path), "w", format=format_name, options=options) as container:
        picture = None
        if video is not None:
            picture = _add_video(container, video)
        streams = []
        for extra in extras:
            stream = extra.add(container)
            stream.metadata.update(extra.metadata)
            if extra.disposition is not None:
                stream.disposition = extra.disposition  # type: ignore[assignment]
            streams.append(stream)
        for name, mimetype, data in attachments:
            container.add_attachment(name, mimetype, data)
        container.metadata.update(metadata or {})
        if chapters:
            container.set_chapters(chapters)
        container.start_encoding()
        due: list[tuple[Fraction, int, Packet[Any]]] = []
        if video is not None:
            due += [_due(p) for p in encode(video, picture)]
        for extra, stream in zip(extras, streams, strict=True):
            due += [_due(p) for p in extra.packets(stream)]
        for _, _, packet in sorted(due, key=lambda d: d[:2]):
            container.mux(packet)
    return path


def _due(packet: Packet[Any]) -> tuple[Fraction, int, Packet[Any]]:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return (stamp or 0) * packet.time_base, packet.stream_index, packet


def _add_video(container: OutputContainer, video: Video) -> Any:
    stream: Any = container.add_stream(video.codec, rate=video.rate, options=dict(video.options))
    stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pixel_format
    stream.time_base = video.time_base
    stream.codec_context.time_base = video.time_base
    stream.codec_context.flags |= int(Flags.frame_duration)
    stream.codec_context.thread_count = 1
    if video.colour is not None:
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = video.colour
    if video.sample_aspect is not None:
        stream.codec_context.sample_aspect_ratio = video.sample_aspect
    if video.rotation:
        stream.set_display_rotation(video.rotation)
    if video.matrix is not None:
        stream.set_display_matrix(video.matrix)
    if video.interlaced is not None:
        stream.codec_context.flags |= int(Flags.interlaced_dct) | int(Flags.interlaced_me)
        stream.codec_context.field_order = {"tt": 2, "bb": 3}[video.interlaced]
    stream.metadata.update(video.metadata)
    return stream


@dataclass
class Read:
    """What a file holds, read back packet by packet and frame by frame."""

    kinds: list[str]
    codecs: list[str]
    metadata: dict[str, str]
    stream_metadata: list[dict[str, str]]
    dispositions: list[int]
    chapters: list[Any]
    packets: list[list[tuple[Fraction, bytes]]]
    """For every stream: time in seconds and payload, in time order."""
    attachments: list[tuple[str, str, bytes]]
    times: list[Fraction]
    """Seconds of the decoded frames of the picture."""
    length: Fraction
    """Seconds the container gives the picture's stream."""
    pictures: list[av.VideoFrame]
    time_base: Fraction


def read(path: Path) -> Read:
    """Open what was written and take it all in."""
    with av.open(str(path)) as container:
        streams = list(container.streams)
        moving = [s for s in container.streams.video if not int(s.disposition) & (1 << 10)]
        picture: Any = moving[0]
        packets: list[list[tuple[Fraction, bytes]]] = [[] for _ in streams]
        frames: list[av.VideoFrame] = []
        for packet in container.demux([s for s in streams if s.type != "attachment"]):
            item: Any = packet
            if packet.size:
                when = (item.pts if item.pts is not None else item.dts or 0) * item.time_base
                packets[packet.stream.index].append((when, bytes(packet)))
            if packet.stream.index == picture.index:
                frames += item.decode()
        base = Fraction(picture.time_base.numerator, picture.time_base.denominator)
        return Read(
            kinds=[s.type for s in streams],
            codecs=[s.codec_context.codec.canonical_name if s.codec_context else str(s.name) for s in streams],
            metadata=dict(container.metadata),
            stream_metadata=[dict(s.metadata) for s in streams],
            dispositions=[int(s.disposition) for s in streams],
            chapters=[
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title"))
                for c in cast(list[Any], container.chapters())
            ],
            packets=[sorted(p, key=lambda q: q[0]) for p in packets],
            attachments=[(s.name or "", s.mimetype or "", s.data) for s in container.streams.attachments],
            times=[f.pts * base for f in frames if f.pts is not None],
            length=(picture.duration or 0) * base,
            pictures=frames,
            time_base=base,
        )


def relabel(
    path: Path,
    output: Path,
    settings: EncoderSettings | None = None,
    *,
    per_segment: int = 12,
    deinterlace: bool = False,
    overwrite: bool = False,
) -> JoinReport:
    """The whole way of a file without anything drawn: decode, encode in segments, join."""
    with FileSource(path, 1, deinterlace=deinterlace) as source:
        work = output.with_name(f"{output.name}.iznet")
        writer = SegmentWriter(work, source, settings, per_segment, overwrite=overwrite)
        for frame in source.frames():
            writer.write(frame)
        report = join(writer.finish(), path, output, plan=writer.plan, overwrite=overwrite)
        writer.work.release()
        return report
