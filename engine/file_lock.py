"""Files that one process at a time may change: a gallery, a record that is reviewed, a work folder, engines.

A link stands for the file that it leads to: that one is locked, under its own name.
The lock is a file beside it, locked by the operating system, so that a process that dies lets go of it. Who gets the
lock removes the file when done; whoever waited on a removed one notices and takes a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import OutputError
from engine.names import LONGEST_FILE_NAME
from engine.output_file import real_path

PATIENCE = 60.0
"""Seconds that a change waits for another process's. Most take milliseconds, those of thousands of people seconds."""
_POLL = 0.05


@contextlib.contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the file at `path` against other processes (and threads) that hold it in this way too.

    Args:
        path: the file; it need not exist.
        patience: seconds to wait for somebody else's change.

    Raises:
        OutputError: another process still holds it, or no lock can be made beside it.

    Example:
        >>> with locked(Path("izone.gallery")):  # doctest: +SKIP
        ...     write_output("izone.gallery", change(Path("izone.gallery").read_bytes()), overwrite=True)
    """
    real = real_path(path)
    beside = real.parent / _lock_name(real.name)  # also of a folder that has no name, such as the one we are in
    try:
        descriptor = _take(beside, time.monotonic() + patience)
    except OSError as error:
        raise OutputError(f"{path}: cannot be locked for writing ({error.strerror}); choose another place") from error
    if descriptor is None:
        raise OutputError(
            f"{path}: another process has been changing it for {patience:g} seconds; wait for it, then try again"
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open; an empty file then stays behind
            beside.unlink(missing_ok=True)
        os.close(descriptor)


def _lock_name(name: str) -> str:
    """Of a file's lock: no other file's, however long the two names are."""
    whole = f".{name}.lock"
    if len(os.fsencode(whole)) <= LONGEST_FILE_NAME:
        return whole
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.lock"


def _take(beside: Path, until: float) -> int | None:
    """A descriptor that holds the lock; None where the time is over."""
    while True:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _lock(descriptor) and _still_there(beside, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= until:
            return None
        time.sleep(_POLL)


def _still_there(beside: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that others will find: its last owner may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), beside.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
