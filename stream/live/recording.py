"""The labelled pictures of a feed as video files that anything plays, cut into pieces by size or time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from engine.errors import OutputError
from stream.encoding import EncoderPlan, EncoderSettings, plan_encoder
from stream.frames import TrackVerdict
from stream.live.outputs import Seen, check_new, pieces
from stream.live.timeline import TICK
from stream.pictures import convert
from stream.probe import Colour, VideoFacts

WAITING = 8
"""Pictures that wait for the encoder at most."""

SAFE = {"flush_packets": "1", "cluster_time_limit": "1000"}
"""What reaches the disk is never more than a second old, milliseconds."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a piece is full; None for never."""

    seconds: float | None = None
    size: int | None = None
    """Bytes."""

    def full(self, seconds: float, size: int) -> bool:
        """Whether a piece of that length and size is to be followed by the next.

        Example:
            >>> Rotation(seconds=60).full(59.9, 10**9), Rotation(size=1000).full(0.1, 1000)
            (False, True)
        """
        return (self.seconds is not None and seconds >= self.seconds) or (self.size is not None and size >= self.size)


class Recording:
    """Encodes what is seen into MKV files, in a thread of its own. Every piece begins with a key frame and can be
    played by itself, also the one that is being written, and one that a crash cut off.

    If the encoder does not keep up, pictures are left out and counted in `skipped`: a recording never holds up a feed.

    Args:
        place: the file's name (see `stream.live.outputs.pieces`).
        settings: of the encoder.
        rotation: when a piece is full.
        overwrite: whether files that exist may be replaced.

    Raises:
        OutputError: the file exists or cannot be written; later ones from `frame` and `close`.
    """

    draws = True

    def __init__(
        self,
        place: str,
        settings: EncoderSettings | None = None,
        rotation: Rotation | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        if not place.lower().endswith(".mkv"):
            raise OutputError(
                f"{place}: a recording is an MKV file, since that can be played however it ends; name it .mkv"
            )
        self.skipped = 0
        self.written: list[Path] = []
        self._settings = settings or EncoderSettings()
        self._rotation = rotation or Rotation()
        self._overwrite = overwrite
        self._names: Iterator[Path] = pieces(place)
        self._next: Path | None = next(self._names)
        check_new(self._next, overwrite)
        self._piece: _Piece | None = None
        self._waiting: deque[Seen] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="iznet-record", daemon=True)
        self._thread.start()

    def frame(self, seen: Seen) -> None:
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if len(self._waiting) >= WAITING:
                self.skipped += 1
                return
            self._waiting.append(seen)
            self._changed.notify()

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        """Tracks are for the record."""

    def close(self, dropped: Mapping[str, int]) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while (seen := self._take()) is not None:
                self._write(seen)
            self._end_piece()
        except BaseException as failure:  # handed to whoever gives the next picture
            self._failure = failure

    def _take(self) -> Seen | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None

    def _write(self, seen: Seen) -> None:
        piece, pts = self._piece, seen.labelled.frame.pts
        if piece is not None and (
            piece.info is not seen.info or self._rotation.full(float((pts - piece.first) * TICK), piece.size)
        ):
            self._end_piece()
        if self._piece is None:
            path = self._next or next(self._names)
            self._next = None
            check_new(path, self._overwrite)
            self._piece = _Piece(path, seen, self._settings)
            self.written.append(path)
        self._piece.write(seen)

    def _end_piece(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.end()


class _Piece:
    """One file, begun with its first picture."""

    def __init__(self, path: Path, seen: Seen, settings: EncoderSettings) -> None:
        self.path = path
        self.info = seen.info
        self.first = seen.labelled.frame.pts
        self.size = 0
        """Bytes of the packets so far."""
        plan = at_once(plan_encoder(settings, _facts(seen)))
        self._format = plan.pixel_format
        self._encoder: VideoCodecContext = plan.open()
        try:
            self._container: OutputContainer = av.open(str(path), "w", format="matroska", options=SAFE)
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        self._stream: VideoStream = plan.add_stream(self._container)
        if seen.info.rotation:
            self._stream.set_display_rotation(-seen.info.rotation)

    def write(self, seen: Seen) -> None:
        frame = seen.labelled.frame
        picture = convert(frame.picture, self._format)
        picture.pts, picture.time_base = frame.pts - self.first, TICK
        picture.pict_type = 0
        self._mux(picture)

    def end(self) -> None:
        try:
            self._mux(None)
        finally:
            try:
                self._container.close()
            except (av.error.FFmpegError, OSError) as error:
                raise OutputError(f"cannot write {self.path}: {error.strerror}") from error

    def _mux(self, picture: av.VideoFrame | None) -> None:
        try:
            for packet in self._encoder.encode(picture):
                packet.stream = self._stream
                packet.time_base = TICK
                self.size += packet.size
                self._container.mux_one(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error


def at_once(plan: EncoderPlan) -> EncoderPlan:
    """The plan with an encoder that holds no pictures back, where it can be told so: a run then ends quickly, and a
    crash loses little."""
    if plan.encoder not in ("x264", "x265"):
        return plan
    return replace(plan, options={**plan.options, "tune": "zerolatency"})


def _facts(seen: Seen) -> VideoFacts:
    """What an encoder has to know of a feed: it has no file to be asked."""
    picture = seen.labelled.frame.picture
    return VideoFacts(
        info=seen.info,
        stream_index=0,
        codec="h264",
        format="live",
        colour=Colour(
            range=picture.color_range,
            primaries=picture.color_primaries,
            transfer=picture.color_trc,
            matrix=picture.colorspace,
            chroma_location=None,
        ),
        sample_aspect=None,
        display_matrix=None,
        mirrored=False,
        field_order=None,
        rate=seen.info.average_rate or Fraction(30),
    )
