"""What a training leaves behind: files that appear whole or not at all, and take the place of an earlier run's.

Their folders are made where they are missing; `engine.output_file` says what else holds for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.output_file import atomic_output, writing


@contextlib.contextmanager
def replaced(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary name, which becomes `path` when the block ends well.

    Raises:
        OutputError: it cannot be written, or exists and `overwrite` is false; what was there before is untouched.

    Example:
        >>> with replaced(Path("tuned/network.keras")) as temporary:    # doctest: +SKIP
        ...     network.save(temporary)
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path, overwrite) as temporary:
        yield temporary


def write_whole(path: Path, data: str | bytes, overwrite: bool = True) -> None:
    """Write `data`, text as UTF-8.

    Raises:
        OutputError: as `replaced`.
    """
    with replaced(path, overwrite) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write `arrays` as an `.npz` file.

    Raises:
        OutputError: as `replaced`.
    """
    with replaced(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
