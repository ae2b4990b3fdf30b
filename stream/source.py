"""Frames out of a video file, each at its exact time, to the file's end whatever is damaged in it.

with FileSource("mv.mp4") as source:
    for frame in source.frames():
        print(frame.index, frame.time)
    print(source.damage.describe())
"""

from __future__ import annotations

import errno
import heapq
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import av
import av.error
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from engine.cuda_driver import no_room
from stream.clock import Clock, with_next
from stream.decoders import PATIENCE, Decoder, arranged, attempt, choose, gave_up, opened_chip
from stream.frames import Frame, VideoInfo
from stream.nvdec import opened_on_gpu
from stream.planes import on_gpu
from stream.probe import VideoFacts, fraction, opened, probe

ThreadType = Literal["auto", "frame", "slice"]

_READ_ERRORS_IN_A_ROW = 16
"""After so many failures to read with no packet between, the rest of the file is taken as lost."""


@dataclass(slots=True)
class Damage:
    """What was wrong with a file's pictures, counted while it is decoded."""

    corrupt_packets: int = 0
    """Packets the container marks as damaged or cut short."""
    undecodable_packets: int = 0
    """Packets the decoder refused; their frames are missing."""
    damaged_frames: int = 0
    """Frames that came out with errors in them; they are used as they are."""
    derived_times: int = 0
    """Frames without a time of their own; it follows from the frame before."""
    moved_times: int = 0
    """Frames not later than the one before; moved to just after it."""
    rescaled_frames: int = 0
    """Frames of another size or pixel format than the first; converted to the first frame's."""
    cut_short: bool = False
    """Reading stopped before the file's end."""
    reasons: Counter[str] = field(default_factory=Counter)
    """The decoder's own words, and how often."""

    def __bool__(self) -> bool:
        return bool(self.describe())

    def describe(self) -> list[str]:
        """Plain words for each kind of damage, none for a sound file."""
        return damage_words(self.as_dict())

    def as_dict(self) -> dict[str, int]:
        """The counts that are not zero, for a record."""
        counts = {name: int(getattr(self, name)) for name in _KINDS}
        return {name: count for name, count in counts.items() if count}


_KINDS = {
    "corrupt_packets": "packets damaged in the file: {}",
    "undecodable_packets": "packets that could not be decoded, whose frames are missing: {}",
    "damaged_frames": "frames decoded with errors in the picture: {}",
    "derived_times": "frames without a time, which was worked out from the frame before: {}",
    "moved_times": "frames not later than the one before, moved to just after it: {}",
    "rescaled_frames": "frames of another size or pixel format, converted to the first frame's: {}",
    "cut_short": "the file could not be read to its end",
}


def damage_words(counts: Mapping[str, int]) -> list[str]:
    """What a record counts as damage, in plain words.

    Example:
        >>> damage_words({"damaged_frames": 3, "cut_short": 1})
        ['frames decoded with errors in the picture: 3', 'the file could not be read to its end']
    """
    return [words.format(counts[kind]) for kind, words in _KINDS.items() if counts.get(kind)]


class FileSource:
    """The pictures of a video file in presentation order.

    Args:
        path: the file.
        threads: decoder threads; None for as many as there are processors.
        thread_type: how the decoder shares its work; which is faster differs from file to file.
        deinterlace: turn interlaced pictures into whole ones (bwdif, one frame out for each frame in).
        decoder: one of `stream.decoders.DECODERS`.

    Raises:
        InputError: the file cannot be opened, holds no video, or no frame of it can be decoded.
        UsageError: an unknown decoder.
        MissingError: a hardware decoder that was named is not here, or does not take the file.

    Example:
        >>> with FileSource("mv.mp4") as source:      # doctest: +SKIP
        ...     times = [frame.time for frame in source.frames()]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        *,
        thread_type: ThreadType = "auto",
        deinterlace: bool = False,
        decoder: str = "auto",
    ) -> None:
        facts = probe(path)
        self.path = os.fspath(path)
        self.decoder: Decoder = choose(decoder, facts, partial(attempt, path=path, facts=facts))
        """What decodes it."""
        self.notes: list[str] = [self.decoder.note] if self.decoder.note else []
        self.notes += _notes(facts, deinterlace)
        self.damage = Damage()
        self._threads = threads
        self._thread_type = thread_type
        self._deinterlace = deinterlace and facts.info.interlaced
        self.on_gpu = False
        """Whether `frames` are to be decoded on the GPU and left there, where its decoder takes them; set before."""
        self.decoded_on_gpu = False
        """Whether it took them; where not although it was asked for, `notes` says so."""
        if self._deinterlace:
            facts = replace(facts, field_order=None, info=replace(facts.info, interlaced=False))
        self.facts: VideoFacts = facts
        """Everything the labelled copy has to keep."""
        self._closed = False

    @property
    def info(self) -> VideoInfo:
        """Size, rotation, time base …, known before the first frame."""
        return self.facts.info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End any iteration that is going on at its next frame. Closing twice is no fault."""
        self._closed = True

    def frames(self) -> Iterator[Frame]:
        """Every frame that can be decoded, in presentation order, times strictly rising.

        `frame.pts` counts ticks of `info.time_base`; `frame.picture.pts` is the same. Each call starts at the file's
        beginning and counts `damage` anew. Pictures share memory with the decoder: read from them as you like,
        make them writable (`stream.pictures.writable`) before drawing.

        Raises:
            MissingError: a hardware decoder stopped taking packets.
        """
        self.damage = Damage()
        base = self.info.time_base
        clock = Clock(base, round(1 / (self.facts.rate * base)))
        conform = _Conform(self.facts, self.damage)
        gpu = self.on_gpu and not self._deinterlace  # the filter is for pictures in the host's memory
        with opened_on_gpu(self.path) if gpu else opened(self.path) as container:
            stream = container.streams[self.facts.stream_index]
            assert isinstance(stream, VideoStream)
            context = stream.codec_context
            if self.decoder.chip is not None and not context.is_hwaccel:
                context = opened_chip(self.decoder.chip, stream)
            else:
                # A chip gains nothing from threads, and each takes a few more of its pictures.
                context.thread_count = 1 if context.is_hwaccel else self._threads or 0
                context.thread_type = self._thread_type.upper()
            pictures = self._decode(container, stream, context)
            if context is not stream.codec_context:
                pictures = (arranged(picture, self.info.pixel_format) for picture in pictures)
            if self.on_gpu:
                pictures = self._told_where(pictures, stream.codec_context.is_hwaccel)
            if self._deinterlace:
                pictures = _deinterlaced(pictures, self.facts)
            stamped = ((picture, _stamp(picture, base)) for picture in pictures)
            for index, ((picture, stamp), following) in enumerate(with_next(stamped)):
                if self._closed:
                    return
                after = None if following is None else following[1]
                pts = clock.settle(stamp, after)
                self.damage.derived_times, self.damage.moved_times = clock.derived, clock.moved
                picture = conform(picture)
                if stamp is not None and after is not None and after > stamp:
                    picture.duration = after - stamp  # MP4's own is the distance to the next one decoded
                else:
                    picture.duration = round(picture.duration * (fraction(picture.time_base) or base) / base)
                picture.pts, picture.time_base = pts, base
                yield Frame(picture, index, pts, base)

    def _told_where(self, pictures: Iterator[av.VideoFrame], tried: bool) -> Iterator[av.VideoFrame]:
        """The same, with a note where they are not on the GPU."""
        for index, picture in enumerate(pictures):
            if index == 0:
                self.decoded_on_gpu = on_gpu(picture)
            if index == 0 and not self.decoded_on_gpu and self.decoder.chip is None:
                why = "as the GPU's decoder does not take it" if tried else "as FFmpeg has no decoder on the GPU for it"
                why = "to be deinterlaced" if self._deinterlace else why
                note = f"{self.facts.codec} {self.info.pixel_format} is decoded on the CPU, {why}"
                if note not in self.notes:
                    self.notes.append(note)
            yield picture

    def _decode(
        self, container: InputContainer, stream: VideoStream, context: VideoCodecContext
    ) -> Iterator[av.VideoFrame]:
        damage = self.damage
        # AVI knows no display times, and the demuxer's guess is wrong where H.264 or HEVC reorders pictures:
        # the times of the packets are right, but they belong to the pictures in the order they come out.
        reorder = container.format.name == "avi" and self.facts.codec in ("h264", "hevc")
        waiting: list[int] = []
        refused = 0
        for packet in self._packets(container, stream):
            if packet.is_corrupt:
                damage.corrupt_packets += 1
            if reorder and packet.pts is not None:
                heapq.heappush(waiting, packet.pts)
            try:
                pictures = context.decode(packet)
            except av.error.FFmpegError as error:
                if self.on_gpu and error.errno == errno.ENOMEM:
                    raise no_room() from error  # the look-ahead holds pictures there
                refused += 1
                if self.decoder.chip is not None and refused > PATIENCE:
                    raise gave_up(self.decoder.chip, _words(error)) from error
                damage.undecodable_packets += 1
                damage.reasons[_words(error)] += 1
                if reorder and packet.pts in waiting:
                    waiting.remove(packet.pts)
                    heapq.heapify(waiting)
                continue
            for picture in pictures:
                refused = 0
                if picture.is_corrupt:
                    damage.damaged_frames += 1
                if waiting:
                    picture.pts = heapq.heappop(waiting)
                yield picture

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        """All packets of the picture and the final flush, reading on after errors where that is possible."""
        ends_early = _index_beyond_end(container, stream)
        promised = _promised(container, stream)
        failures = packets = 0
        last = None
        while failures < _READ_ERRORS_IN_A_ROW:
            try:
                for packet in container.demux(stream):
                    failures = 0
                    if packet.size:
                        packets += 1
                        last = max(packet.pts or 0, last or 0)
                    elif ends_early or packets < promised or _ends_before_its_length(stream, last):
                        self.damage.cut_short = True
                    yield packet
                return
            except av.error.FFmpegError as error:
                failures += 1
                self.damage.reasons[_words(error)] += 1
        self.damage.cut_short = True
        flush: Any = Packet()
        flush.stream = stream
        flush.time_base = fraction(stream.time_base) or Fraction(1, 1000)
        yield flush


def _words(error: av.error.FFmpegError) -> str:
    return (error.strerror or str(error)).strip()


def _index_beyond_end(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file's index points past its end: a download or copy that was broken off."""
    entries = stream.index_entries
    return len(entries) > 0 and entries[-1].pos + entries[-1].size > os.path.getsize(container.name)


def _promised(container: InputContainer, stream: VideoStream) -> int:
    """How many pictures an AVI file says it has; of other formats 0. To be asked before any packet is read, as an index
    that is missing is made up then."""
    if container.format.name != "avi":
        return 0
    # The header counts the places of frames that were dropped too, and those of fields twice; the index does not.
    indexed = len(stream.index_entries)
    return indexed if indexed > 1 else stream.frames


def _ends_before_its_length(stream: VideoStream, last: int | None) -> bool:
    """Whether the file says of its pictures that they last longer than until the `last` one, in ticks."""
    stated = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    base = fraction(stream.time_base)
    if stated is None or last is None or base is None:
        return False
    hours, minutes, seconds = stated.groups()
    # The length counts from zero to the last picture's end; half a second is more than any picture lasts there.
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - float(last * base) > 0.5


def _stamp(picture: av.VideoFrame, time_base: Fraction) -> int | None:
    """When the picture is due, in ticks of `time_base`."""
    stamp = picture.pts if picture.pts is not None else picture.dts
    base = fraction(picture.time_base)
    if stamp is None or base is None or base == time_base:
        return stamp
    return round(stamp * base / time_base)


class _Conform:
    """Frames of the first frame's size and pixel format."""

    def __init__(self, facts: VideoFacts, damage: Damage) -> None:
        self._wanted = (facts.info.coded_width, facts.info.coded_height, facts.info.pixel_format)
        self._damage = damage
        self._reformatter: VideoReformatter | None = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        width, height, pixel_format = self._wanted
        # Decoders on a GPU have a layout of their own for the first frame's samples.
        if (picture.width, picture.height) == (width, height) and (
            picture.format.name == pixel_format or on_gpu(picture)
        ):
            return picture
        self._damage.rescaled_frames += 1
        if self._reformatter is None:
            self._reformatter = VideoReformatter()
        return self._reformatter.reformat(picture, width, height, pixel_format, threads=1)


def _deinterlaced(pictures: Iterator[av.VideoFrame], facts: VideoFacts) -> Iterator[av.VideoFrame]:
    """One whole picture for each interlaced one, at the same time (FFmpeg's bwdif)."""
    graph = Graph()
    graph.threads = 1
    info = facts.info
    base = info.time_base
    aspect = facts.sample_aspect or Fraction(1)
    source = graph.add(
        "buffer",
        video_size=f"{info.coded_width}x{info.coded_height}",
        pix_fmt=info.pixel_format,
        time_base=f"{base.numerator}/{base.denominator}",
        pixel_aspect=f"{aspect.numerator}/{aspect.denominator}",
        colorspace=str(facts.colour.matrix),
        range=str(facts.colour.range),
    )
    filter_ = graph.add("bwdif", "mode=send_frame:parity=auto:deint=all")
    sink = graph.add("buffersink")
    graph.link_nodes(source, filter_, sink).configure()
    conform = _Conform(facts, Damage())

    def pulled() -> Iterator[av.VideoFrame]:
        while True:
            try:
                picture = sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(picture, av.VideoFrame)
            yield picture

    for picture in pictures:
        source.push(conform(picture))
        yield from pulled()
    source.push(None)
    yield from pulled()


def _notes(facts: VideoFacts, deinterlace: bool) -> list[str]:
    notes = []
    name = os.path.basename(facts.info.path)
    if facts.info.interlaced:
        notes.append(
            f"the picture of {name} is interlaced; it is deinterlaced (bwdif)"
            if deinterlace
            else f"the picture of {name} is interlaced ({facts.field_order})"
        )
    if facts.mirrored:
        notes.append(f"the picture of {name} is displayed mirrored; names are drawn for the unmirrored picture")
    moving = [t for t in facts.tracks if t.kind == "video" and not t.cover]
    if len(moving) > 1:
        others = ", ".join(str(t) for t in moving if t.index != facts.stream_index)
        notes.append(f"{len(moving)} video tracks are in {name}; #{facts.stream_index} is labelled, {others} copied")
    return notes
