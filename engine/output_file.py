"""Output files: refused before any work is done, and written whole or not at all.

    check_output("mv.csv", overwrite, made_from=["mv.tracks.jsonl"])     # before the work
    write_output("mv.csv", table, overwrite)                             # after it

An existing file is replaced only where that is asked for, and one that the output is made from never. What is written
lies beside its place, under another name, until it is complete. A file that is replaced keeps its permissions, also
while the new one grows; behind a link it is the file that is replaced, and the link stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.errors import OutputError, UsageError
from engine.names import LONGEST_FILE_NAME

_PART = ".part"
_TOKEN = 8
"""Characters of chance in a temporary name, so that two who write one file at once do not meet."""
ROOM = len(f"..{_PART}") + _TOKEN
"""Bytes by which the temporary name is longer than the final one. Others that are made of an output's name (`.partial`,
`.bak`, a work folder's) are shorter than that."""


def check_output(
    output: str | os.PathLike[str],
    overwrite: bool = False,
    made_from: Iterable[str | os.PathLike[str]] = (),
    *,
    in_place: bool = False,
    hint: str = "",
) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Args:
        output: the file.
        overwrite: whether it may be replaced.
        made_from: files that are read for it; those that are not there, or are no files, do not matter.
        in_place: it grows under its own name, so that a file of that name is itself written to.
        hint: what else the user can do if it exists, to end the sentence with.

    Raises:
        OutputError: it exists and `overwrite` is false; it is one of those that it is `made_from`, a folder, or nothing
            that can be replaced; its name is too long; or its folder is missing or takes no files.

    Example:
        >>> check_output("mv.csv", made_from=["mv.tracks.jsonl"])
    """
    _check_length(Path(output))
    check_spared(output, made_from)
    _check_replaceable(output, overwrite, in_place, hint)
    check_folder(real_path(output).parent, output)


def check_spared(output: str | os.PathLike[str], made_from: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that is one of the files which are read, whatever may be replaced.

    Raises:
        OutputError: it is.
    """
    if not os.path.exists(output):
        return
    if any(os.path.exists(source) and os.path.samefile(output, source) for source in made_from):
        raise OutputError(
            f"{os.fspath(output)} is what the output is made from, and is not replaced; give another name"
        )


def check_apart(*outputs: str | os.PathLike[str]) -> None:
    """Refuse outputs two of which would be one file.

    Raises:
        UsageError: two have one name, or stand for one file.

    Example:
        >>> check_apart("mv.labelled.mp4", "mv.tracks.jsonl")
    """
    known: dict[str, str] = {}
    for output in (os.fspath(output) for output in outputs):
        place = os.path.normcase(os.path.realpath(output))
        if sys.platform == "darwin":
            place = place.casefold()  # as the file systems there do
        if place in known:
            raise UsageError(f"{known[place]} and {output} would be one file; give each output its own name")
        known[place] = output


def check_folder(folder: Path, output: str | os.PathLike[str]) -> None:
    """Refuse a folder that takes no files. It is tried, with a file without a name: permissions alone do not tell.

    Raises:
        OutputError: it does not, is missing, or a file; the message begins with the `output` that is to go there.
    """
    if not os.path.isdir(folder):
        raise OutputError(_no_folder(folder, output))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{os.fspath(output)}: no file can be written into {folder} ({error.strerror}); choose another folder"
        ) from error


def write_output(path: str | os.PathLike[str], data: str | bytes, overwrite: bool = False) -> None:
    """Write a file, text as UTF-8; it appears whole or not at all.

    Raises:
        OutputError: it exists and `overwrite` is false, or it cannot be written; what was there is untouched.
    """
    with atomic_output(path, overwrite) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_output(
    output: str | os.PathLike[str], overwrite: bool = False, folder: Path | None = None
) -> Iterator[Path]:
    """A temporary name beside `output`, which becomes `output` when the block ends well and vanishes when it does not.

    Args:
        output: the final name.
        overwrite: whether it may be replaced.
        folder: where the temporary lies instead, if `output` is no link, on the same file system: what is left there by
            a run that is killed is removed with the folder.

    Raises:
        OutputError: `output` exists and `overwrite` is false, or it cannot be written; what was there is untouched.

    Example:
        >>> with atomic_output("sheet.png") as temporary:    # doctest: +SKIP
        ...     image.save(temporary, "PNG")
    """
    check_output(output, overwrite)
    target = real_path(output)
    if os.path.islink(output):
        folder = None
    # Absolute, since FFmpeg takes what stands before a colon in a relative name for a protocol.
    temporary = (folder or target.parent).absolute() / _temporary_name(target)
    try:
        with writing(output):
            begin_output(temporary, target)
            yield temporary
            finish_output(temporary, target, overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def begin_output(temporary: Path, target: Path) -> None:
    """Let nobody read `temporary`, which is about to be written, who may not read the file that it will replace.

    Args:
        temporary: on the same file system as `target`; what a run that was killed left under that name is removed.
        target: no link; see `real_path`.
    """
    temporary.unlink(missing_ok=True)
    if os.path.exists(target):
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        temporary.chmod(target.stat().st_mode & 0o777 | 0o200)


def finish_output(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give `temporary`, once it is complete, its final name. It is on the disk itself first: the name says that all of
    it is there.

    Raises:
        OutputError: a file of that name has appeared meanwhile, and may not be replaced.
        OSError: the system refuses.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    _check_replaceable(target, overwrite)
    if os.path.exists(target):
        shutil.copymode(target, temporary)
    temporary.replace(target)


def real_path(output: str | os.PathLike[str]) -> Path:
    """The file itself where `output` is a link, also one to a file that is not there yet."""
    return Path(os.path.realpath(output)) if os.path.islink(output) else Path(output)


def is_temporary(path: Path) -> bool:
    """Whether the file is an output that is being written, or what a killed process left of one.

    Example:
        >>> is_temporary(Path("work/.job.0badcafe.part.json"))
        True
    """
    return re.fullmatch(rf"\..+\.[0-9a-f]{{{_TOKEN}}}{re.escape(_PART)}(\.[^.]+)?", path.name) is not None


@contextlib.contextmanager
def writing(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the system's refusals to write at `place` into `OutputError`s that say what to do."""
    try:
        yield
    except OSError as error:
        name = os.fspath(place)
        if error.errno == errno.ENOSPC:
            raise OutputError(f"{name}: the disk is full; free some space or choose another folder") from error
        if error.errno == errno.EDQUOT:
            raise OutputError(f"{name}: the disk quota is used up; free some space") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(f"{name}: no permission to write there; choose another folder") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            folder = Path(name).parent
            if folder.is_dir():
                raise OutputError(f"{name}: {folder} takes no new files; choose another folder") from error
            raise OutputError(_no_folder(folder, place)) from error
        if error.errno == errno.EFBIG:
            raise OutputError(f"{name}: larger than the file system or limit allows") from error
        raise OutputError(f"{name} cannot be written ({error.strerror or error}); choose another place") from error


def sync_folder(folder: Path) -> None:
    """Wait until new names in the folder are on the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_name(target: Path) -> str:
    return f".{target.stem}.{secrets.token_hex(_TOKEN // 2)}{_PART}{target.suffix}"


def _no_folder(folder: Path, output: str | os.PathLike[str]) -> str:
    """What to say where there is none."""
    if os.path.exists(folder):
        return f"{os.fspath(output)}: {folder} is a file, not a folder; choose another folder"
    return f"{os.fspath(output)}: the folder {folder} does not exist; make it first"


def _check_length(target: Path) -> None:
    """A name has to leave room for that of what is written first."""
    most = LONGEST_FILE_NAME - ROOM
    if (size := len(os.fsencode(target.name))) > most:
        raise OutputError(f"{target}: its name has {size} bytes, {size - most} too many; give a shorter one")


def _check_replaceable(output: str | os.PathLike[str], overwrite: bool, in_place: bool = False, hint: str = "") -> None:
    name = os.fspath(output)
    if os.path.isdir(output):
        raise OutputError(f"{name} is a folder; give a file name")
    if not os.path.exists(output):
        return
    if not overwrite:
        raise OutputError(f"{name} exists already; use --overwrite to replace it, or choose another place{hint}")
    if in_place and not os.access(output, os.W_OK):
        raise OutputError(f"{name} may not be written; give another name")
    if not in_place and not os.path.isfile(output):
        raise OutputError(f"{name} is a device or a pipe, which is never replaced; give a file name")
