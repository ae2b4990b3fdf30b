"""Which encoder, with which settings: decided once from the source, then the same for every segment.

plan = plan_encoder(EncoderSettings(), probe("mv.mp4"))
print(plan.codec, plan.pixel_format, plan.notes)
context = plan.open()          # a fresh encoder; every one gives the same headers
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

import av
import av.error
import cv2
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from engine.errors import IznetError, MissingError, UsageError
from stream.cuda_context import accelerator
from stream.encoders import ENCODERS, KINDS, Family, Kind, hardware, hardware_options
from stream.probe import Colour, MasteringDisplay, VideoFacts
from stream.scheduling import as_scheduled

BT709 = 1
_ON_GPU = {"yuv420p": "nv12", "nv12": "nv12", "p010le": "p010le"}
"""Pixel formats, and how decoders on a GPU lay out the same samples."""

_CPU_AVX_512F = 13
"""OpenCV's number of the processor feature."""
_X264_REPEATABLE = "asm=sse2,sse3,ssse3,sse4.2,avx,avx2,fma3,lzcnt,bmi1,bmi2,fast-shuffle"
"""With AVX-512, x264's macroblock tree reads memory nobody set: some runs come out different. Without, none; the price
is one or two per cent of its time."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What the user asked for; None means the encoder's own default.

    `encoder` auto keeps the source's family: HEVC and everything of more than 8 bits → x265, AV1 → SVT-AV1,
    interlaced and all else → x264. `hardware` is the same in a chip, where one answers, and otherwise in software.
    """

    encoder: str = "auto"
    preset: str | None = None
    """The encoder's own word: `veryfast` … for x264, x265 and QSV, 0-13 for SVT-AV1, `p1`-`p7` for NVENC, `speed`
    `balanced` `quality` for AMF; VideoToolbox has none."""
    crf: float | None = None
    """Constant quality: 0-51 for H.264 and HEVC, 0-63 for AV1; smaller is better."""
    threads: int | None = None
    """Encoder threads. None chooses by the picture's height alone, so that every machine writes the same bytes."""


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """Everything that makes up the encoder; two encoders of one plan write identical headers."""

    encoder: str
    codec: str
    """FFmpeg's encoder name, for example `libx264`."""
    pixel_format: str
    """What frames must be in before drawing and encoding."""
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    threads: int
    options: dict[str, str]
    colour: Colour
    sample_aspect: Fraction | None = None
    field_order: str | None = None
    display_matrix: tuple[int, ...] | None = None
    slices: bool = False
    """Whether threads share a picture instead of working on one each: nothing is held back, for more bits and time."""
    on_gpu: bool = False
    """Whether frames are drawn on and encoded in a GPU's memory, where they are there; others are put there."""
    notes: tuple[str, ...] = field(default=())
    """What the user should be told: the choice made, and what changes on the way."""

    def open(self) -> VideoCodecContext:
        """A fresh, opened encoder.

        Raises:
            MissingError: the encoder is not in this FFmpeg, or its device is not here.
            UsageError: it refuses the preset, crf or picture.
        """
        context = _create(self.codec, self.on_gpu)
        self._configure(context)
        try:
            with as_scheduled():
                context.open()
        except av.error.FFmpegError as error:
            raise self._refusal(error) from error
        return context

    def add_stream(self, container: OutputContainer) -> VideoStream:
        """A stream of the container whose headers are this encoder's. Nothing is ever encoded through it."""
        stream = container.add_stream(self.codec, rate=self.rate)
        assert isinstance(stream, VideoStream)
        self._configure(stream.codec_context)
        stream.time_base = self.time_base
        if self.display_matrix is not None:
            stream.set_display_matrix(self.display_matrix)
        with as_scheduled():  # or the container would open it, with its header
            stream.codec_context.open()
        return stream

    def for_gpu_frames(self) -> EncoderPlan | None:
        """The same for frames in a GPU's memory; None where this encoder does not take them."""
        pixel_format = _ON_GPU.get(self.pixel_format)
        if KINDS[self.encoder].maker != "NVIDIA" or pixel_format is None:
            return None
        return replace(self, on_gpu=True, pixel_format=pixel_format)

    def to_json(self) -> dict[str, Any]:
        """What the encoder's bytes depend on, in plain values; equal plans give equal values."""
        values = asdict(self)
        del values["notes"]
        values["time_base"] = str(self.time_base)
        values["rate"] = str(self.rate)
        values["sample_aspect"] = str(self.sample_aspect) if self.sample_aspect else None
        values["display_matrix"] = list(self.display_matrix) if self.display_matrix else None
        return values

    def _configure(self, context: VideoCodecContext) -> None:
        context.width, context.height = self.width, self.height
        context.pix_fmt = self.pixel_format
        context.time_base = self.time_base
        context.framerate = self.rate
        context.thread_count = self.threads
        context.thread_type = "SLICE" if self.slices else "FRAME"
        # Every packet needs its own duration, headers go to the container, and no picture may refer across segments.
        context.flags |= int(Flags.frame_duration) | int(Flags.global_header) | int(Flags.closed_gop)
        if self.field_order is not None:
            context.flags |= int(Flags.interlaced_dct) | int(Flags.interlaced_me)
            context.field_order = {"tt": 2, "bb": 3, "tb": 4, "bt": 5}[self.field_order]
        context.color_range = self.colour.range
        context.color_primaries = self.colour.primaries
        context.color_trc = self.colour.transfer
        context.colorspace = self.colour.matrix
        if self.sample_aspect:
            context.sample_aspect_ratio = self.sample_aspect
        context.options = dict(self.options)

    def _refusal(self, error: av.error.FFmpegError) -> MissingError | UsageError:
        picture = f"{self.width}x{self.height} {self.pixel_format}"
        maker = KINDS[self.encoder].maker
        if maker is not None:
            return MissingError(
                f"encoder {self.encoder}: no {maker} device or driver answers for {picture} ({error.strerror}); "
                "use --encoder x264"
            )
        if self.field_order is not None and self.height % 4 and "420" in self.pixel_format:
            return UsageError(
                f"encoder {self.encoder} keeps the fields of an interlaced {self.pixel_format} picture only where its "
                f"height is a multiple of 4, and {self.height} is none; use --deinterlace, or --encoder x265 without "
                "the marks of fields"
            )
        given = ", ".join(f"{k} {v}" for k, v in self.options.items() if k in ("preset", "crf"))
        return UsageError(
            f"encoder {self.encoder} refuses {given} for {picture} "
            f"({error.strerror}); check --preset and --crf, or choose another --encoder"
        )


def plan_encoder(settings: EncoderSettings, facts: VideoFacts) -> EncoderPlan:
    """Decide encoder, pixel format and settings for a source; the same inputs always give the same plan.

    Raises:
        UsageError: an unknown encoder name, or a crf outside the encoder's range.
        MissingError: the encoder is not in this FFmpeg.
    """
    if settings.encoder not in ENCODERS:
        raise UsageError(f"encoder {settings.encoder!r} is unknown; choose from {', '.join(ENCODERS)}")
    depth = _depth(facts.info.pixel_format)
    if settings.encoder == "auto":
        name, why = _automatic(facts, depth)
        return _plan(name, settings, facts, f"encoder: {name} ({why})")
    if settings.encoder == "hardware":
        return _in_hardware(settings, facts, depth)
    return _plan(settings.encoder, settings, facts, f"encoder: {settings.encoder}")


def _in_hardware(settings: EncoderSettings, facts: VideoFacts, depth: int) -> EncoderPlan:
    """The first chip that opens for this very picture; else software."""
    software, why = _automatic(facts, depth)
    family: Family = KINDS[software].family
    refused = []
    for name in hardware(family) if facts.field_order is None else ():
        try:
            plan = _plan(name, settings, facts, f"encoder: {name} ({KINDS[name].maker} hardware; {why})")
            plan.open()
        except IznetError:
            refused.append(name)
        else:
            return plan
    absent = f"none of {', '.join(refused)} answers here" if refused else "no hardware keeps fields"
    return _plan(software, settings, facts, f"encoder: {software} in software, since {absent} ({why})")


def _plan(name: str, settings: EncoderSettings, facts: VideoFacts, said: str) -> EncoderPlan:
    info, kind, notes = facts.info, KINDS[name], [said]
    _create(kind.codec)
    crf = kind.crf if settings.crf is None else settings.crf
    if not 0 <= crf <= kind.worst:
        raise UsageError(f"crf {crf:g} is outside {name}'s range 0 to {kind.worst}")
    if settings.preset is not None and kind.preset is None:
        raise UsageError(f"--preset {settings.preset}: {name} has no presets; leave it out")

    pixel_format, changed = _pixel_format(info.pixel_format, info.coded_width, info.coded_height, name, kind)
    notes += changed
    colour = _colour(facts.colour, info.pixel_format, pixel_format)
    field_order = facts.field_order
    if field_order is not None and name != "x264":
        notes.append(f"fields cannot be marked as interlaced by {name}; use --encoder x264 or --deinterlace")
        field_order = None
    elif field_order is not None:
        notes.append("its field order is kept")
    notes += [f"{words} cannot be written again and is left out" for words in facts.unwritable]
    if facts.captions and not kind.captions:
        notes.append(f"closed captions (A53) cannot be written by {name}; use --encoder x264 or x265 to keep them")
    if kind.maker is not None and (facts.mastering is not None or facts.light_level is not None):
        notes.append(f"the HDR display data cannot be written by {name}; use --encoder x265 to keep them")

    # Each one more costs bits and time of the CPU (3 % of either from 4 to 6 at 720p), which have to be worth it on a
    # machine with few cores too.
    threads = settings.threads or max(1, min(16, info.coded_height // 180))
    return EncoderPlan(
        encoder=name,
        codec=kind.codec,
        pixel_format=pixel_format,
        width=info.coded_width,
        height=info.coded_height,
        time_base=info.time_base,
        rate=_sane_rate(facts.rate),
        threads=threads,
        options=_options(name, settings.preset or kind.preset, crf, threads, facts),
        colour=colour,
        sample_aspect=facts.sample_aspect,
        field_order=field_order,
        display_matrix=facts.display_matrix,
        notes=tuple(notes),
    )


def _automatic(facts: VideoFacts, depth: int) -> tuple[str, str]:
    if facts.field_order is not None:
        return "x264", "the source is interlaced, which x264 keeps"
    if facts.codec == "av1" and depth <= 10 and "420" in facts.info.pixel_format:
        return "svtav1", "the source is AV1"
    if depth > 8:
        return "x265", f"the source has {depth} bits a sample"
    if facts.codec == "hevc":
        return "x265", "the source is HEVC"
    return "x264", f"the source is {facts.codec}, 8 bits a sample"


def _depth(pixel_format: str) -> int:
    return max((c.bits for c in av.VideoFormat(pixel_format).components), default=8)


def _pixel_format(source: str, width: int, height: int, name: str, kind: Kind) -> tuple[str, list[str]]:
    """The nearest pixel format that the encoder takes at this size, and what to say about it."""
    fmt = av.VideoFormat(source)
    depth = _depth(source)
    wanted = source if source in kind.formats else min(kind.formats, key=partial(_distance, fmt, depth))
    # H.264 and HEVC count cropping in chroma samples, so a subsampled picture has even sides; AV1 has no such rule.
    chroma = _chroma(av.VideoFormat(wanted))
    odd = (width % 2 == 1 and chroma != "444") or (height % 2 == 1 and chroma == "420")
    if kind.family != "av1" and odd:
        wanted = wanted.replace("420", "444").replace("422", "444")
        if wanted not in kind.formats or _chroma(av.VideoFormat(wanted)) != "444":
            raise UsageError(f"{width}x{height} has an odd side, which {name} cannot keep; use --encoder x264")
        return wanted, [f"{width}x{height} has an odd side, which {name} takes as {wanted} only; the size is kept"]
    if wanted != source:
        alpha = "; transparency is lost" if any(c.is_alpha for c in fmt.components) else ""
        return wanted, [f"pixel format {source} is written as {wanted}{alpha}"]
    return wanted, []


def _distance(source: av.VideoFormat, depth: int, target: str) -> tuple[bool, bool, int, int]:
    """How far a pixel format is from the source's: loss of depth counts most, then loss of chroma, then waste."""
    bits, chroma = _depth(target), _chroma(av.VideoFormat(target))
    wanted = _chroma(source)
    order = ("420", "422", "444")
    full = target.startswith("yuvj") != source.name.startswith("yuvj")
    return bits < depth, order.index(chroma) < order.index(wanted), abs(bits - depth) + order.index(chroma), full


def _chroma(fmt: av.VideoFormat) -> str:
    if fmt.is_rgb or len(fmt.components) < 3:
        return "444" if fmt.is_rgb else "420"
    y, u = av.VideoFormat(fmt.name, 64, 64).components[:2]
    if u.width == y.width:
        return "444"
    if u.height == y.height:
        return "422"
    return "420" if u.width < y.width else "444"  # 4:4:0 needs every column


def _colour(colour: Colour, source: str, target: str) -> Colour:
    """The tags of what is written: the source's own, except that RGB becomes BT.709 and full range where unsaid."""
    matrix, tagged_range = colour.matrix, colour.range
    fmt = av.VideoFormat(source)
    if fmt.is_rgb or len(fmt.components) < 3:
        matrix, tagged_range = BT709 if fmt.is_rgb else matrix, 1
    elif source.startswith("yuvj") or target.startswith("yuvj"):
        tagged_range = 2
    return Colour(tagged_range, colour.primaries, colour.transfer, matrix, colour.chroma_location)


def _sane_rate(rate: Fraction) -> Fraction:
    """A rate that every encoder accepts; it steers the bit rate and never moves a frame."""
    return min(max(rate, Fraction(1)), Fraction(240)).limit_denominator(60000)


def _options(name: str, preset: str | None, crf: float, threads: int, facts: VideoFacts) -> dict[str, str]:
    if KINDS[name].maker is not None:
        return hardware_options(name, preset, crf)
    options = {"preset": str(preset), "crf": f"{crf:g}"}
    if facts.colour.chroma_location is not None:
        options["chroma_sample_location"] = facts.colour.chroma_location
    if name == "x264":
        options |= {"a53cc": "1", "udu_sei": "1"}
        params = [_X264_REPEATABLE] if cv2.checkHardwareSupport(_CPU_AVX_512F) else []
        if hdr := _hdr(facts, "mastering-display", "cll", ","):
            params.append(hdr)
        if params:
            options["x264-params"] = ":".join(params)
    elif name == "x265":
        # Lookahead and frame threads are fixed, as they change the bytes; the pool is the machine's affair.
        side = min(facts.info.coded_width, facts.info.coded_height)
        extra = f"log-level=error:info=0:frame-threads={min(3, threads)}:open-gop=0"
        if side < 64:
            extra += ":ctu=16" if side < 32 else ":ctu=32"
        if facts.mastering is not None or facts.light_level is not None:
            extra += ":hdr10=1:repeat-headers=0"
        if hdr := _hdr(facts, "master-display", "max-cll", ","):
            extra += ":" + hdr
        options |= {"a53cc": "1", "udu_sei": "1", "x265-params": extra}
    elif extra := _svt_hdr(facts):
        options["svtav1-params"] = extra
    return options


def _hdr(facts: VideoFacts, mastering_key: str, light_key: str, between: str) -> str:
    """Mastering display in x264's and x265's words: chromaticities in 1/50000, luminance in 1/10000 cd/m2."""
    parts = []
    if facts.mastering is not None:
        parts.append(f"{mastering_key}={_mastering_words(facts.mastering)}")
    if facts.light_level is not None:
        parts.append(f"{light_key}={facts.light_level[0]}{between}{facts.light_level[1]}")
    return ":".join(parts)


def _mastering_words(display: MasteringDisplay) -> str:
    red, green, blue = display.primaries
    points = (("G", green), ("B", blue), ("R", red), ("WP", display.white))
    words = "".join(f"{name}({round(x * 50000)},{round(y * 50000)})" for name, (x, y) in points)
    dark, bright = display.luminance
    return f"{words}L({round(bright * 10000)},{round(dark * 10000)})"


def _svt_hdr(facts: VideoFacts) -> str:
    parts = []
    if facts.mastering is not None:
        red, green, blue = facts.mastering.primaries
        points = (("G", green), ("B", blue), ("R", red), ("WP", facts.mastering.white))
        words = "".join(f"{name}({x:.4f},{y:.4f})" for name, (x, y) in points)
        dark, bright = facts.mastering.luminance
        parts.append(f"mastering-display={words}L({bright:.4f},{dark:.4f})")
    if facts.light_level is not None:
        parts.append(f"content-light={facts.light_level[0]},{facts.light_level[1]}")
    return ":".join(parts)


def _create(codec: str, on_gpu: bool = False) -> VideoCodecContext:
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; it writes to the terminal past everything else
    try:
        with accelerator() if on_gpu else nullcontext() as cuda:
            context = av.CodecContext.create(codec, "w", hwaccel=cuda)
    except (av.error.FFmpegError, ValueError) as error:
        if on_gpu and isinstance(error, av.error.FFmpegError):
            raise MissingError(
                f"encoder {codec}: FFmpeg cannot encode on the GPU ({error.strerror}); use --encoder x264"
            ) from error
        only = ", which has it on macOS only" if codec.endswith("videotoolbox") else ""
        raise MissingError(f"encoder {codec} is not in this FFmpeg{only}; choose another --encoder") from error
    assert isinstance(context, VideoCodecContext)
    return context
