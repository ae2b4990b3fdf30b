"""The unit of output: fixed, closed groups of frames, each encoded by a fresh encoder into a file of its own.

A segment depends on its own frames and the plan alone, so segments can be made again, or elsewhere, and come out the
same. In the work folder a segment is two files: `000012.bin`, the encoded packets one after the other, and
`000012.json`, written last and atomically, which says where each packet begins, its exact time, what was drawn on its
frames, and the SHA-256 of the whole. So the folder is its own journal: what has a `.json` is finished.

    writer = SegmentWriter(folder, source, EncoderSettings())
    for frame in source.frames():
        writer.write(frame)
    segments = writer.finish()
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from engine.errors import InputError
from engine.output_file import writing
from stream.encoding import EncoderPlan, EncoderSettings, plan_encoder
from stream.frames import Frame
from stream.journal import AFRESH, WorkFolder, content_of, write_json
from stream.memory import give_memory_back, keep_large_blocks_apart
from stream.pictures import convert
from stream.planes import on_gpu
from stream.source import FileSource

FRAMES_PER_SEGMENT = 250
"""What is lost at most when a run is killed; as long as the encoders let a group of pictures grow by themselves."""


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
    frames: int
    """How many frames are in it."""
    sha256: str
    drawn: str = ""
    """SHA-256 of what was drawn on its frames, as the caller put it."""

    @property
    def packets(self) -> tuple[Coded, ...]:
        """Where each picture is, read from the journal: an hour has a hundred thousand.

        Raises:
            InputError: the journal entry cannot be read.
        """
        return _entry(self.path.with_suffix(".json"))[1]

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
        folder: the work folder, made here.
        source: where the frames come from; gives size, time base, colour and HDR data.
        settings: what the user asked for, or the plan made of it.
        frames_per_segment: length of every segment but the last; None takes `FRAMES_PER_SEGMENT`.
        job: everything that what is drawn depends on (see `WorkFolder`).
        resume: keep the segments that an earlier run of the same job finished, and skip their frames.
        overwrite: otherwise, whether these may be removed.

    Raises:
        UsageError, MissingError: the encoder cannot be had (see `stream.encoding`), or the earlier run was another job.
        OutputError: the folder cannot be made, something else has its name, or another process works in it; or it
            holds what may not be removed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        source: FileSource,
        settings: EncoderSettings | EncoderPlan | None = None,
        frames_per_segment: int | None = None,
        *,
        job: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        length = FRAMES_PER_SEGMENT if frames_per_segment is None else frames_per_segment
        if length < 1:
            raise ValueError(f"frames_per_segment = {length} must be at least 1")
        if not isinstance(settings, EncoderPlan):
            settings = plan_encoder(settings or EncoderSettings(), source.facts)
        self.plan: EncoderPlan = settings
        """Pixel format to draw in, and `notes` to tell the user."""
        description = {
            "source": content_of(source.path),
            "encoder": self.plan.to_json(),
            "FFmpeg": f"PyAV {av.__version__}",
            "frames_per_segment": length,
            **(job or {}),
        }
        keep_large_blocks_apart()
        self.work = WorkFolder(Path(folder), description, resume=resume, overwrite=overwrite)
        self._length = length
        self._written = 0
        self._open: _OpenSegment | None = None
        # Segments that the end of a run cut short are made again.
        earlier = sound_segments(self.work.path) if resume else []
        self._finished = [s for s in earlier if s.frames == length]
        self._earlier = _EarlierFrames(self._finished)

    @property
    def earlier_frames(self) -> int:
        """How many frames an earlier run has finished."""
        return self._earlier.count

    @property
    def whole(self) -> int:
        """How many segments of full length are finished."""
        return sum(s.frames == self._length for s in self._finished)

    def skip(self, frame: Frame, drawn: bytes = b"") -> bool:
        """Whether the frame is finished since an earlier run, so that it need not be drawn and written.

        Args:
            frame: the next one.
            drawn: what would be drawn on it, as given to `write` then.

        Raises:
            InputError: the earlier run had another frame here, or drew something else.
        """
        if self._written >= self._earlier.count:
            return False
        self._earlier.check(self._written, frame.pts, drawn)
        self._written += 1
        return True

    def write(self, frame: Frame, drawn: bytes = b"") -> None:
        """Encode one frame at `frame.pts`. Times must rise strictly.

        The picture is encoded as it stands and left alone, except that its `pict_type` is cleared so that the
        encoder decides for itself. `drawn` stands for what was drawn on it.

        Raises:
            OutputError: the disk is full or the folder has gone.
        """
        with writing(self.work.path):
            if self._open is None:
                self._open = _OpenSegment(self.work.path, self._written // self._length, self._written, self.plan)
            self._open.write(frame, drawn)
        self._written += 1
        if self._written % self._length == 0:
            self._close()

    def finish(self, *, early: bool = False) -> list[Segment]:
        """Close what is open, and give all segments in order.

        Args:
            early: not all frames were given; of an earlier run's segments only those come that were reached.

        Raises:
            InputError: an earlier run had more frames.
        """
        if self._open is not None:
            self._close()
        check_headers(self._finished)
        if self._written < self._earlier.count and not early:
            raise InputError(
                f"the source ends after {self._written} frames, where the interrupted run had "
                f"{self._earlier.count}; {AFRESH}"
            )
        return [s for s in self._finished if s.first_frame + s.frames <= self._written]

    def abort(self) -> list[Segment]:
        """Drop the open segment; give those that are finished, which stay in the folder. Never raises for a segment
        that failed."""
        if self._open is not None:
            self._open.discard()
            self._open = None
        return list(self._finished)

    def _close(self) -> None:
        """Flush the encoder, before there is another one: two at a time would take twice the memory, and no less time,
        as an encoder that is flushed keeps every CPU busy."""
        assert self._open is not None
        closing, self._open = self._open, None
        with writing(self.work.path):
            self._finished.append(closing.close())


class _OpenSegment:
    """One encoder and the file its packets go to."""

    def __init__(self, folder: Path, index: int, first_frame: int, plan: EncoderPlan) -> None:
        self._index = index
        self._first_frame = first_frame
        self._plan = plan
        self._path = folder / f"{index:06d}.bin"
        self._path.with_suffix(".json").unlink(missing_ok=True)  # of a segment that was not sound
        self._encoder = plan.open()
        self._extradata = self._encoder.extradata or b""
        self._file = self._path.open("wb")
        self._durations: dict[int, int] = {}
        self._packets: list[Coded] = []
        self._digest = hashlib.sha256()
        self._drawn = hashlib.sha256()

    def write(self, frame: Frame, drawn: bytes) -> None:
        plan = self._plan
        self._drawn.update(drawn)
        picture = frame.picture
        if not (plan.on_gpu and on_gpu(picture)):
            picture = convert(picture, plan.pixel_format, plan.width, plan.height)
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
            del self._encoder
            give_memory_back()

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
            len(self._packets),
            self._digest.hexdigest(),
            self._drawn.hexdigest(),
        )
        write_json(self._path.with_suffix(".json"), _to_json(segment, self._packets))
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


class _EarlierFrames:
    """The frames of segments that an earlier run finished: times and drawings have to be what they were."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = list(segments)
        self.count = sum(s.frames for s in segments)
        self._times: list[int] = []
        self._digest = hashlib.sha256()

    def check(self, index: int, pts: int, drawn: bytes) -> None:
        length = self._segments[0].frames
        number, place = divmod(index, length)
        segment = self._segments[number]
        if place == 0:
            self._times = sorted(p.pts for p in segment.packets)
            self._digest = hashlib.sha256()
        self._digest.update(drawn)
        if pts != self._times[place]:
            raise InputError(f"frame {index} is at another time than when the interrupted run saw it; {AFRESH}")
        if place == length - 1 and self._digest.hexdigest() != segment.drawn:
            raise InputError(
                f"the faces on frames {index - place} to {index} are not what the interrupted run drew; {AFRESH}"
            )


def sound_segments(folder: str | os.PathLike[str]) -> list[Segment]:
    """The finished segments up to the first that is not as it was written, or whose journal entry cannot be read."""
    sound: list[Segment] = []
    with contextlib.suppress(InputError):
        for segment in _journal(folder):
            for _ in segment.read():
                pass
            sound.append(segment)
    return sound


def _journal(folder: str | os.PathLike[str]) -> Iterator[Segment]:
    for number, path in enumerate(sorted(Path(folder).glob("[0-9]*.json"))):
        segment, _ = _entry(path)
        if segment.index != number:
            return
        yield segment


def _entry(path: Path) -> tuple[Segment, tuple[Coded, ...]]:
    """A segment and where its pictures are, from its journal entry."""
    try:
        return _from_json(path, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no journal entry ({error}); delete its folder and label again") from error


def check_headers(segments: list[Segment]) -> None:
    """All segments of a job must share one header, as the joined file has only one.

    Raises:
        RuntimeError: they differ, which is a fault in the program or the encoder.
    """
    for segment in segments:
        if segment.extradata != segments[0].extradata:
            raise RuntimeError(f"segment {segment.path.name} was encoded with other headers than the first")


def _to_json(segment: Segment, packets: Sequence[Coded]) -> dict[str, Any]:
    return {
        "index": segment.index,
        "first_frame": segment.first_frame,
        "extradata": segment.extradata.hex(),
        "sha256": segment.sha256,
        "drawn": segment.drawn,
        "packets": [[p.pts, p.duration, p.size, int(p.key)] for p in packets],
    }


def _from_json(path: Path, value: dict[str, Any]) -> tuple[Segment, tuple[Coded, ...]]:
    packets = tuple(Coded(int(p), int(d), int(s), bool(k)) for p, d, s, k in value["packets"])
    segment = Segment(
        index=int(value["index"]),
        first_frame=int(value["first_frame"]),
        path=path.with_suffix(".bin"),
        extradata=bytes.fromhex(value["extradata"]),
        frames=len(packets),
        sha256=str(value["sha256"]),
        drawn=str(value["drawn"]),
    )
    return segment, packets
