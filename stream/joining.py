"""From segments to the finished file: their video, and everything else of the source copied packet by packet.

    join(writer.finish(), "mv.mp4", "mv.labelled.mp4", plan=writer.plan)
"""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from stream.encoding import EncoderPlan
from stream.probe import fraction, opened
from stream.segments import Segment, check_headers
from stream.sink import StreamPlan, atomic_output, copy_stream, plan_streams

# What a container says of itself and of the old video: wrong or meaningless in the new file.
_CONTAINER_KEYS = {"major_brand", "minor_version", "compatible_brands", "encoder"}
_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_")


@dataclass(slots=True)
class JoinReport:
    """What went into the joined file."""

    output: Path
    frames: int
    packets: dict[int, int] = field(default_factory=dict)
    """Copied packets by the source's stream index."""
    notes: list[str] = field(default_factory=list)


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
) -> JoinReport:
    """Write the segments' video and the source's other tracks to `output`, atomically.

    Args:
        segments: all of them, in order, without a gap.
        source: the file they were made from.
        plan: the plan they were encoded with.
        streams: what `plan_streams` decided; decided here if not given.
        partial: the segments end early; the other tracks are cut off where they end.

    Raises:
        OutputError: the output exists, cannot be written, or cannot hold a track.
        InputError: the source or a segment cannot be read any more.
    """
    if not segments:
        raise ValueError("there is nothing to join: no segment was finished")
    check_headers(list(segments))
    streams = streams or plan_streams(source, output, plan, omit)
    times = decoding_times(segments)
    report = JoinReport(Path(output), len(times.pts), notes=list(streams.notes))
    with atomic_output(output, overwrite) as temporary, opened(source) as container:
        options = _options(streams.format, container, streams, plan, times)
        with av.open(
            os.fspath(temporary), "w", format=streams.format, options=options
        ) as target:
            _mux(container, target, segments, plan, streams, times, report, partial)
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


def decoding_times(segments: Sequence[Segment]) -> Times:
    """Decoding times that rise strictly across all joints and never pass the display time.

    With the display times sorted, the i-th packet is decoded at the time of the (i-D)-th picture, where D is the
    least delay for which no picture is decoded after it is due; the first D times are extrapolated backwards. A
    picture lasts until the next one; the last one as long as the source says, or as the one before.
    """
    pts = [coded.pts for segment in segments for coded in segment.packets]
    ordered = sorted(pts)
    rank = {value: i for i, value in enumerate(ordered)}
    if len(rank) != len(pts):
        raise RuntimeError("two pictures have the same time")
    delay = max(i - rank[value] for i, value in enumerate(pts))
    last_said = max((c for s in segments for c in s.packets), key=lambda c: c.pts).duration
    steps = [b - a for a, b in zip(ordered, ordered[1:], strict=False)]
    steps.append(last_said or (steps[-1] if steps else 1))
    lead = min(steps)
    dts = [ordered[0] - (delay - i) * lead for i in range(delay)] + ordered[: len(ordered) - delay]
    return Times(tuple(pts), tuple(dts), tuple(steps[rank[value]] for value in pts))


def _mux(
    container: InputContainer,
    target: OutputContainer,
    segments: Sequence[Segment],
    plan: EncoderPlan,
    streams: StreamPlan,
    times: Times,
    report: JoinReport,
    partial: bool,
) -> None:
    # The video takes the place in the order of streams that it had in the source.
    copies: dict[int, Stream] = {}
    video: VideoStream | None = None
    for stream in container.streams:
        if stream.index == streams.picture:
            video = plan.add_stream(target)
            _describe_video(stream, video, streams.format, plan)
        elif stream.index in streams.copied:
            copies[stream.index] = copy_stream(target, stream)
    assert video is not None
    target.metadata.update({k: v for k, v in container.metadata.items() if k not in _CONTAINER_KEYS})
    if chapters := container.chapters():
        target.set_chapters(chapters)
    target.start_encoding()
    if (video.codec_context.extradata or b"") != segments[0].extradata:
        raise RuntimeError("the joined file's headers are not those of its segments")

    pictures = _video_packets(segments, times, plan.time_base, video)
    upcoming = next(pictures, None)
    end = times.end * plan.time_base if partial else None
    for packet, when in _other_packets(container, copies):
        if end is not None and when >= end:
            continue
        while upcoming is not None and upcoming[1] <= when:
            target.mux_one(upcoming[0])
            upcoming = next(pictures, None)
        index = packet.stream.index
        packet.stream = copies[index]
        target.mux_one(packet)
        report.packets[index] = report.packets.get(index, 0) + 1
    while upcoming is not None:
        target.mux_one(upcoming[0])
        upcoming = next(pictures, None)


def _describe_video(source: Stream, video: VideoStream, format_name: str, plan: EncoderPlan) -> None:
    video.metadata.update(
        {k: v for k, v in source.metadata.items() if not k.startswith(_STATISTICS) and k not in ("encoder", "vendor_id")}
    )
    video.disposition = source.disposition
    if plan.codec in ("libx265", "hevc_nvenc") and format_name in ("mp4", "mov"):
        video.codec_context.codec_tag = "hvc1"  # what Apple's players ask for; the headers are in the container


def _video_packets(
    segments: Sequence[Segment], times: Times, time_base: Fraction, video: VideoStream
) -> Iterator[tuple[Packet[Any], Fraction]]:
    i = 0
    for segment in segments:
        for coded, data in segment.read():
            packet: Packet[Any] = Packet(data)
            packet.time_base = time_base
            packet.pts, packet.dts, packet.duration = coded.pts, times.dts[i], times.duration[i]
            packet.is_keyframe = coded.key
            packet.stream = video
            yield packet, times.dts[i] * time_base
            i += 1


def _other_packets(
    container: InputContainer, copies: dict[int, Stream]
) -> Iterator[tuple[Packet[Any], Fraction]]:
    """The packets to copy with the second they are due, in file order."""
    wanted = [s for s in container.streams if s.index in copies and s.type != "attachment"]
    if not wanted:
        return
    for packet in container.demux(wanted):
        if packet.size == 0:
            continue
        stamp = packet.dts if packet.dts is not None else packet.pts
        base = fraction(packet.time_base)
        yield packet, stamp * base if stamp is not None and base is not None else Fraction(0)


def _options(
    format_name: str, container: InputContainer, streams: StreamPlan, plan: EncoderPlan, times: Times
) -> dict[str, str]:
    return {}
