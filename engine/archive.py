"""A file of one JSON header and a few NumPy arrays.

A ZIP archive without compression, which any tool opens. The arrays hold numbers only, never Python objects, so
reading a foreign file runs nothing; equal contents give equal bytes, so that a checksum names the contents.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_BYTES = 2 << 30
"""Of one entry; ten thousand people with a hundred photos each need half a GiB."""
_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, OSError, EOFError, NotImplementedError, RuntimeError, MemoryError)
"""What reading can end in: no archive, a missing entry, a bad checksum, unknown compression, encryption, a size that
nothing backs."""


def write(name: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's contents: `NAME.json`, then each array as `KEY.npy`.

    Example:
        >>> header, arrays = read("x", write("x", {"a": 1}, {"b": np.arange(3)}))
        >>> header, arrays["b"].tolist()
        ({'a': 1}, [0, 1, 2])
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        _put(archive, f"{name}.json", json.dumps(header, ensure_ascii=False, indent=1).encode("utf-8"))
        for key, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            _put(archive, f"{key}.npy", data.getvalue())
    return out.getvalue()


def read(name: str, data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of a file that `write` made.

    Raises:
        ValueError: another kind of file, a damaged one, or one with Python objects in it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            header = json.loads(_get(archive, f"{name}.json").decode("utf-8"))
            keys = [entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")]
            arrays = {
                key: np.lib.format.read_array(io.BytesIO(_get(archive, f"{key}.npy")), allow_pickle=False)
                for key in keys
            }
    except _BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(header, dict):
        raise ValueError(f"{name}.json holds no object")
    return header, arrays


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # A fixed date and system: the same contents are the same file everywhere.
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3
    archive.writestr(info, data)


def _get(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > _MAX_BYTES:
        raise ValueError(f"{name} claims {info.file_size} bytes")
    return archive.read(info)
