"""What a training leaves behind: files that appear whole or not at all, and take the place of an earlier run's.

Their folders are made where they are missing; `engine.output_file` says what else holds for them.
"""

from __future__ import annotations

import contextlib
import json
import math
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


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON that every program reads: a figure that is no number is null, for JSON has no NaN.

    Example:
        >>> json_text({"ap": [float("nan"), 0.5]})
        '{"ap": [null, 0.5]}'
    """
    return json.dumps(_without_nan(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
