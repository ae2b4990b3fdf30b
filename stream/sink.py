"""The output file: what its container can hold, decided before any work, and writing it whole or not at all.

plan = plan_streams("mv.mkv", "out.mkv", encoder_plan)     # raises if a track would be lost
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream

from engine.errors import OutputError, UsageError
from engine.names import LONGEST_FILE_NAME
from stream.encoding import EncoderPlan
from stream.journal import writing
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
            refused.insert(0, container.streams[picture])
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


PART = ".part"
LONGER = len(f"..4194304{PART}")
"""How much longer than an output's name that of what is written first may be; the number is a process's largest."""


@contextlib.contextmanager
def atomic_output(
    output: str | os.PathLike[str], overwrite: bool = False, folder: Path | None = None
) -> Iterator[Path]:
    """A temporary name beside `output`, which becomes `output` when the block ends well and vanishes when it does not.
    A file that is replaced keeps its permissions, from the first byte on, and behind a link it is the file that is
    replaced.

    Args:
        output: the final name.
        overwrite: whether it may be replaced.
        folder: where the temporary lies instead, if `output` is no link, on the same file system: what is left there by
            a run that is killed is removed with the folder.

    Raises:
        OutputError: `output` exists and `overwrite` is false, or it cannot be written.
    """
    target = Path(output)
    check_output(target, overwrite)
    if target.is_symlink():
        target, folder = target.resolve(), None
    # Absolute, since FFmpeg takes what stands before a colon in a relative name for a protocol.
    temporary = (folder or target.parent).absolute() / f".{target.stem}.{os.getpid()}{PART}{target.suffix}"
    try:
        with writing(target):
            if os.path.exists(target):
                temporary.touch()
                temporary.chmod(target.stat().st_mode & 0o777 | 0o200)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            check_output(target, overwrite)
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(
    output: str | os.PathLike[str], overwrite: bool = False, made_from: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises:
        OutputError: it exists and `overwrite` is false, is a folder or has too long a name, or its folder is missing
            or not writable; or it is one of the files that it is `made_from`, which are never replaced.
    """
    target = Path(output)
    check_length(target)
    check_spared(target, made_from)
    if target.is_dir():
        raise OutputError(f"{target} is a folder; give a file name")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; use --overwrite to replace it, or another name")
    folder = target.resolve().parent if target.is_symlink() else target.parent
    if not folder.is_dir():
        raise OutputError(f"{target}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: no permission to write in {folder}; choose another folder")


def check_spared(output: str | os.PathLike[str], made_from: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that is one of the files which are read, whatever may be replaced.

    Raises:
        OutputError: it is.
    """
    if not os.path.exists(output):
        return
    if any(os.path.exists(source) and os.path.samefile(output, source) for source in made_from):
        raise OutputError(
            f"{os.fspath(output)} is what the output is made from, and is not replaced; give another name"
        )


def check_apart(*outputs: str | os.PathLike[str]) -> None:
    """Refuse outputs two of which would be one file.

    Raises:
        UsageError: two have one name, or stand for one file.

    Example:
        >>> check_apart("mv.labelled.mp4", "mv.tracks.jsonl")
    """
    known: dict[str, str] = {}
    for output in (os.fspath(output) for output in outputs):
        place = os.path.normcase(os.path.realpath(output))
        if sys.platform == "darwin":
            place = place.casefold()  # as the file systems there do
        if place in known:
            raise UsageError(f"{known[place]} and {output} would be one file; give each output its own name")
        known[place] = output


def check_length(target: Path) -> None:
    """Refuse a name that leaves no room for those of what is written first.

    Raises:
        OutputError: it is too long.
    """
    most = LONGEST_FILE_NAME - LONGER
    if (size := len(os.fsencode(target.name))) > most:
        raise OutputError(f"{target}: its name has {size} bytes, {size - most} too many; give a shorter one")
