"""The work folder beside a copy that is being made: what was asked for, and how far it has come.

A run that is killed leaves the folder behind; another that was asked for the very same goes on with what is finished
in it. Every file in it is there whole or not at all, so whatever moment the power fails at, the folder can be read.

    work = WorkFolder(Path("mv.labelled.mp4.iznet"), job, resume=True)
    ...
    work.remove()
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import InputError, OutputError, UsageError
from engine.file_lock import locked
from engine.output_file import is_temporary, sync_folder, write_output, writing

JOB_FILE = "job.json"
VERSION = 2
"""Of the journal: a folder of another version cannot be gone on with."""

AFRESH = "start afresh with --overwrite instead of --resume"
"""What can be done where nobody can go on."""

_LOCK_FILE = ".job.lock"
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 16


class WorkFolder:
    """A folder for one job, held against every other process until it is released or removed.

    Args:
        path: where; made here, its parent has to exist.
        job: everything that the result depends on, plain JSON values. Keys are shown to people.
        resume: go on with what an earlier run of the same job left.
        overwrite: otherwise, whether what an earlier run had finished may be removed.

    Raises:
        OutputError: it cannot be made, is something else's, or another process works in it; or an earlier run had
            finished a part, and that may be neither gone on with nor removed.
        UsageError: it was left by a job that differs from this one; the message says in what.
        InputError: its journal cannot be read.

    Example:
        >>> work = WorkFolder(Path("mv.labelled.mp4.iznet"), {"style": "boxes"}, resume=True)   # doctest: +SKIP
        >>> work.resumed                                                                        # doctest: +SKIP
        True
    """

    def __init__(self, path: Path, job: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> None:
        self.path = path
        self.resumed = False
        """Whether something of an earlier run is gone on with."""
        self.replaced = False
        """Whether something that an earlier run had finished was thrown away."""
        self._lock = contextlib.ExitStack()
        # As it is read back: what JSON has no word for is no difference.
        self._content: dict[str, Any] = json.loads(json.dumps({"job": {"version": VERSION, **job}, "events": {}}))
        with writing(path):
            if path.exists() and not _is_work_folder(path):
                raise OutputError(f"{path} is in the way and no work folder; remove or rename it")
            path.mkdir(exist_ok=True)
            self._take()
        try:
            with writing(path):
                self._begin(resume, overwrite)
        except BaseException:
            self.release()
            raise

    def mark(self, event: str, value: Any = None) -> None:
        """Note durably that `event` has happened in this job."""
        self._content["events"][event] = value
        self._write()

    def has(self, event: str) -> bool:
        """Whether it was noted that `event` has happened."""
        return event in self._content["events"]

    def unmark(self, event: str) -> None:
        """It has not happened after all."""
        self._content["events"].pop(event, None)
        self._write()

    def release(self) -> None:
        """Leave the folder as it is, for a later run."""
        self._lock.close()

    def remove(self) -> None:
        """The job is done, or given up: nothing stays. What it made is on the disk first, under its final name."""
        with contextlib.suppress(OSError):
            sync_folder(self.path.parent)
        with contextlib.suppress(OSError):  # a folder that stays is cleared by the next run
            self._clear()
            (self.path / JOB_FILE).unlink()
        self.release()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _clear(self) -> None:
        """Remove all but the description and what was noted, which make the folder ours to the end."""
        for entry in self.path.iterdir():
            if entry.name not in (_LOCK_FILE, JOB_FILE):
                entry.unlink()

    def _take(self) -> None:
        try:
            self._lock.enter_context(locked(self.path / "job", patience=0))
        except OutputError as error:
            if error.__cause__ is not None:  # the file system refused
                raise
            raise OutputError(f"{self.path}: another process is at work in it; wait for its end") from error

    def _begin(self, resume: bool, overwrite: bool) -> None:
        if resume and (self.path / JOB_FILE).exists():
            earlier = _read(self.path)
            if changed := list(differences(earlier["job"], self._content["job"])):
                raise UsageError(
                    f"{self.path}: cannot go on, {'; '.join(changed)}. Give what was given then, or {AFRESH}"
                )
            self._content, self.resumed = earlier, True
            return
        self.replaced = has_finished(self.path)
        if self.replaced and not overwrite:
            going_on = "go on from there with --resume, or " if self._is_of_this_job() else ""
            raise OutputError(
                f"{self.path} holds what a run that was broken off had finished; {going_on}"
                "start afresh with --overwrite"
            )
        self._clear()
        self._write()

    def _is_of_this_job(self) -> bool:
        with contextlib.suppress(InputError):
            return bool(_read(self.path)["job"] == self._content["job"])
        return False

    def _write(self) -> None:
        with writing(self.path):
            write_json(self.path / JOB_FILE, self._content)


def has_finished(path: Path) -> bool:
    """Whether the work folder `path`, if there is one, holds what a run would have to do again without it."""
    if any(entry.name != JOB_FILE and not is_temporary(entry) for entry in path.glob("*.json")):
        return True
    with contextlib.suppress(InputError):  # nobody can go on from what cannot be read
        return (path / JOB_FILE).exists() and bool(_read(path)["events"])
    return False


def marked(path: Path, event: str) -> bool:
    """Whether the job of the work folder `path`, if there is one, noted that `event` happened."""
    return (path / JOB_FILE).exists() and event in _read(path)["events"]


def mark_of(path: Path, event: str) -> Any:
    """What was noted with the mark; None if there is none."""
    return _read(path)["events"][event] if marked(path, event) else None


def differences(earlier: Any, now: Any, name: str = "") -> Iterator[str]:
    """What is not the same in two descriptions of a job, in words.

    Example:
        >>> list(differences({"style": "boxes", "video": {"bytes": 7}}, {"style": "names", "video": {"bytes": 7}}))
        ["style was 'boxes' and is 'names' now"]
    """
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*earlier, *now]):
            yield from differences(earlier.get(key), now.get(key), f"{name} {key}".strip())
    elif earlier != now:
        yield f"{name} was {_short(earlier)} and is {_short(now)} now"


def _short(value: Any) -> str:
    text = "not given" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def content_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What tells a file from a changed one: its length, and the SHA-256 of samples from its first byte to its last.

    A container's index lies at one of its ends and names the size of every packet, so a few samples see nearly every
    change; time stamps and the name do not matter.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        for i in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return {"bytes": size, "content": digest.hexdigest()}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that it is there whole or not at all, whatever moment the power fails at."""
    write_output(path, json.dumps(value, separators=(",", ":")), overwrite=True)
    sync_folder(path.parent)


def _is_work_folder(path: Path) -> bool:
    """Also one whose run was killed before it had described its job."""
    if (path / JOB_FILE).exists():
        return True
    return path.is_dir() and all(e.name == _LOCK_FILE or is_temporary(e) for e in path.iterdir())


def _read(folder: Path) -> dict[str, Any]:
    """The folder's description and what was noted: `job` and `events`."""
    path = folder / JOB_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
        if not (isinstance(content, dict) and isinstance(content["job"], dict) and isinstance(content["events"], dict)):
            raise TypeError("no description of a job")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); {AFRESH}") from error
    return content
