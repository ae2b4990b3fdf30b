"""What `--decoder` names: software, or a chip whose pictures come down to the host's memory.

with FileSource("mv.mp4", decoder="hardware") as source:
    print(source.decoder.chip)      # "nvdec", "qsv" … or None, and `source.notes` says why

Decoders of one standard agree to the last bit for all that is common today, so what is found on the pictures is the
same; they are handed on in the pixel format that software gives. The chips have not been tried: see `docs/gpu.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from engine.errors import MissingError, UsageError

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from stream.probe import VideoFacts

PATIENCE = 100
"""Packets that a chip may refuse in a row, or take before its first picture comes out."""

# What a container says of a stream and its decoder has to know.
_PARAMETERS = (
    *("codec_tag", "extradata", "width", "height", "bits_per_coded_sample", "reorder_depth", "field_order"),
    *("color_range", "color_primaries", "color_trc", "colorspace"),
)


@dataclass(frozen=True, slots=True)
class Chip:
    """One way to a hardware decoder."""

    maker: str
    device: str | None = None
    """FFmpeg's name of the kind of device that its own decoders hand the work to; None where the chip has decoders for
    itself, which know no software."""
    suffix: str = ""
    """What their names end in."""
    captions: bool = True
    """Whether closed captions (A53) come out beside the pictures."""
    cure: str = ""
    """What helps where FFmpeg was built without it."""


CHIPS: Mapping[str, Chip] = {
    "nvdec": Chip("NVIDIA", "cuda"),
    "qsv": Chip("Intel", suffix="_qsv", captions=False),
    "vaapi": Chip(
        *("Intel or AMD", "vaapi"),
        cure="on Linux, pip install --no-binary av av builds PyAV on the system's FFmpeg, or ",
    ),
    "videotoolbox": Chip("Apple", "videotoolbox", cure="it is found on macOS only: "),
}
DECODERS: tuple[str, ...] = ("auto", "software", "hardware", *CHIPS)
"""The words of `--decoder`. `auto` is software, or NVDEC where the GPU does the rest as well; `hardware` takes the
first chip that decodes the very file."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """What decodes one video."""

    chip: str | None = None
    """One of `CHIPS`; None for software."""
    on_gpu: bool = False
    """Whether it may leave the pictures in the memory of a GPU that asks for them there."""
    note: str | None = None
    """What the user should know."""


def choose(wanted: str, facts: VideoFacts, attempt: Callable[[str], None]) -> Decoder:
    """Decide what decodes a video.

    Args:
        wanted: one of `DECODERS`.
        facts: of the video.
        attempt: tries one of `CHIPS` on the video, and raises `MissingError` where it does not decode it.

    Raises:
        UsageError: an unknown word.
        MissingError: a chip that was named does not decode this video.

    Example:
        >>> choose("nvdec", facts, lambda chip: None).note          # doctest: +SKIP
        'decoder: nvdec (NVIDIA hardware)'
    """
    if wanted not in DECODERS:
        raise UsageError(f"decoder {wanted!r} is unknown; choose from {', '.join(DECODERS)}")
    if wanted in ("auto", "software"):
        return Decoder(on_gpu=wanted == "auto")
    if wanted != "hardware":
        attempt(wanted)
        return _taken(wanted, facts)
    for name in CHIPS:
        try:
            attempt(name)
        except MissingError:
            continue
        return _taken(name, facts)
    video = f"{facts.codec} {facts.info.pixel_format}"
    return Decoder(note=f"decoder: software, since none of {', '.join(CHIPS)} decodes {video} here")


def _taken(name: str, facts: VideoFacts) -> Decoder:
    lost = "; it does not hand on the closed captions (A53)" if facts.captions and not CHIPS[name].captions else ""
    return Decoder(name, name == "nvdec", f"decoder: {name} ({CHIPS[name].maker} hardware){lost}")


def attempt(name: str, path: str | os.PathLike[str], facts: VideoFacts) -> None:
    """Decode the first picture of a video with a chip.

    Raises:
        InputError: the file cannot be opened any more.
        MissingError: the chip is not here, or does not take this video.
    """
    import av.error
    from av.video.stream import VideoStream

    from stream.planes import same_samples
    from stream.probe import opened

    info, why = facts.info, "no picture comes out"
    with opened(path) as container:
        stream = container.streams[facts.stream_index]
        assert isinstance(stream, VideoStream)
        context = opened_chip(name, stream)
        for count, packet in enumerate(container.demux(stream)):
            try:
                pictures = context.decode(packet)
            except av.error.FFmpegError as error:
                pictures, why = [], error.strerror or str(error)
            if pictures or count >= PATIENCE:
                break
        if not pictures:
            picture = f"{facts.codec} {info.coded_width}x{info.coded_height} {info.pixel_format}"
            raise _missing(name, f"no {CHIPS[name].maker} device or driver decodes {picture} ({why})")
        found = pictures[0]
        given = f"{found.width}x{found.height} {found.format.name}"
        size = (found.width, found.height)
    if size != (info.coded_width, info.coded_height) or not same_samples(found.format.name, info.pixel_format):
        wanted = f"{info.coded_width}x{info.coded_height} {info.pixel_format}"
        raise _missing(name, f"it gives {given} for pictures of {wanted}")


def opened_chip(name: str, stream: VideoStream) -> VideoCodecContext:
    """A decoder in a chip for a stream; what it gives is in the host's memory.

    Raises:
        MissingError: the device, its driver or the decoder is not here.
    """
    source = stream.codec_context
    context = _create(name, source.codec.canonical_name)
    for parameter in _PARAMETERS:
        setattr(context, parameter, getattr(source, parameter))
    if source.sample_aspect_ratio:
        context.sample_aspect_ratio = source.sample_aspect_ratio
    context.thread_count = 1  # a chip gains nothing from threads, and each takes a few more of its pictures
    return context


def gave_up(name: str, why: str) -> MissingError:
    """What to raise where a chip takes no packet any more, so that the rest of a video is not lost as damaged."""
    return _missing(name, f"the {CHIPS[name].maker} device stopped decoding in the middle of the video ({why})")


def arranged(picture: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """A picture from a chip in the format that software gives, where that is but another order of the same samples
    (NV12, P010): one exact copy, and all that follows is as with software. Any other picture is returned as it is.
    """
    from stream.pictures import convert
    from stream.planes import same_samples

    if not same_samples(picture.format.name, pixel_format):
        return picture
    made = convert(picture, pixel_format)
    made.color_range = picture.color_range  # also where it says none
    return made


def answers(name: str) -> None:
    """Have a chip decode a grey picture of H.264, which all of them know.

    Raises:
        MissingError: it is not here.
    """
    import av
    import av.error

    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 256, 256, "yuv420p"
    encoder.time_base, encoder.options = Fraction(1, 25), {"preset": "ultrafast", "tune": "zerolatency"}
    picture = av.VideoFrame(256, 256, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    context = _create(name, "h264")
    try:
        pictures = [found for packet in (*packets, None) for found in context.decode(packet)]
    except av.error.FFmpegError as error:
        raise _missing(name, f"no {CHIPS[name].maker} device or driver answers ({error.strerror})") from error
    if not pictures:
        raise _missing(name, f"no picture comes from the {CHIPS[name].maker} device")


def _create(name: str, codec: str) -> VideoCodecContext:
    """A decoder that is in the chip for certain: software never takes its place."""
    import av
    import av.error
    from av.codec.hwaccel import HWAccel, hwdevices_available

    chip = CHIPS[name]
    if chip.device is not None and chip.device not in hwdevices_available():
        raise _missing(name, "this FFmpeg was built without it", chip.cure)
    accelerator = HWAccel(chip.device, allow_software_fallback=False) if chip.device else None
    try:
        context = av.CodecContext.create(codec + chip.suffix, "r", hwaccel=accelerator)
    except av.error.FFmpegError as error:
        raise _missing(name, f"no {chip.maker} device or driver answers ({error.strerror})") from error
    except ValueError as error:
        raise _missing(name, f"this FFmpeg cannot decode {codec} with it") from error
    if accelerator is not None and not context.is_hwaccel:  # PyAV goes on in software where FFmpeg knows no other way
        raise _missing(name, f"this FFmpeg cannot decode {codec} with it")
    assert isinstance(context, av.VideoCodecContext)
    return context


def _missing(name: str, why: str, cure: str = "") -> MissingError:
    return MissingError(f"decoder {name}: {why}; {cure}use --decoder software")
