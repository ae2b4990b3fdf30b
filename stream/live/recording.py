"""The labelled pictures of a feed as video files that anything plays, cut into pieces by size or time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError
from stream.encoding import EncoderSettings
from stream.frames import TrackVerdict
from stream.live.outputs import Seen, check_new, pieces
from stream.live.piece import Container, Piece
from stream.live.timeline import TICK

WAITING = 8
"""Pictures that wait for the encoder at most."""

MKV = Container("matroska", {"flush_packets": "1", "cluster_time_limit": "1000"})
"""What reaches the disk is never more than a second old, in milliseconds."""


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


class Encoded(ABC):
    """Encodes what is seen in a thread of its own.

    If the encoder does not keep up, pictures are left out and counted in `skipped`: no output holds up a feed.
    """

    draws = True

    def __init__(self) -> None:
        self.skipped = 0
        self._waiting: deque[Seen] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="iznet-encode", daemon=True)

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
        return  # tracks are for the record

    def close(self, dropped: Mapping[str, int]) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @abstractmethod
    def _write(self, seen: Seen) -> None:
        """Encode the next picture; in the encoder's thread, as `_finish`."""

    @abstractmethod
    def _finish(self) -> None:
        """Finish what was begun."""

    def _run(self) -> None:
        try:
            while (seen := self._take()) is not None:
                self._write(seen)
            self._finish()
        except BaseException as failure:  # handed to whoever gives the next picture
            self._failure = failure

    def _take(self) -> Seen | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None


class Recording(Encoded):
    """MKV files of what is seen. Every piece begins with a key frame and can be played by itself, also the one that is
    being written, and one that a crash cut off.

    Args:
        place: the file's name (see `stream.live.outputs.pieces`).
        settings: of the encoder.
        rotation: when a piece is full.
        overwrite: whether files that exist may be replaced.

    Raises:
        UsageError: the name does not end in .mkv.
        OutputError: the file exists or cannot be written; later ones from `frame` and `close`.
    """

    def __init__(
        self,
        place: str,
        settings: EncoderSettings | None = None,
        rotation: Rotation | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        if not place.lower().endswith(".mkv"):
            raise UsageError(
                f"{place}: a recording is an MKV file, since that can be played however it ends; name it .mkv"
            )
        super().__init__()
        self.written: list[Path] = []
        self._settings = settings or EncoderSettings()
        self._rotation = rotation or Rotation()
        self._overwrite = overwrite
        self._names: Iterator[Path] = pieces(place)
        self._next: Path | None = next(self._names)
        check_new(self._next, overwrite)
        self._piece: Piece | None = None
        self._thread.start()

    def _write(self, seen: Seen) -> None:
        piece, pts = self._piece, seen.labelled.frame.pts
        if piece is not None and (
            piece.info is not seen.info or self._rotation.full(float((pts - piece.first) * TICK), piece.size)
        ):
            self._finish()
        if self._piece is None:
            path = self._next or next(self._names)
            self._next = None
            check_new(path, self._overwrite)
            self._piece = Piece(path, seen, self._settings, MKV)
            self.written.append(path)
        self._piece.write(seen)

    def _finish(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.end()
