"""Where what took long to make is kept for the next process: the user's cache folder, never beside the user's files."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

KEPT = 24
"""Files in one folder; the one longest unused goes first."""


def cache_folder(name: str) -> Path | None:
    """The folder `iznet/NAME` among the user's caches, made if need be and cleared of the files longest unused.

    It is found in `XDG_CACHE_HOME`, else where the system keeps caches. None where nothing can be written there: what
    is to be kept is then made anew by every process.

    Example:
        >>> cache_folder("openvino")  # doctest: +SKIP
        PosixPath('/home/yuri/.cache/iznet/openvino')
    """
    folder = _caches() / "iznet" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted((entry.stat().st_mtime, entry.path) for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return None
    for _, path in files[:-KEPT]:
        with suppress(OSError):  # another process was quicker
            os.unlink(path)
    return folder if os.access(folder, os.W_OK) else None


def _caches() -> Path:
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return home / ".cache"
