"""What tells a file from every other one: the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.errors import InputError


def sha256_of(path: Path, cure: str = "check its name and permissions") -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Args:
        path: the file; it is read piece by piece.
        cure: what to do where it cannot be read, to end the sentence with.

    Raises:
        InputError: it cannot be read.

    Example:
        >>> sha256_of(Path("mv.tracks.jsonl"))[:8]  # doctest: +SKIP
        '0badcafe'
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {cure}") from error
