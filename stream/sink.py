"""The labelled copy's container: what of the source it can hold, decided before any work.

plan = plan_streams("mv.mkv", "out.mkv", encoder_plan)     # raises if a track would be lost
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream

from engine.errors import OutputError, UsageError
from stream.encoding import EncoderPlan
from stream.probe import Track, fraction, opened, track_of, video_stream
from stream.tags import file_tags, has_alpha, lost_track_keys, track_tags

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""File endings that can be written, and FFmpeg's name of the container."""

_LAYOUTS = {1: "mono", 2: "stereo"}
"""What one or two channels are where nothing is said."""

SHOWN = {"mp4": "MP4", "mov": "MOV", "matroska": "MKV"}
_COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png"), "gif": ("gif", "image/gif")}
"""Cover pictures that MKV's readers recognise: file ending and MIME type by codec."""

_ENDING = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv"}


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """Which tracks of the source go into the output, and how."""

    format: str
    """FFmpeg's muxer name."""
    picture: int
    """Index of the source's stream that the labelled video takes the place of."""
    copied: tuple[int, ...]
    """Indices of the source's streams that are copied packet by packet."""
    notes: tuple[str, ...] = ()


def container_of(output: str | os.PathLike[str]) -> str:
    """FFmpeg's muxer name for the file's ending.

    Raises:
        UsageError: an ending that cannot be written.
    """
    suffix = Path(output).suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(
            f"{os.fspath(output)}: cannot write {suffix or 'a file without an ending'}; use {', '.join(CONTAINERS)}"
        )
    return CONTAINERS[suffix]


def plan_streams(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    encoder: EncoderPlan | None,
    omit: Collection[int] = (),
) -> StreamPlan:
    """Decide what happens to every track, by asking the container itself to take it.

    Args:
        encoder: what encodes the labelled video; None where the source's picture is copied as well.
        omit: indices of tracks that the user agrees to leave out.

    Raises:
        UsageError: the output's ending cannot be written, or there is no track of a number that is to be left out.
        OutputError: a track cannot be held by the output's container; the message names it and the container that
            can hold everything, if there is one.
    """
    format_name = container_of(output)
    with opened(source) as container:
        picture = video_stream(container).index
        others = [s for s in container.streams if s.index != picture]
        if absent := sorted(set(omit) - {s.index for s in others}):
            there = ", ".join(str(track_of(s)) for s in others) or "none but the picture"
            raise UsageError(f"{os.fspath(source)} has no track {absent[0]} that could be left out; there is {there}")
        wanted, notes = [], []
        for stream in others:
            if stream.index in omit:
                notes.append(f"{track_of(stream)} is left out, as asked")
            elif (said := _told_otherwise(container, stream, container.streams[picture])) is None:
                wanted.append(stream)
            elif said:
                notes.append(said)
        if encoder is not None and has_alpha(container.streams[picture].metadata):
            notes.append("the picture's transparency is lost")
        refused = [s for s in wanted if not _holds(format_name, s)]
        if encoder is not None:
            _check_encoder(encoder, format_name, output)
        elif not _takes(format_name, container.streams[picture]):
            raise OutputError(
                f"{os.fspath(output)}: {SHOWN[format_name]} cannot hold {track_of(container.streams[picture])}, the "
                "picture itself; leave --soft out"
            )
        if refused:
            raise OutputError(_refusal(output, format_name, refused, wanted, bound=encoder is None))
        notes += _lost_words(container, wanted, format_name)
        # A stream must not be touched once its container is closed.
        copied = tuple(s.index for s in wanted)
    return StreamPlan(format_name, picture, copied, tuple(notes))


def _told_otherwise(container: InputContainer, stream: Stream, picture: Stream) -> str | None:
    """Data tracks whose content is handed over in another way: what to say about it, None for all others.

    MP4 and MOV keep chapter titles and the start timecode as tracks; muxers make those anew from the chapters and
    from the picture's `timecode` tag.
    """
    if stream.type != "data" or "mp4" not in container.format.name:
        return None
    if stream.name == "bin_data" and container.chapters():
        return ""
    timecode = stream.metadata.get("timecode")
    if timecode is not None and timecode == picture.metadata.get("timecode"):
        return f"timecode track #{stream.index} is written anew from its start, {timecode}"
    return None


def is_cover(stream: Stream) -> bool:
    """Whether the stream is a still picture that belongs to the file, not a video."""
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def copy_stream(target: OutputContainer, stream: Stream) -> Stream:
    """A stream of the target with the source stream's parameters, metadata and disposition."""
    if isinstance(stream, AttachmentStream):
        copy: Stream = target.add_attachment(stream.name or "", stream.mimetype or "", stream.data)
    else:
        # opaque: the codec is only named, so one that cannot be encoded here will do.
        copy = target.add_stream_from_template(stream, opaque=True)
        if isinstance(stream, AudioStream) and isinstance(copy, AudioStream):
            _name_channels(stream, copy)
    copy.metadata.update(track_tags(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _name_channels(stream: AudioStream, copy: AudioStream) -> None:
    """MKV does not store where the channels of some sound belong, and MP4 wants to know it."""
    layout = stream.codec_context.layout
    if layout.name.endswith("channels") and layout.nb_channels in _LAYOUTS:
        copy.codec_context.layout = _LAYOUTS[layout.nb_channels]


def attach_cover(target: OutputContainer, stream: Stream, picture: bytes) -> None:
    """Put a cover picture into MKV, which keeps it as an attachment."""
    suffix, mimetype = _COVERS[stream.codec_context.codec.canonical_name]
    name = stream.metadata.get("filename") or f"cover.{suffix}"
    target.add_attachment(name, stream.metadata.get("mimetype") or mimetype, picture)


def _holds(format_name: str, stream: Stream) -> bool:
    if is_cover(stream) and format_name != "mp4":
        # MOV's writer drops cover pictures without a word; MKV takes some as attachments.
        codec = stream.codec_context
        return format_name == "matroska" and codec is not None and codec.codec.canonical_name in _COVERS
    if stream.type in ("audio", "video", "data"):
        return _survives(format_name, stream)
    return _takes(format_name, stream)


def _takes(format_name: str, stream: Stream) -> bool:
    """Whether the container's head can name it."""
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as target:
            copy_stream(target, stream)
            target.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _survives(format_name: str, stream: Stream) -> bool:
    """Try it with the first packets: some refusals come at the end of a file only, and some tracks of data are taken
    and then written so that nobody can read them.
    """
    file = io.BytesIO()
    sent: list[bytes] = []
    with opened(stream.container.name) as container:
        source = container.streams[stream.index]
        try:
            with av.open(file, "w", format=format_name) as target:
                copy = copy_stream(target, source)
                for packet in container.demux(source):
                    if packet.size:
                        sent.append(bytes(packet))
                        packet.stream = copy
                        # A second each, since MKV's first ones may have no decoding times of their own.
                        packet.pts = packet.dts = round(len(sent) / (fraction(packet.time_base) or 1))
                        target.mux_one(packet)
                    if len(sent) == 3:
                        break
                target.start_encoding()
            if stream.type != "data" or not sent:
                return True
            file.seek(0)
            with av.open(file, "r", format=format_name) as again:
                return [bytes(p) for p in again.demux() if p.size] == sent and again.streams[0].name == stream.name
        except av.error.InvalidDataError:
            return stream.type != "data"  # a damaged packet, not a track that does not fit
        except (av.error.FFmpegError, ValueError, IndexError):
            return False


def _check_encoder(encoder: EncoderPlan, format_name: str, output: str | os.PathLike[str]) -> None:
    encoder.open()  # settings that the encoder itself refuses are no fault of the container
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as target:
            encoder.add_stream(target)
            target.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(
            f"{os.fspath(output)}: {SHOWN[format_name]} cannot hold {encoder.encoder}'s video; "
            "use .mkv or .mp4, or another --encoder"
        ) from error


def _lost_words(container: InputContainer, wanted: list[Stream], format_name: str) -> list[str]:
    shown = SHOWN[format_name]
    tags = file_tags(container.metadata, format_name, any(map(is_cover, wanted)))
    notes = []
    if tags.lost:
        notes.append(f"{shown} cannot keep a cover picture and the tags {', '.join(tags.lost)} together; MKV can")
    notes += [
        f"{shown} cannot keep the tags {', '.join(lost)} of {track_of(stream)}; MKV can"
        for stream in wanted
        if (lost := lost_track_keys(stream.metadata, format_name))
    ]
    return notes


def _refusal(
    output: str | os.PathLike[str],
    format_name: str,
    refused: list[Stream],
    wanted: list[Stream],
    *,
    bound: bool,
) -> str:
    """What to say; `bound` where no other container will do."""
    tracks: list[Track] = [track_of(s) for s in refused]
    message = f"{os.fspath(output)}: {SHOWN[format_name]} cannot hold {', '.join(map(str, tracks))}"
    for other, ending in _ENDING.items():
        if not bound and other != format_name and all(_holds(other, s) for s in wanted):
            return f"{message}; {SHOWN[other]} can: write to {Path(output).with_suffix(ending).name}"
    numbers = " ".join(f"--omit {t.index}" for t in tracks)
    others = "" if bound else ", and no other container holds all tracks"
    return f"{message}{others}; leave out what can be spared with {numbers}"
