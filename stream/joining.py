"""From segments to the finished file: their video, and everything else of the source copied packet by packet.

join(writer.finish(), "mv.mp4", "mv.labelled.mp4", plan=writer.plan)
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from engine.errors import OutputError
from engine.output_file import atomic_output
from stream.clock import Clock
from stream.encoders import KINDS
from stream.encoding import EncoderPlan
from stream.probe import fraction, opened, track_of
from stream.segments import Coded, Segment, check_headers
from stream.sink import SHOWN, StreamPlan, attach_cover, copy_stream, is_cover, plan_streams
from stream.splices import find_splices
from stream.tags import file_tags, track_tags

if TYPE_CHECKING:
    from av.container.core import Chapter

_READ_ERRORS_IN_A_ROW = 16
_LARGEST_TIMESCALE = 2**31 - 1

_NO_SHIFT = Fraction(0)

_LONGEST_LEAD = 10
"""How many of the shortest steps, for each picture of delay, decoding may begin ahead of the first picture."""

_RUN_UP = Fraction(1, 20)
"""Seconds of sound ahead of the first that is heard: encoders put some there, and decoders need some to begin."""
_LONGEST_RUN_UP = Fraction(3, 20)
"""That of HE-AAC."""
_FIRST_SOUND = 1000
"""Packets among which the first of every track of sound is looked for."""


@dataclass(slots=True)
class JoinReport:
    """What went into the joined file."""

    output: Path
    frames: int
    packets: dict[int, int] = field(default_factory=dict)
    """Copied packets by the source's stream index."""
    refused: dict[int, int] = field(default_factory=dict)
    """Damaged packets that the container would not take, likewise."""
    notes: list[str] = field(default_factory=list)
    """What the user should be told."""


def join(
    segments: Sequence[Segment],
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    plan: EncoderPlan,
    streams: StreamPlan | None = None,
    omit: Collection[int] = (),
    overwrite: bool = False,
    partial: bool = False,
    folder: Path | None = None,
) -> JoinReport:
    """Write the segments' video and the source's other tracks to `output`, atomically.

    Args:
        segments: all of them, in order, without a gap.
        source: the file they were made from.
        plan: the plan they were encoded with.
        streams: what `plan_streams` decided; decided here if not given.
        partial: the segments end early; the other tracks are cut off where they end.
        folder: where the file lies until it is whole; None beside `output`.

    Raises:
        OutputError: the output exists, cannot be written, or cannot hold a track.
        InputError: the source or a segment cannot be read any more.
    """
    if not segments:
        raise ValueError("there is nothing to join: no segment was finished")
    check_headers(list(segments))
    streams = streams or plan_streams(source, output, plan, omit)
    report = JoinReport(Path(output), sum(s.frames for s in segments), notes=list(streams.notes))
    with atomic_output(output, overwrite, folder) as temporary, opened(source) as container:
        packets = (coded for segment in segments for coded in segment.packets)
        times = decoding_times(packets, None if partial else _stated_end(container.streams[streams.picture]))
        shift = _shift(container, streams, min(times.pts), plan.time_base)
        if shift:
            times = times.later(int(shift / plan.time_base))
            report.notes.append(_shift_words(shift, container, streams.format))
        moved = muxers_shift(container, streams, min(times.pts) * plan.time_base)
        report.notes += shift_notes(moved, container)
        covered = any(is_cover(container.streams[i]) for i in streams.copied)
        tags = file_tags(container.metadata, streams.format, covered)
        options = tags.options | _exact_starts(container, streams, times.pts, plan.time_base, shift)
        try:
            with av.open(os.fspath(temporary), "w", format=streams.format, options=options) as target:
                target.metadata.update(tags.tags)
                _mux(container, target, segments, plan, streams, times, shift, moved, report, partial)
        except (av.error.ArgumentError, av.error.InvalidDataError) as error:
            raise OutputError(
                f"{os.fspath(output)}: {streams.format} does not take these tracks ({error.strerror}); "
                "try another container (.mkv, .mp4, .mov)"
            ) from error
    return report


@dataclass(frozen=True, slots=True)
class Times:
    """Every picture's times in decoding order, in ticks of the plan's time base."""

    pts: tuple[int, ...]
    dts: tuple[int, ...]
    duration: tuple[int, ...]

    @property
    def end(self) -> int:
        """When the last picture ends."""
        return max(p + d for p, d in zip(self.pts, self.duration, strict=True))

    def later(self, ticks: int) -> Times:
        """The same, moved by so many ticks."""
        return replace(self, pts=tuple(p + ticks for p in self.pts), dts=tuple(d + ticks for d in self.dts))


def decoding_times(packets: Iterable[Coded], stated_end: int | None = None) -> Times:
    """Decoding times that rise strictly across all joints and never pass the display time.

    With the display times sorted, the i-th packet is decoded at the time of the (i-D)-th picture, where D is the
    least delay for which no picture is decoded after it is due. A picture lasts until the next one; the last one until
    `stated_end`, where the source's stream says that it ends, if that is no longer than some other picture lasts; else
    as long as its own frame said, or as the one before.

    The first D decoding times lie before the first picture. MP4 stores distances between decoding times, so its sum of
    them is right if these lie as far ahead as the last packet's picture and the end lie apart from their decoding.
    """
    pts, last = [], None
    for coded in packets:
        pts.append(coded.pts)
        if last is None or coded.pts > last.pts:
            last = coded
    assert last is not None
    ordered = sorted(pts)
    rank = {value: i for i, value in enumerate(ordered)}
    if len(rank) != len(pts):
        raise RuntimeError("two pictures have the same time")
    delay = max(i - rank[value] for i, value in enumerate(pts))
    steps = [b - a for a, b in pairwise(ordered)]
    to_end = 0 if stated_end is None else stated_end - ordered[-1]
    steps.append(to_end if 0 < to_end <= max([last.duration, *steps]) else last.duration or (steps[-1] if steps else 1))
    durations = [steps[rank[value]] for value in pts]
    head: list[int] = []
    if delay:
        span = ordered[-1] + steps[-1] - durations[-1] - ordered[-1 - delay]
        if span > _LONGEST_LEAD * delay * min(steps):  # a long last gap; an early start would only delay playing
            span = delay * min(steps)
        head = [ordered[0] - span + i * span // delay for i in range(delay)]
    return Times(tuple(pts), (*head, *ordered[: len(ordered) - delay]), tuple(durations))


def _mux(
    container: InputContainer,
    target: OutputContainer,
    segments: Sequence[Segment],
    plan: EncoderPlan,
    streams: StreamPlan,
    times: Times,
    shift: Fraction,
    moved: Fraction,
    report: JoinReport,
    partial: bool,
) -> None:
    # The video takes the place in the order of streams that it had in the source.
    copies: dict[int, Stream] = {}
    video: VideoStream | None = None
    for stream in container.streams:
        if stream.index == streams.picture:
            video = plan.add_stream(target)
            video.metadata.update(track_tags(stream.metadata, video=True))
            video.disposition = stream.disposition
            if KINDS[plan.encoder].family == "hevc" and streams.format in ("mp4", "mov"):
                video.codec_context.codec_tag = "hvc1"  # what Apple's players ask for
        elif stream.index in streams.copied:
            if is_cover(stream) and streams.format == "matroska":
                attach_cover(target, stream, cover_picture(container.name, stream.index))
                report.packets[stream.index] = 1
            else:
                copies[stream.index] = copy_stream(target, stream)
    assert video is not None
    end = times.end * plan.time_base if partial else None
    if chapters := chapters_of(container, None if end is None else end + moved, shift + moved):
        target.set_chapters(chapters)
    target.start_encoding()
    if (video.codec_context.extradata or b"") != segments[0].extradata:
        raise RuntimeError("the joined file's headers are not those of its segments")

    pictures = _video_packets(segments, times, plan.time_base, video)
    upcoming = next(pictures, None)
    clocks = {index: track_clock(container.streams[index], copy, streams.format) for index, copy in copies.items()}
    shown = sorted(pts - int(shift / plan.time_base) for pts in times.pts)
    splices = find_splices(container.name, container.format.name, streams.picture, copies, shown)
    packets = heard(packets_of(container, copies), streams.format)
    if splices is not None:
        packets = splices.rejoined(packets)
    for packet, following in with_following(decodable(packets)):
        index = packet.stream.index
        when = settle(packet, following, clocks[index], shift)
        if end is not None and when >= end:
            continue
        while upcoming is not None and upcoming[1] <= when:
            target.mux_one(upcoming[0])
            upcoming = next(pictures, None)
        if streams.format != "matroska" and _is_pause(packet):
            continue
        packet.stream = copies[index]
        try:
            target.mux_one(packet)
        except av.error.InvalidDataError:  # the muxer looks into some packets and finds no sense in this one
            report.refused[index] = report.refused.get(index, 0) + 1
        else:
            report.packets[index] = report.packets.get(index, 0) + 1
    while upcoming is not None:
        target.mux_one(upcoming[0])
        upcoming = next(pictures, None)
    for index, damaged in report.refused.items():
        report.notes.append(f"{damaged} damaged packets of {track_of(container.streams[index])} are left out")
    if splices is not None:
        report.notes += splices.notes(container)
    for index, clock in clocks.items():
        if clock.moved:
            report.notes.append(
                f"{clock.moved} packets of {track_of(container.streams[index])} were out of order in time; "
                "each follows the one before"
            )


def chapters_of(container: InputContainer, end: Fraction | None, shift: Fraction = _NO_SHIFT) -> list[Chapter]:
    """The file's chapters, `shift` seconds later; those of a partial file as far as it goes."""
    kept = []
    for chapter in container.chapters():
        base = fraction(chapter["time_base"]) or Fraction(1)
        chapter["start"] += round(shift / base)
        chapter["end"] += round(shift / base)
        if end is not None and chapter["end"] * base > end:
            chapter["end"] = int(end / base)
        if end is None or chapter["start"] < chapter["end"]:
            kept.append(chapter)
    return kept


def track_clock(stream: Stream, copy: Stream, format_name: str) -> Clock:
    """Decoding times of a copied track; MKV takes equal ones, MP4 and MOV those that differ by a tick of the copy's."""
    base = fraction(stream.time_base) or Fraction(1, 1000)
    least = 0 if format_name == "matroska" else math.ceil((fraction(copy.time_base) or base) / base)
    return Clock(base, step=round(Fraction(1, 50) / base), least=least)


def settle(packet: Packet[Any], following: Packet[Any] | None, clock: Clock, shift: Fraction = _NO_SHIFT) -> Fraction:
    """Correct the packet's times where no container would take them, and move them by `shift` seconds; the second it is
    due."""
    dts = _dts(packet)
    now = clock.settle(dts, None if following is None else _dts(following))
    if now != dts or packet.dts is None:
        packet.pts = now if packet.pts is None or dts is None else max(now, packet.pts + now - dts)
    base = fraction(packet.time_base) or Fraction(1, 1000)
    ticks = round(shift / base)
    packet.dts = now + ticks
    packet.pts = None if packet.pts is None else packet.pts + ticks
    return (now + ticks) * base


def _dts(packet: Packet[Any]) -> int | None:
    return packet.dts if packet.dts is not None else packet.pts


def heard(packets: Iterator[Packet[Any]], format_name: str) -> Iterator[Packet[Any]]:
    """The same without the sound that an edit list cuts away at the beginning, where the container has no such list and
    it would be heard."""
    for packet in packets:
        if format_name != "matroska" or not _cut_away(packet):
            yield packet


def _cut_away(packet: Packet[Any]) -> bool:
    stream = packet.stream
    if stream.type != "audio" or not packet.is_discard or packet.pts is None or stream.start_time is None:
        return False
    early = stream.start_time - packet.pts - (packet.duration or 0)
    return bool(early * (fraction(packet.time_base) or Fraction(1, 1000)) > _RUN_UP)


def _is_pause(packet: Packet[Any]) -> bool:
    """MP4 fills pauses between subtitles with empty ones, which its muxer makes anew."""
    return packet.stream.type == "subtitle" and packet.stream.name == "mov_text" and bytes(packet) == bytes(2)


def decodable(packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """The same with decoding times for a track's first pictures, counted back from the first that is known: MKV stores
    none, and what FFmpeg works them out from begins with the display times of later pictures."""
    waiting: dict[int, list[Packet[Any]]] = {}
    known: set[int] = set()
    for packet in packets:
        index = packet.stream.index
        if packet.stream.type != "video" or index in known:
            yield packet
            continue
        waiting.setdefault(index, []).append(packet)
        if packet.dts is not None or packet.pts is None:
            known.add(index)
            yield from _counted_back(waiting.pop(index))
    for held in waiting.values():
        yield from _counted_back(held)


def _counted_back(packets: list[Packet[Any]]) -> list[Packet[Any]]:
    due = packets[-1].dts
    if due is None:
        due = min((p.pts for p in packets if p.pts is not None), default=0)
    for packet in reversed(packets):
        packet.dts = due
        due -= packet.duration or 1
    return packets


def with_following(packets: Iterator[Packet[Any]]) -> Iterator[tuple[Packet[Any], Packet[Any] | None]]:
    """Each packet with the next one of its track. Only sound is held back for that: it never pauses for long."""
    held: dict[int, Packet[Any]] = {}
    for packet in packets:
        if packet.stream.type != "audio":
            yield packet, None
            continue
        index = packet.stream.index
        if index in held:
            yield held[index], packet
        held[index] = packet
    for packet in held.values():
        yield packet, None


def cover_picture(path: str, index: int) -> bytes:
    """The bytes of a cover picture."""
    with opened(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    return b""


def _video_packets(
    segments: Sequence[Segment], times: Times, time_base: Fraction, video: VideoStream
) -> Iterator[tuple[Packet[Any], Fraction]]:
    i = 0
    for segment in segments:
        for coded, data in segment.read():
            packet: Packet[Any] = Packet(data)
            packet.time_base = time_base
            packet.pts, packet.dts, packet.duration = times.pts[i], times.dts[i], times.duration[i]
            packet.is_keyframe = coded.key
            packet.stream = video
            yield packet, times.dts[i] * time_base
            i += 1


def packets_of(container: InputContainer, copies: dict[int, Stream]) -> Iterator[Packet[Any]]:
    """The packets to copy, in file order, reading on after errors where that is possible."""
    wanted = [s for s in container.streams if s.index in copies and s.type != "attachment"]
    failures = 0
    while wanted and failures < _READ_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(wanted):
                failures = 0
                if packet.size:
                    yield packet
            return
        except av.error.FFmpegError:
            failures += 1


def _stated_end(stream: Stream) -> int | None:
    if stream.duration is None:
        return None
    return (stream.start_time or 0) + stream.duration


def _shift(container: InputContainer, streams: StreamPlan, first: int, time_base: Fraction) -> Fraction:
    """Seconds by which all has to be later for MP4 and MOV, which show nothing that is before zero.

    Sound may begin a little before: that is a decoder's run-up, not meant to be heard.

    Args:
        first: when the first picture is shown, in ticks of `time_base`; the answer is a whole number of them.
    """
    if streams.format not in ("mp4", "mov"):
        return _NO_SHIFT
    starts = {"video": [first * time_base], "audio": [_NO_SHIFT]}
    for stream in map(container.streams.__getitem__, streams.copied):
        if stream.type in starts and stream.start_time is not None and not is_cover(stream):
            starts[stream.type].append(stream.start_time * (fraction(stream.time_base) or _NO_SHIFT))
    shown, heard_from = min(starts["video"]), min(starts["audio"])
    if shown >= 0 and heard_from >= -_LONGEST_RUN_UP:
        return _NO_SHIFT
    return math.ceil(-min(shown, heard_from) / time_base) * time_base


def muxers_shift(container: InputContainer, streams: StreamPlan, first: Fraction) -> Fraction:
    """Seconds by which MKV's muxer moves all packets, and no chapter, so that none begins before zero.

    Args:
        first: when the first picture is shown.
    """
    if streams.format != "matroska":
        return _NO_SHIFT
    starts = [_whole_milliseconds(first)]
    with opened(container.name) as again:
        copied = [s for s in map(again.streams.__getitem__, streams.copied) if s.type in ("audio", "video")]
        wanted = {s.index: s for s in copied if not is_cover(s)}
        begun: set[int] = set()
        for packet in islice(heard(packets_of(again, wanted), streams.format), _FIRST_SOUND):
            index, base = packet.stream.index, fraction(packet.time_base)
            if index in begun or packet.pts is None or base is None:
                continue
            begun.add(index)
            starts.append(_whole_milliseconds(packet.pts * base) + _whole_milliseconds(_delay(packet.stream)))
            if len(begun) == len(wanted):
                break
    return Fraction(max(0, -min(starts)), 1000)


def shift_notes(moved: Fraction, container: InputContainer) -> list[str]:
    """What to say about packets that MKV's muxer moves: nothing if it is for an ordinary run-up."""
    return [_shift_words(moved, container, "matroska")] if moved > _RUN_UP else []


def _shift_words(shift: Fraction, container: InputContainer, format_name: str) -> str:
    return (
        f"everything is {float(shift):.3f} s later in the copy than in the source and its record, as "
        f"{Path(container.name).name} begins before zero, where {SHOWN[format_name]} shows nothing"
    )


def _delay(stream: Stream) -> Fraction:
    """Seconds that a sound's decoder needs to begin, where the file says so; MKV writes that down."""
    context: Any = stream.codec_context
    rate = context.sample_rate if stream.type == "audio" and context is not None else 0
    return Fraction(context.delay, rate) if rate else _NO_SHIFT


def _whole_milliseconds(seconds: Fraction) -> int:
    """As FFmpeg rounds: halves away from zero."""
    whole = int(abs(seconds) * 1000 + Fraction(1, 2))
    return -whole if seconds < 0 else whole


def _exact_starts(
    container: InputContainer, streams: StreamPlan, pts: Sequence[int], time_base: Fraction, shift: Fraction
) -> dict[str, str]:
    """MP4 writes when a track begins in ticks of the whole movie, by default milliseconds; make them fit exactly."""
    if streams.format not in ("mp4", "mov"):
        return {}
    starts = [min(pts) * time_base]
    for index in streams.copied:
        stream = container.streams[index]
        base = fraction(stream.time_base)
        if stream.start_time is not None and base is not None:
            starts.append(stream.start_time * base + shift)
    scale = math.lcm(1000, *(start.denominator for start in starts))
    if scale > _LARGEST_TIMESCALE:
        scale = max(start.denominator for start in starts)
    return {} if scale in (1000, 1) else {"movie_timescale": str(scale)}
