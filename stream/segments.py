"""The unit of output: fixed, closed groups of frames, each encoded by a fresh encoder into a file of its own.

A segment depends on its own frames and the plan alone, so segments can be made again, or elsewhere, and come out the
same. In the work folder a segment is two files: `000012.bin`, the encoded packets one after the other, and
`000012.json`, written last and atomically, which says where each packet begins, its exact time, and the SHA-256 of
the whole. So the folder is its own journal: what has a `.json` is finished.

    writer = SegmentWriter(folder, source, EncoderSettings())
    for frame in source.frames():
        writer.write(frame)
    segments = writer.finish()
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from engine.errors import InputError, OutputError
from stream.encoding import EncoderPlan, EncoderSettings, plan_encoder
from stream.frames import Frame
from stream.pictures import convert
from stream.source import FileSource

JOURNAL_VERSION = 1
JOB_FILE = "job.json"


@dataclass(frozen=True, slots=True)
class Coded:
    """One encoded picture's place and time; ticks of the plan's time base."""

    pts: int
    duration: int
    """0 where neither the source nor the encoder said."""
    size: int
    """Bytes."""
    key: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """One finished piece, in decoding order."""

    index: int
    first_frame: int
    path: Path
    extradata: bytes
    """The encoder's headers, the same in every segment of a job."""
    packets: tuple[Coded, ...]
    sha256: str

    @property
    def frames(self) -> int:
        """How many frames are in it."""
        return len(self.packets)

    def read(self) -> Iterator[tuple[Coded, bytes]]:
        """Its packets in decoding order.

        Raises:
            InputError: the file is missing, shorter than it was, or not what was written.
        """
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                for coded in self.packets:
                    data = file.read(coded.size)
                    digest.update(data)
                    yield coded, data
        except OSError as error:
            raise InputError(f"segment {self.path} cannot be read ({error.strerror}); label again") from error
        if digest.hexdigest() != self.sha256:
            raise InputError(f"segment {self.path} has changed since it was written; label again")


class SegmentWriter:
    """Frames in, segments out. Call it from one thread.

    Args:
        folder: the work folder, made here; what an earlier run left in it is removed.
        source: where the frames come from; gives size, time base, colour and HDR data.
        settings: what the user asked for.
        frames_per_segment: length of every segment but the last.

    Raises:
        UsageError, MissingError: the encoder cannot be had (see `stream.encoding`).
        OutputError: the folder cannot be made, or something else has its name.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        source: FileSource,
        settings: EncoderSettings | None = None,
        frames_per_segment: int = 250,
    ) -> None:
        if frames_per_segment < 1:
            raise ValueError(f"{frames_per_segment = } must be at least 1")
        self.plan: EncoderPlan = plan_encoder(settings or EncoderSettings(), source.facts)
        """Pixel format to draw in, and `notes` to tell the user."""
        self.folder = Path(folder)
        self._length = frames_per_segment
        self._written = 0
        self._open: _OpenSegment | None = None
        self._finished: list[Segment] = []
        self._closing: Future[Segment] | None = None
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="segment-closer")
        with writing(self.folder):
            if self.folder.exists():
                if not (self.folder / JOB_FILE).exists():
                    raise OutputError(f"{self.folder} is in the way and no work folder; remove or rename it")
                shutil.rmtree(self.folder)
            self.folder.mkdir()
            job = {
                "version": JOURNAL_VERSION,
                "frames_per_segment": frames_per_segment,
                "plan": self.plan.to_json(),
                "source": {"path": source.path, "bytes": os.path.getsize(source.path)},
            }
            write_json(self.folder / JOB_FILE, job)

    def write(self, frame: Frame) -> None:
        """Encode one frame at `frame.pts`. Times must rise strictly.

        The picture is encoded as it stands and left alone, except that its `pict_type` is cleared so that the
        encoder decides for itself.

        Raises:
            OutputError: the disk is full or the folder has gone.
        """
        if self._open is None:
            with writing(self.folder):
                self._open = _OpenSegment(self.folder, self._written // self._length, self._written, self.plan)
        with writing(self.folder):
            self._open.write(frame)
        self._written += 1
        if self._written % self._length == 0:
            self._hand_over()

    def finish(self) -> list[Segment]:
        """Close what is open, wait, and give all segments in order."""
        if self._open is not None:
            self._hand_over()
        self._collect()
        self._closer.shutdown()
        check_headers(self._finished)
        return list(self._finished)

    def abort(self) -> list[Segment]:
        """Drop the open segment; give those that are finished. Never raises for a segment that failed."""
        if self._open is not None:
            self._open.discard()
            self._open = None
        with contextlib.suppress(OutputError, av.error.FFmpegError):
            self._collect()
        self._closer.shutdown()
        return list(self._finished)

    def _hand_over(self) -> None:
        """Flush the encoder on the side, so that the next segment can begin at once; at most one at a time."""
        self._collect()
        assert self._open is not None
        self._closing = self._closer.submit(self._open.close)
        self._open = None

    def _collect(self) -> None:
        if self._closing is not None:
            closing, self._closing = self._closing, None
            with writing(self.folder):
                self._finished.append(closing.result())


class _OpenSegment:
    """One encoder and the file its packets go to."""

    def __init__(self, folder: Path, index: int, first_frame: int, plan: EncoderPlan) -> None:
        self._index = index
        self._first_frame = first_frame
        self._plan = plan
        self._path = folder / f"{index:06d}.bin"
        self._encoder = plan.open()
        self._extradata = self._encoder.extradata or b""
        self._file = self._path.open("wb")
        self._durations: dict[int, int] = {}
        self._packets: list[Coded] = []
        self._digest = hashlib.sha256()

    def write(self, frame: Frame) -> None:
        plan = self._plan
        picture = convert(frame.picture, plan.pixel_format, plan.width, plan.height)
        picture.pts = frame.pts
        picture.time_base = plan.time_base
        picture.pict_type = 0
        self._durations[frame.pts] = picture.duration or 0
        self._take(self._encoder.encode(picture))

    def close(self) -> Segment:
        try:
            return self._close()
        finally:
            with contextlib.suppress(OSError):  # what could not be written has been reported already
                self._file.close()

    def _close(self) -> Segment:
        self._take(self._encoder.encode(None))
        written, given = sorted(p.pts for p in self._packets), sorted(self._durations)
        if written != given:
            raise RuntimeError(f"{self._plan.codec} gave {len(written)} packets for {len(given)} frames")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        segment = Segment(
            self._index,
            self._first_frame,
            self._path,
            self._extradata or self._encoder.extradata or b"",
            tuple(self._packets),
            self._digest.hexdigest(),
        )
        write_json(self._path.with_suffix(".json"), _segment_to_json(segment))
        return segment

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _take(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.size == 0:
                continue
            data = bytes(packet)
            duration = packet.duration or self._durations.get(packet.pts, 0)
            self._packets.append(Coded(packet.pts, duration, len(data), packet.is_keyframe))
            self._digest.update(data)
            self._file.write(data)


def finished_segments(folder: str | os.PathLike[str]) -> list[Segment]:
    """The segments that a work folder holds complete, from the first without a gap.

    Raises:
        InputError: a journal entry cannot be read.
    """
    segments: list[Segment] = []
    for path in sorted(Path(folder).glob("[0-9]*.json")):
        try:
            segment = _segment_from_json(path, json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no journal entry ({error}); delete its folder and label again") from error
        if segment.index != len(segments):
            break
        segments.append(segment)
    return segments


def check_headers(segments: list[Segment]) -> None:
    """All segments of a job must share one header, as the joined file has only one.

    Raises:
        RuntimeError: they differ, which is a fault in the program or the encoder.
    """
    for segment in segments:
        if segment.extradata != segments[0].extradata:
            raise RuntimeError(f"segment {segment.path.name} was encoded with other headers than the first")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that it is there whole or not at all."""
    temporary = path.with_suffix(".json.part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextlib.contextmanager
def writing(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the system's refusals to write at `place` into `OutputError`s that say what to do."""
    try:
        yield
    except OSError as error:  # FFmpeg's errors of this kind are OSErrors too
        name = os.fspath(place)
        if error.errno == errno.ENOSPC:
            raise OutputError(f"{name}: the disk is full; free some space or choose another folder") from error
        if error.errno == errno.EDQUOT:
            raise OutputError(f"{name}: the disk quota is used up; free some space") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(f"{name}: no permission to write there; choose another folder") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise OutputError(f"{name}: its folder does not exist; make it first") from error
        if error.errno == errno.EFBIG:
            raise OutputError(f"{name}: larger than the file system or limit allows") from error
        raise OutputError(f"{name} cannot be written ({error.strerror or error})") from error


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    return {
        "index": segment.index,
        "first_frame": segment.first_frame,
        "extradata": segment.extradata.hex(),
        "sha256": segment.sha256,
        "packets": [[p.pts, p.duration, p.size, int(p.key)] for p in segment.packets],
    }


def _segment_from_json(path: Path, value: dict[str, Any]) -> Segment:
    return Segment(
        index=int(value["index"]),
        first_frame=int(value["first_frame"]),
        path=path.with_suffix(".bin"),
        extradata=bytes.fromhex(value["extradata"]),
        packets=tuple(Coded(int(p), int(d), int(s), bool(k)) for p, d, s, k in value["packets"]),
        sha256=str(value["sha256"]),
    )
