"""Small files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import OutputError


def write_whole(path: Path, data: str | bytes) -> None:
    """Write `data` (text as UTF-8) beside `path`, then rename it; folders are made where they are missing.

    Raises:
        OutputError: it cannot be written; what was there before is untouched.
    """
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """`arrays` as an `.npz` file, whole or not at all.

    Raises:
        OutputError: as `write_whole`.
    """
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    write_whole(path, out.getvalue())
