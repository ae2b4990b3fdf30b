"""What a video file is, found out before any work is done on it.

`probe(path)` opens the file, finds its picture, decodes one frame of it and says everything that labelling must
keep: size, rotation, colour, HDR data, field order, and every other track.

    facts = probe("mv.mp4")
    print(facts.info.width, facts.info.height, facts.codec, [str(t) for t in facts.tracks])
"""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from engine.errors import InputError
from stream.frames import Rotation, VideoInfo

FIELD_ORDERS = {2: "tt", 3: "bb", 4: "tb", 5: "bt"}
"""FFmpeg's AVFieldOrder values that mean interlaced, by the name its `field_order` option takes."""

_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if av.__version__.startswith("18.") else {}
"""PyAV 18 refuses a file with one broken letter in its title unless told otherwise; 19 knows no such option."""

_NOT_VIDEO_FORMATS = {"tty"}
"""Demuxers that turn plain text into pictures."""

_BARE = {"h264", "hevc"}
"""Demuxers of streams without a container, which may state their rate."""
_MOST_BELIEVED = 300
"""Frames a second; encoders of variable rates state the ticks of their clock."""

_CHROMA_LOCATIONS = {"left", "center", "topleft", "top", "bottomleft", "bottom"}
_describing = threading.Lock()
"""FFmpeg's log level is one for the whole program."""

# Side data that describes one frame's look and that no encoder here can write again.
_UNWRITABLE = {
    "DYNAMIC_HDR_PLUS": "HDR10+ dynamic metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid dynamic metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
}


def _nameless(cls: type[SideDataType], value: Any) -> SideDataType:
    """A kind of side data that FFmpeg has and PyAV knows no name for, such as EXIF or the eye of a spatial video."""
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"TYPE_{value}", value
    return kind


# Otherwise PyAV gives none of a frame's side data where one kind of it has no name.
SideDataType._missing_ = classmethod(_nameless)  # type: ignore[assignment,method-assign]


@dataclass(frozen=True, slots=True)
class Colour:
    """What the numbers in the planes mean, as FFmpeg's enumeration values (ISO/IEC 23091-2); 2 is unspecified."""

    range: int = 0
    """0 unspecified, 1 limited (16-235), 2 full (0-255)."""
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    chroma_location: str | None = None
    """`left`, `center`, `topleft` …, None where the file does not say."""


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """SMPTE ST 2086: the display the video was graded on."""

    primaries: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    """CIE 1931 x, y of red, green, blue."""
    white: tuple[float, float]
    luminance: tuple[float, float]
    """Darkest and brightest, candela per square metre."""


@dataclass(frozen=True, slots=True)
class Track:
    """One stream of the file, as a message can name it."""

    index: int
    kind: str
    """`video`, `audio`, `subtitle`, `attachment`, `data`, `unknown`."""
    codec: str
    language: str | None = None
    title: str | None = None
    cover: bool = False
    """A still picture that belongs to the file (cover art), not a video."""

    def __str__(self) -> str:
        what = "cover picture" if self.cover else f"{self.kind} track"
        extra = ", ".join(x for x in (self.codec, self.language, self.title and repr(self.title)) if x)
        return f"{what} #{self.index} ({extra})"


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Everything about a file that its labelled copy has to keep."""

    info: VideoInfo
    stream_index: int
    codec: str
    """FFmpeg's decoder name of the picture, for example `h264`."""
    format: str
    """FFmpeg's demuxer name, for example `matroska,webm`."""
    colour: Colour
    sample_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    """Nine integers in FFmpeg's layout; None for an upright picture."""
    mirrored: bool
    field_order: str | None
    """`tt`, `bb`, `tb`, `bt`; None for progressive."""
    rate: Fraction
    """Frames a second, for rate control only; never used for timing."""
    mastering: MasteringDisplay | None = None
    light_level: tuple[int, int] | None = None
    """MaxCLL and MaxFALL, candela per square metre."""
    captions: bool = False
    """The first frame carries A53 closed captions."""
    unwritable: tuple[str, ...] = ()
    """What the first frame carries and no encoder here can write again, in words."""
    tracks: tuple[Track, ...] = field(default=())
    """All streams, the picture included, in file order."""


def fraction(value: Any) -> Fraction | None:
    """A library rational as a Fraction, None where it is unset (None in PyAV 18, falsy in 19)."""
    return Fraction(value.numerator, value.denominator) if value else None


def for_ffmpeg(path: str | os.PathLike[str]) -> str:
    """A file's name as FFmpeg understands it: absolute, since what stands before a colon in a relative one is a
    protocol there.

    Example:
        >>> for_ffmpeg("/mv/12:30.mp4")
        '/mv/12:30.mp4'
    """
    return os.path.abspath(path)


def _series(place: Path) -> str | None:
    from stream.series import series_remark  # imports what opens photos: a run that goes well need not wait for that

    return series_remark(place)


@contextmanager
def opened(path: str | os.PathLike[str], hwaccel: HWAccel | None = None) -> Iterator[InputContainer]:
    """Open a media file for reading; whatever is wrong with it becomes an `InputError` that says what to do.

    Args:
        path: the file.
        hwaccel: what decodes; None for the CPU.

    Raises:
        InputError: missing, a directory, not readable, not a media file, or its index is cut off.
    """
    name = os.fspath(path)
    place = Path(name)
    if not os.path.exists(name):
        raise InputError(_series(place) or f"{name}: there is no such file; check the spelling and the folder")
    if place.is_dir():
        raise InputError(_series(place) or f"{name} is a folder, not a video; give the file inside it")
    if not place.is_file():
        raise InputError(f"{name} is a pipe or a device, which is read once only; save what comes from it in a file")
    if place.stat().st_size == 0:
        raise InputError(f"{name} is empty (0 bytes); copy or download it again")
    try:
        # genpts: formats such as AVI store decoding times only; the demuxer can work out the display times.
        container = av.open(for_ffmpeg(name), "r", options={"fflags": "+genpts"}, hwaccel=hwaccel, **_LENIENT)
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read it; change its permissions or owner") from error
    except av.error.FFmpegError as error:
        raise InputError(f"{name} cannot be read as a video: {_reason(place, error)}") from error
    with container:
        if container.format.name in _NOT_VIDEO_FORMATS:
            raise InputError(f"{name} is a text file, not a video")
        yield container


def _reason(place: Path, error: av.error.FFmpegError) -> str:
    if not isinstance(error, av.error.InvalidDataError):
        return (error.strerror or str(error)).lower()
    with place.open("rb") as file:
        if file.read(12)[4:8] == b"ftyp":  # an MP4 or MOV whose contents are described at its end
            return (
                "its index is missing, so it was cut off or never finished; "
                "copy it again, or repair it with a recovery tool"
            )
    return "it is no known media format, or damaged from the start; check that it plays elsewhere"


def video_stream(container: InputContainer) -> VideoStream:
    """The stream that is the file's picture: the best video that is not a cover picture.

    Raises:
        InputError: the file has none, or there is no decoder for it.
    """
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        if container.streams.audio:
            cover = " (its only picture is the cover)" if container.streams.video else ""
            raise InputError(f"{container.name} has sound but no video{cover}; give a file with a picture")
        raise InputError(f"{container.name} holds no video; give a file with a picture")
    best = container.streams.best("video")
    stream = next((s for s in moving if best is not None and s.index == best.index), moving[0])
    if stream.codec_context is None:
        raise InputError(f"{container.name}: there is no decoder here for its video; convert it to H.264 or HEVC first")
    return stream


def probe(path: str | os.PathLike[str]) -> VideoFacts:
    """Everything about the file that labelling must know or keep.

    Raises:
        InputError: the file cannot be opened, holds no video, or not one frame of it can be decoded.
    """
    with opened(path) as container:
        stream = video_stream(container)
        chroma_location = _chroma_location(container, stream)
        frame = _first_frame(container, stream)
        return _facts(container, stream, frame, chroma_location)


def _first_frame(container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    failures = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                failures += 1
                continue
            if frames:
                return frames[0]
    except av.error.FFmpegError:
        failures += 1
    if "webp" in container.format.name:
        raise InputError(f"{container.name}: an animated WebP, which FFmpeg cannot decode; save it as GIF or MP4")
    why = f"all {failures} packets are damaged" if failures else "it holds no pictures"
    raise InputError(f"{container.name}: not one video frame can be decoded ({why}); copy it again")


def _facts(
    container: InputContainer, stream: VideoStream, frame: av.VideoFrame, chroma_location: str | None
) -> VideoFacts:
    side_data = side_data_of(frame)
    matrix = _display_matrix(side_data)
    rotation, mirrored = rotation_of(matrix)
    time_base = fraction(stream.time_base)
    if time_base is None:
        raise InputError(f"{container.name}: its video has no time base; rewrap it as MP4 or MKV first")
    average = _average_rate(stream, time_base, container.format.name)
    context = stream.codec_context
    field_order = _field_order(frame) if frame.interlaced_frame else FIELD_ORDERS.get(context.field_order)
    duration = (
        float(stream.duration * time_base)
        if stream.duration
        else container.duration / av.time_base
        if container.duration
        else None
    )
    info = VideoInfo(
        path=os.fspath(container.name),
        coded_width=frame.width,
        coded_height=frame.height,
        rotation=rotation,
        time_base=time_base,
        duration=duration,
        average_rate=average,
        pixel_format=frame.format.name,
        interlaced=field_order is not None,
        coded_pixel_aspect=_pixel_aspect(fraction(stream.sample_aspect_ratio)),
        frames=stream.frames or (round(duration * average) if duration and average else None),
    )
    return VideoFacts(
        info=info,
        stream_index=stream.index,
        codec=context.codec.canonical_name,
        format=container.format.name,
        colour=Colour(
            range=frame.color_range or context.color_range,
            primaries=_specified(frame.color_primaries, context.color_primaries),
            transfer=_specified(frame.color_trc, context.color_trc),
            matrix=_specified(frame.colorspace, context.colorspace),
            chroma_location=chroma_location,
        ),
        sample_aspect=fraction(stream.sample_aspect_ratio),
        display_matrix=matrix,
        mirrored=mirrored,
        field_order=field_order,
        rate=average or fraction(stream.guessed_rate) or fraction(stream.base_rate) or Fraction(25),
        mastering=_mastering(side_data.get("MASTERING_DISPLAY_METADATA")),
        light_level=_light_level(side_data.get("CONTENT_LIGHT_LEVEL")),
        captions="A53_CC" in side_data,
        unwritable=tuple(sorted({words for key, words in _UNWRITABLE.items() if key in side_data})),
        tracks=tuple(track_of(s) for s in container.streams),
    )


def _average_rate(stream: VideoStream, time_base: Fraction, format_name: str) -> Fraction | None:
    """Frames a second over the whole file. FFmpeg gives the ticks of the clock in their place for raw DV, and 25 for
    bare streams whatever they say themselves."""
    average, guessed = fraction(stream.average_rate), fraction(stream.guessed_rate)
    if average is None or guessed is None:
        return average
    stated = format_name in _BARE and guessed <= _MOST_BELIEVED
    return guessed if stated or guessed < average == 1 / time_base else average


def _pixel_aspect(stated: Fraction | None) -> Fraction:
    """What a picture's pixels are like; what nobody films in is no statement but an error."""
    return stated if stated is not None and Fraction(1, 4) <= stated <= 4 else Fraction(1)


def side_data_of(frame: av.VideoFrame) -> dict[str, bytes]:
    """What travels with the frame beside its pixels, by FFmpeg's name, for example `A53_CC`.

    Only for frames that nobody will draw on: see `stream.pictures.writable`.
    """
    found: Any = frame.side_data
    # Iterating gives the data itself in PyAV 18, its type in 19.
    items = (item if hasattr(item, "type") else found[item] for item in found)
    return {item.type.name: bytes(item) for item in items}


def track_of(stream: Stream) -> Track:
    """The stream's facts for messages and plans."""
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else (stream.name or "unknown codec")
    return Track(
        index=stream.index,
        kind=stream.type,
        codec=codec,
        language=stream.language,
        title=stream.metadata.get("title"),
        cover=stream.type == "video" and bool(stream.disposition & Disposition.attached_pic),
    )


def rotation_of(matrix: tuple[int, ...] | None) -> tuple[Rotation, bool]:
    """Degrees clockwise a player turns the picture by, and whether it mirrors it too.

    Angles that are no multiple of 90 are rounded to the nearest one, as players do.
    """
    if matrix is None:
        return 0, False
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if a * d - b * c < 0:  # a mirror image: undo the horizontal flip, then read the turn
        a, c = -a, -c
        mirrored = True
    else:
        mirrored = False
    quarter = {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}
    key = (_sign(a), 0) if abs(a) >= abs(b) else (0, _sign(b))
    return quarter.get(key, 0), mirrored  # type: ignore[return-value]


def _field_order(frame: av.VideoFrame) -> str:
    """`tt` or `bb`: what an interlaced frame itself says, as containers are often wrong. PyAV hides the flag."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    bottom_first = graph.add("select", "eq(interlace_type,BOTTOMFIRST)")
    sink = graph.add("buffersink")
    graph.link_nodes(source, bottom_first, sink).configure()
    graph.push(frame)
    graph.push(None)
    try:
        sink.pull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return "tt"
    return "bb"


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _specified(first: int, second: int) -> int:
    return first if first != 2 else second


def _display_matrix(side_data: dict[str, bytes]) -> tuple[int, ...] | None:
    data = side_data.get(SideDataType.DISPLAYMATRIX.name)
    if data is None or len(data) < 36:
        return None
    matrix = struct.unpack("=9i", data[:36])
    upright = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    return None if matrix == upright else matrix


def _mastering(data: bytes | None) -> MasteringDisplay | None:
    """Read FFmpeg's AVMasteringDisplayMetadata: ten rationals (R, G, B, white: x, y; min, max) and two flags."""
    if data is None or len(data) < 88:
        return None
    numbers = struct.unpack("=22i", data[:88])
    v = [numbers[2 * i] / numbers[2 * i + 1] if numbers[2 * i + 1] else 0.0 for i in range(10)]
    if not numbers[20]:
        return None
    return MasteringDisplay(((v[0], v[1]), (v[2], v[3]), (v[4], v[5])), (v[6], v[7]), (v[8], v[9]))


def _light_level(data: bytes | None) -> tuple[int, int] | None:
    """Read FFmpeg's AVContentLightMetadata: two unsigned integers."""
    if data is None or len(data) < 8:
        return None
    cll, fall = struct.unpack("=2I", data[:8])
    return (cll, fall) if cll or fall else None


def _chroma_location(container: InputContainer, stream: VideoStream) -> str | None:
    """Where chroma samples sit, which PyAV tells nowhere but in FFmpeg's own description of the file."""
    with _describing:
        level = av.logging.get_level()
        av.logging.set_libav_level(av.logging.VERBOSE)
        av.logging.set_level(av.logging.VERBOSE)
        try:
            text: str = container.dumps_format()  # type: ignore[attr-defined]  # missing in PyAV's stubs
        finally:
            av.logging.set_level(level)
            av.logging.set_libav_level(av.logging.INFO)
    found = re.search(rf"Stream #0:{stream.index}\b[^\n]*? {stream.codec_context.pix_fmt}\(([^)]*)\)", text)
    words = found[1].split(", ") if found else []
    return next((word for word in words if word in _CHROMA_LOCATIONS), None)
