"""The record of a feed: tracks files that can be followed while they grow, one for each geometry of the pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from engine.errors import OutputError
from stream.frames import TrackVerdict, VideoInfo
from stream.live.outputs import Health, Seen, check_new, pieces
from stream.tracks import Header, TracksWriter


class Record:
    """Writes what is seen as `iznet.tracks` lines. A track has its line when it ends, not at the end of all.

    A record is of pictures of one size, so where that changes one record is finished and the next is begun: in a file
    of its own, or on the same stream, whose reader then meets another header.

    Args:
        place: a file's name (see `stream.live.outputs.pieces`), or a binary stream.
        header: makes the header for a geometry.
        overwrite: whether files that exist may be replaced.
        made_from: files that the run reads, which are never replaced.

    Raises:
        OutputError: the file exists or cannot be written; from `frame` and `over` too.
    """

    draws = False

    def __init__(
        self,
        place: str | BinaryIO,
        header: Callable[[VideoInfo], Header],
        *,
        overwrite: bool = False,
        made_from: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        self.place = place if isinstance(place, str) else None
        self.health = Health(self.place or "-")
        self._stream: BinaryIO | None = None if isinstance(place, str) else place
        self._names: Iterator[Path] | None = pieces(place) if isinstance(place, str) else None
        self._header = header
        self._overwrite = overwrite
        self._made_from = made_from
        self._info: VideoInfo | None = None
        self._writer: TracksWriter | None = None
        self._file: BinaryIO | None = None
        self._count = 0
        self._booked: Mapping[str, int] = {}
        """Dropped frames that stand in the records before."""
        self._next: Path | None = None
        if self._names is not None:
            self._next = next(self._names)
            check_new(self._next, overwrite, made_from)  # now, not when the first picture is here

    def frame(self, seen: Seen) -> None:
        if seen.info is not self._info:
            self._begin(seen)
        assert self._writer is not None
        frame = seen.labelled.frame
        self._writer.frame(index=self._count, pts=frame.pts, shot=frame.shot, faces=seen.labelled.faces)
        self._count += 1

    def over(self, verdicts: Sequence[TrackVerdict]) -> None:
        if self._writer is not None:
            for verdict in verdicts:
                self._writer.track(verdict)
            self._writer.flush()  # where a feed breaks off, nothing more may come for long

    def close(self, dropped: Mapping[str, int]) -> None:
        self._finish(dropped)

    def _begin(self, seen: Seen) -> None:
        if self._writer is not None:
            self._finish(seen.dropped_before)
        self._info, self._count = seen.info, 0
        stream = self._stream
        if self._names is not None:
            path = self._next or next(self._names)
            self._next = None
            check_new(path, self._overwrite, self._made_from)
            try:
                stream = self._file = path.open("wb", buffering=0)
            except OSError as error:
                raise OutputError(f"cannot write {path}: {error.strerror}") from error
        assert stream is not None
        self._writer = TracksWriter(stream, self._header(seen.info))

    def _finish(self, dropped: Mapping[str, int]) -> None:
        """Finish a record; `dropped` counts the frames that never came since the run began."""
        writer, self._writer = self._writer, None
        file, self._file = self._file, None
        try:
            if writer is not None:
                since = {cause: number - self._booked.get(cause, 0) for cause, number in dropped.items()}
                self._booked = dict(dropped)
                writer.finish(dropped={cause: number for cause, number in since.items() if number})
        finally:
            if file is not None:
                file.close()
