"""What a review has not saved yet, in a file beside its record: whatever ends the process, the next review goes on.

    {"schema": "iznet.unsaved/2", "record": SHA-256, "original": [track lines], "made": […], "undone": […],
     "taught": null or {"gallery": path, "kept": […], "intended": […]}}

The file is written anew at every correction, whole or not at all, and is gone when all is saved. It says which record
it belongs to, to the byte.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.checksum import sha256_of
from engine.errors import InputError, OutputError
from engine.output_file import atomic_output, begin_output, is_temporary, real_path, sync_folder, writing
from stream.frames import TrackVerdict
from stream.record_lock import held
from stream.review.corrections import Correction, History, Look
from stream.review.teaching import Kept, Taught
from stream.tracklines import decode, encode

ENDING = ".unsaved"
"""Is put behind the record's name."""
SCHEMA = "iznet.unsaved/2"
"""2 says which gallery was taught, and what it was about to be."""


@dataclass(frozen=True, slots=True)
class Unsaved:
    """All that a review needs to go on where another one ended."""

    record: str
    """SHA-256 of the record's file that it is about."""
    history: History
    taught: Taught | None
    """What a gallery has of it by now; None where there is none."""

    @property
    def tracks(self) -> set[int]:
        """All that something is said of."""
        history = self.history
        said = {track for each in (*history.made, *history.undone) for track in each.names}
        return said.union(history.original)

    @property
    def looks(self) -> set[Look]:
        """All that a gallery is to learn, or has learned."""
        history = self.history
        said = {look for each in (*history.made, *history.undone) for look in each.looks}
        return said if self.taught is None else said.union(self.taught.kept, self.taught.intended)


def encoded(unsaved: Unsaved) -> dict[str, Any]:
    """As plain JSON values."""
    history = unsaved.history
    return {
        "schema": SCHEMA,
        "record": unsaved.record,
        # A likeness as it was read: a line of a record has it rounded.
        "original": [encode(v) | {"similarity": v.similarity} for v in history.original.values()],
        "made": [asdict(each) for each in history.made],
        "undone": [asdict(each) for each in history.undone],
        "taught": None if unsaved.taught is None else _encoded(unsaved.taught),
    }


def _encoded(taught: Taught) -> dict[str, Any]:
    def looks(of: Mapping[Look, Kept]) -> list[list[int | str]]:
        return [[*look, kept.name, kept.file] for look, kept in of.items()]

    return {"gallery": taught.gallery, "kept": looks(taught.kept), "intended": looks(taught.intended)}


def decoded(data: Any) -> Unsaved:
    """From the values of `encoded`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError: they make no sense.
    """
    if data["schema"] != SCHEMA:
        raise ValueError(f"{data['schema']!r} is not {SCHEMA}, which this version of IZ*Net knows")
    original: dict[int, TrackVerdict] = {}
    for line in data["original"]:
        verdict = decode(line)
        if not isinstance(verdict, TrackVerdict):
            raise TypeError(f"{line!r} is no track")
        original[verdict.track] = verdict
    made, undone = (tuple(_correction(each) for each in data[key]) for key in ("made", "undone"))
    taught = None if data["taught"] is None else _taught(data["taught"])
    return Unsaved(_text(data["record"]), History(original, made, undone), taught)


def _taught(data: Any) -> Taught:
    def looks(of: Any) -> dict[Look, Kept]:
        return {Look(_whole(track), _whole(frame)): Kept(_text(name), _text(file)) for track, frame, name, file in of}

    return Taught(_text(data["gallery"]), looks(data["kept"]), looks(data["intended"]))


def _correction(data: Any) -> Correction:
    return Correction(
        _whole(data["number"]),
        None if data["name"] is None else _text(data["name"]),
        tuple(map(_whole, data["tracks"])),
        tuple(map(_whole, data["displaced"])),
        tuple(Look(_whole(track), _whole(frame)) for track, frame in data["looks"]),
        None if data["stranger"] is None else _whole(data["stranger"]),
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a text")
    return value


class UnsavedFile:
    """The file `NAME.tracks.jsonl.unsaved` of a record, held against every other review of it until it is closed.

    Where it cannot be held or written, a review goes on without it: `fault` says why.

    Args:
        record: behind a link it is the record itself that counts.

    Raises:
        OutputError: another review of the record is open, or a command is changing it.

    Example:
        >>> with contextlib.closing(UnsavedFile(Path("mv.tracks.jsonl"))) as file:  # doctest: +SKIP
        ...     earlier = file.read()
        ...     file.write(Unsaved(sha256_of(Path("mv.tracks.jsonl")), corrections.history, None))
    """

    def __init__(self, record: str | os.PathLike[str]) -> None:
        self._record = real_path(record)
        self.path = self._record.parent / (self._record.name + ENDING)
        self.fault: str | None = None
        """Why the latest state is not kept; None if it is."""
        self._lock = contextlib.ExitStack()
        why = self._lock.enter_context(held(record))
        self._held = why is None
        """Otherwise it is left as it is: another review may be writing it."""
        if self._held:
            self._sweep()
        else:
            self.fault = (
                f"{self.path}: nothing can be written there ({why}); move the record to a folder that takes files"
            )

    def close(self) -> None:
        """Leave it to the next review; nothing is written there any more."""
        self._held = False
        self._lock.close()

    def read(self) -> Unsaved | None:
        """What an earlier review left; None where there is nothing.

        Raises:
            InputError: it cannot be understood.
        """
        try:
            return decoded(json.loads(self.path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                return None
            raise InputError(f"{self.path} cannot be read ({error})") from error

    def write(self, unsaved: Unsaved) -> None:
        """Keep this from now on; it is on the disk afterwards, or `fault` says why not."""
        if not self._held:
            return
        try:
            with atomic_output(self.path, overwrite=True) as temporary:
                begin_output(temporary, self._record)  # nobody may read it who may not read the record
                temporary.write_text(json.dumps(encoded(unsaved), separators=(",", ":")), "utf-8")
            self._sync()
            self.fault = None
        except OutputError as error:
            self.fault = str(error)

    def remove(self) -> None:
        """There is nothing to keep any more. What was saved instead is on the disk first."""
        if not self._held:
            return
        try:
            if self.path.exists():
                self._sync()
                with writing(self.path):
                    self.path.unlink()
                self._sync()
            self.fault = None
        except OutputError as error:
            self.fault = str(error)

    def set_aside(self) -> Path:
        """Give it a name under which no review looks for it; where it is then.

        Raises:
            OutputError: that cannot be done.
        """
        if not self._held:
            return self.path
        aside = self.path.with_name(f"{self.path.name}.{sha256_of(self.path)[:8]}")
        with writing(self.path):
            self.path.replace(aside)
        return aside

    def _sync(self) -> None:
        with writing(self.path):
            sync_folder(self.path.parent)

    def _sweep(self) -> None:
        """Remove what was being written when a process was killed."""
        for left in self.path.parent.glob(f".{glob.escape(self.path.stem)}.*{ENDING}"):
            if is_temporary(left):
                with contextlib.suppress(OSError):
                    left.unlink()
