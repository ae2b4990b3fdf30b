"""The labelled pictures of a feed as HLS: a folder that any web server can hand out and any player plays."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import OutputError, UsageError
from engine.output_file import check_folder, check_spared, writing
from stream.encoding import EncoderSettings
from stream.live.encoded import Encoded
from stream.live.outputs import Seen
from stream.live.piece import Container, Piece

PLAYLIST = "live.m3u8"
SECONDS = 2
"""Length of a segment: a player is about three of them behind."""
LISTED = 6
"""Segments that the list names; older ones are removed."""
ENCODERS = ("auto", "x264", "x265")
_WRITE = 2
"""FFmpeg's flag of what is opened to be written."""


class HlsFolder(Encoded):
    """Keeps the last seconds of a feed in a folder: `live.m3u8` and MPEG-TS segments.

    Args:
        folder: made with the first picture if it is missing, in a folder that exists.
        settings: of the encoder: x264 or x265.
        overwrite: whether a list that is there may be replaced.
        made_from: files that the run reads, which are never replaced.

    Raises:
        UsageError: an encoder whose pictures MPEG-TS cannot hold, or a folder whose name FFmpeg would change.
        OutputError: there can be no such folder, or it holds a list; later ones from `frame` and `close`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: EncoderSettings | None = None,
        *,
        overwrite: bool = False,
        made_from: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        super().__init__(os.fspath(folder))
        self._settings = settings or EncoderSettings()
        if self._settings.encoder not in ENCODERS:
            raise UsageError(f"--encoder {self._settings.encoder}: HLS takes {', '.join(ENCODERS)}")
        if pattern := re.search(r"%\d*d", os.fspath(folder)):
            raise UsageError(f"{folder}: FFmpeg would put numbers in the place of {pattern[0]}; take another folder")
        self._folder = Path(folder)
        self.playlist = self._folder / PLAYLIST
        self.place: str | None = str(self.playlist)
        if self._folder.exists() and not self._folder.is_dir():
            raise OutputError(f"{folder} is no folder; give another name")
        for there in (self.playlist, *self._folder.glob("*-*.ts")):  # segments are replaced without a word
            check_spared(there, made_from)
        if self.playlist.exists() and not overwrite:
            raise OutputError(f"{self.playlist} exists; give another folder or --overwrite")
        check_folder(self._folder if self._folder.exists() else self._folder.parent, folder)
        self._piece: Piece | None = None
        self._files = _Files()
        self._begun = 0

    def _write(self, seen: Seen) -> None:
        if self._piece is not None and self._piece.info is not seen.info:
            self._finish()
        if self._piece is None:
            self._make_folder()
            # What comes after another size goes on in the same list, marked as a discontinuity.
            flags = "delete_segments" + ("+append_list+discont_start" if self._begun else "")
            self._begun += 1
            # FFmpeg takes what stands before a colon for a protocol.
            segments = os.path.join(os.curdir, self._folder, f"{self._begun}-%d.ts")
            options = {
                "hls_time": str(SECONDS),
                "hls_list_size": str(LISTED),
                "hls_flags": flags,
                "hls_segment_filename": segments,
            }
            self._files = _Files()
            container = Container("hls", options, float(SECONDS), opens=self._files.open)
            self._piece = Piece(self.playlist, seen, self._settings, container)
        self._piece.write(seen)
        self._check()

    def _finish(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.end()
            self._check()

    def _check(self) -> None:
        """Tell what FFmpeg did not."""
        if self._files.failure is not None:
            raise self._files.failure

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: the folder cannot be made ({error.strerror})") from error


class _Files:
    """Opens what FFmpeg asks for: the segments and the list, which is read where it goes on.

    FFmpeg takes no notice of what cannot be written, and lists segments that are not there. So the first failure is
    kept in `failure`, and from then on nothing that is there changes.
    """

    def __init__(self) -> None:
        self.failure: OutputError | None = None

    def open(self, url: str, flags: int, options: Mapping[str, str]) -> Any:
        return _Whole(Path(url), self) if flags & _WRITE else Path(url).open("rb")

    @contextmanager
    def trying(self, path: Path) -> Iterator[None]:
        """Keep a failure to write the file. It is not raised: FFmpeg stands in between."""
        try:
            with writing(path):
                yield
        except OutputError as failure:
            self.failure = self.failure or failure


class _Whole:
    """A file that appears under its name when all of it is written."""

    def __init__(self, path: Path, files: _Files) -> None:
        self._path, self._files = path, files
        self._growing = path.with_name(f"{path.name}.tmp")
        self._file: BinaryIO | None = None
        if files.failure is None:
            with files.trying(path):
                self._file = self._growing.open("wb")

    def write(self, data: bytes) -> int:
        if self._file is not None and self._files.failure is None:
            with self._files.trying(self._path):
                self._file.write(data)
        return len(data)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        with self._files.trying(self._path):
            file.close()
        with self._files.trying(self._path):
            if self._files.failure is None:
                self._growing.replace(self._path)
            else:
                self._growing.unlink(missing_ok=True)
