"""The labelled pictures of a feed as video files that anything plays, cut into pieces by size or time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError
from stream.encoding import EncoderSettings
from stream.live.encoded import Encoded
from stream.live.outputs import Seen, check_new, pieces
from stream.live.piece import Container, Piece
from stream.live.timeline import TICK

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


class Recording(Encoded):
    """MKV files of what is seen. Every piece begins with a key frame and can be played by itself, also the one that is
    being written, and one that a crash cut off.

    Args:
        place: the file's name (see `stream.live.outputs.pieces`).
        settings: of the encoder.
        rotation: when a piece is full.
        overwrite: whether files that exist may be replaced.
        made_from: files that the run reads, which are never replaced.

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
        made_from: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        if not place.lower().endswith(".mkv"):
            raise UsageError(
                f"{place}: a recording is an MKV file, since that can be played however it ends; name it .mkv"
            )
        super().__init__(place)
        self.place: str | None = place
        self.written: list[Path] = []
        self._settings = settings or EncoderSettings()
        self._rotation = rotation or Rotation()
        self._overwrite = overwrite
        self._made_from = made_from
        self._names: Iterator[Path] = pieces(place)
        self._next: Path | None = next(self._names)
        check_new(self._next, overwrite, made_from)
        self._piece: Piece | None = None

    def _write(self, seen: Seen) -> None:
        piece, pts = self._piece, seen.labelled.frame.pts
        if piece is not None and (
            piece.info is not seen.info or self._rotation.full(float((pts - piece.first) * TICK), piece.size)
        ):
            self._finish()
        if self._piece is None:
            path = self._next or next(self._names)
            self._next = None
            check_new(path, self._overwrite, self._made_from)
            self._piece = Piece(path, seen, self._settings, MKV)
            self.written.append(path)
        self._piece.write(seen)

    def _finish(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.end()
