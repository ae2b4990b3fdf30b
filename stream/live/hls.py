"""The labelled pictures of a feed as HLS: a folder that any web server can hand out and any player plays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from engine.errors import OutputError, UsageError
from engine.output_file import check_folder, check_spared
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


class HlsFolder(Encoded):
    """Keeps the last seconds of a feed in a folder: `live.m3u8` and MPEG-TS segments.

    Args:
        folder: made with the first picture if it is missing, in a folder that exists.
        settings: of the encoder: x264 or x265.
        overwrite: whether a list that is there may be replaced.
        made_from: files that the run reads, which are never replaced.

    Raises:
        UsageError: an encoder whose pictures MPEG-TS cannot hold.
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
        self._begun = 0

    def _write(self, seen: Seen) -> None:
        if self._piece is not None and self._piece.info is not seen.info:
            self._finish()
        if self._piece is None:
            self._make_folder()
            # What comes after another size goes on in the same list, marked as a discontinuity.
            flags = "delete_segments+temp_file" + ("+append_list+discont_start" if self._begun else "")
            self._begun += 1
            # FFmpeg takes what stands before a colon for a protocol, and %d in any folder for the segment's number.
            segments = os.path.join(os.curdir, self._folder, f"{self._begun}-%d.ts")
            options = {
                "hls_time": str(SECONDS),
                "hls_list_size": str(LISTED),
                "hls_flags": flags,
                "hls_segment_filename": segments,
            }
            self._piece = Piece(self.playlist, seen, self._settings, Container("hls", options, float(SECONDS)))
        self._piece.write(seen)

    def _finish(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.end()

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: the folder cannot be made ({error.strerror})") from error
