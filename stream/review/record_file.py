"""The file of a record that is being corrected: written whole or not at all, and only as long as nobody else has
changed it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from engine.checksum import sha256_of
from engine.errors import InputError
from stream.frames import TrackVerdict
from stream.renaming import correct
from stream.tracks import Tracks, read


class RecordFile:
    """A record as it stands in its file.

    Raises:
        InputError: it cannot be read.

    Example:
        >>> file = RecordFile("mv.tracks.jsonl")                            # doctest: +SKIP
        >>> file.save(corrections.record)                                   # doctest: +SKIP
        3
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._stamp, self.digest = _stamp(self.path), sha256_of(self.path)
        self.record = read(self.path)
        """What stands in it now; `digest` is its SHA-256."""
        self._began = self.verdicts

    @property
    def verdicts(self) -> Mapping[int, TrackVerdict]:
        """On every track."""
        return self.record.verdicts

    @property
    def corrected(self) -> int:
        """Tracks whose verdict is not what it was at first."""
        return sum(verdict != self._began[track] for track, verdict in self.verdicts.items())

    def differing(self, record: Tracks) -> dict[int, TrackVerdict]:
        """The verdicts of the corrected `record` that do not stand in the file."""
        there = self.verdicts
        return {track: verdict for track, verdict in record.verdicts.items() if verdict != there[track]}

    def save(self, record: Tracks) -> int:
        """Write the corrected `record`; returns how many tracks are called otherwise now.

        The file as it was before it was ever corrected is kept as `NAME.bak`.

        Raises:
            InputError: somebody else has changed it meanwhile.
            OutputError: it cannot be written; it is as it was.
        """
        changed = self.differing(record)
        if changed:
            self._check()
            correct(self.path, self.record, changed)
            self._stamp, self.digest = _stamp(self.path), sha256_of(self.path)
            self.record = record
        return len(changed)

    def _check(self) -> None:
        """Refuse a file that is not what it was, to the byte: one that was only copied back or touched is."""
        stamp = _stamp(self.path)
        if stamp is None:
            raise InputError(f"{self.path} is not there any more; put it back, and save again")
        if stamp != self._stamp and sha256_of(self.path) != self.digest:
            raise InputError(
                f"{self.path} was changed by something else since this review began, and is left alone; start "
                f"again to go on from what it is now"
            )


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that took its place, or that was written to; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
