"""Where what took long to make is kept for the next process: the user's cache folder, never beside the user's files."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from engine.errors import OutputError
from engine.output_file import write_output

KEPT = 24
"""Files in one folder, where nobody says; the one longest unused goes first."""


def cache_folder(name: str, most: int = KEPT) -> Path | None:
    """The folder `iznet/NAME` among the user's caches, made if need be and cleared of the files longest unused until
    `most` are left.

    It is found in `XDG_CACHE_HOME`, else where the system keeps caches. None where nothing can be written there: what
    is to be kept is then made anew by every process.

    Example:
        >>> cache_folder("openvino")  # doctest: +SKIP
        PosixPath('/home/yuri/.cache/iznet/openvino')
    """
    try:
        folder = _caches() / "iznet" / name
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted((entry.stat().st_mtime, entry.path) for entry in os.scandir(folder) if entry.is_file())
    except (OSError, RuntimeError):  # the latter: a user without a home, as in containers
        return None
    for _, path in files[:-most]:
        with suppress(OSError):  # another process was quicker
            os.unlink(path)
    return folder if os.access(folder, os.W_OK) else None


def keep(path: Path, data: bytes) -> None:
    """Leave the data there for `kept`, whole or not at all; where that cannot be, nothing is left."""
    with suppress(OutputError):
        write_output(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data, overwrite=True)


def kept(path: Path) -> bytes | None:
    """What `keep` left there, if it is whole; it then counts as used just now."""
    try:
        digest, _, data = path.read_bytes().partition(b"\n")
        if digest != hashlib.sha256(data).hexdigest().encode():
            return None
        os.utime(path)
    except OSError:
        return None
    return data


def _caches() -> Path:
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return home / ".cache"
