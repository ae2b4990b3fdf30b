"""What is kept of a person's photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.prototypes import are_unit


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Photos of one person, one face each. What is not given is numbered (`files`) or unknown (`landmarks`).

    Example:
        >>> Photos(np.eye(2, dtype=np.float32)).files
        ('0', '1')
    """

    embeddings: NDArray[np.float32]
    """`[n,D]` unit vectors."""
    files: tuple[str, ...] = ()
    """Names of the photos, relative to the folder they were enrolled from."""
    landmarks: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 5, 2), np.float32))
    """`[n,5,2]` the face's five points as parts of the photo's width and height; NaN where nobody knows."""
    thumbnails: tuple[bytes, ...] = ()
    """A small JPEG of each face; none unless they were asked for."""

    def __post_init__(self) -> None:
        if not self.files:
            object.__setattr__(self, "files", tuple(str(n) for n in range(len(self.embeddings))))
        if not len(self.landmarks):
            object.__setattr__(self, "landmarks", np.full((len(self.embeddings), 5, 2), np.nan, np.float32))

    @classmethod
    def none(cls, dimension: int) -> Photos:
        """No photos, of embeddings of that dimension."""
        return cls(np.zeros((0, dimension), np.float32))

    def __len__(self) -> int:
        return len(self.files)

    def check(self, name: str) -> None:
        """Refuse what cannot be a person's photos; `name` is for the message.

        Raises:
            InputError: no photo, columns of different lengths, or vectors of another length than 1.
        """
        vectors = self.embeddings
        if vectors.ndim != 2 or len(vectors) == 0 or len(vectors) != len(self.files):
            raise InputError(
                f"{name}: needs at least one embedding, one for each photo; got {vectors.shape} for {len(self.files)}"
            )
        if self.landmarks.shape != (len(vectors), 5, 2) or len(self.thumbnails) not in (0, len(vectors)):
            raise InputError(
                f"{name}: landmarks and thumbnails must be one for each photo; got {self.landmarks.shape} and "
                f"{len(self.thumbnails)} for {len(vectors)}"
            )
        if not are_unit(vectors):
            raise InputError(f"{name}: the embeddings must be unit vectors")

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Photos:
        """The photos that `index` (a mask or positions) picks."""
        rows = np.flatnonzero(index) if index.dtype == np.bool_ else index
        return Photos(
            self.embeddings[rows],
            tuple(self.files[n] for n in rows),
            self.landmarks[rows],
            tuple(self.thumbnails[n] for n in rows) if self.thumbnails else (),
        )

    @staticmethod
    def join(parts: Iterable[Photos]) -> Photos:
        """All of them in order, at least one part. Where only some have thumbnails, the others' are empty."""
        found = list(parts)
        pictured = any(part.thumbnails for part in found)
        return Photos(
            np.concatenate([part.embeddings for part in found]),
            tuple(file for part in found for file in part.files),
            np.concatenate([part.landmarks for part in found]),
            tuple(t for part in found for t in part.thumbnails or (b"",) * len(part)) if pictured else (),
        )
