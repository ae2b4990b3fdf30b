"""Searching the nearest prototypes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled, compiled_sum

_BLOCK = 1 << 22
"""Cosines held at a time, at most."""


@compiled_sum
def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The dot product, in float32."""
    total = np.float32(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return float(total)


def two_nearest(
    embeddings: NDArray[np.float32], prototypes: NDArray[np.float32], owners: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """For each embedding the nearest person, and how near the nearest and the second-nearest person are.

    Among unit vectors the nearest by Euclidean distance is the one with the largest cosine, which is what is searched.
    Every prototype is looked at: exact for any number of people. Of equal cosines the earlier prototype wins.

    Args:
        embeddings: float32 `[N,D]` unit vectors, C-contiguous.
        prototypes: float32 `[P,D]` unit vectors, C-contiguous, P ≥ 1.
        owners: int32 `[P]` whose prototype it is.

    Returns:
        `[N]` owners of the nearest prototypes, `[N]` their cosines, `[N]` cosines to the nearest prototype of anybody
        else. -1 stands where there is none: with one owner, or for an embedding that is not finite.
    """
    count = len(embeddings)
    nearest = np.full(count, -1, np.intp)
    first = np.full(count, -1.0, np.float32)
    second = np.full(count, -1.0, np.float32)
    _two_nearest(embeddings, prototypes, owners, nearest, first, second)
    return nearest, first, second


@compiled
def _two_nearest(
    embeddings: NDArray[np.float32],
    prototypes: NDArray[np.float32],
    owners: NDArray[np.int32],
    nearest: NDArray[np.intp],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
) -> None:
    """Write what is found into the last three."""
    for n in range(len(embeddings)):
        who, best, other = -1, -np.inf, -np.inf
        for p in range(len(prototypes)):
            cosine = float(_dot(embeddings[n], prototypes[p]))
            if not np.isfinite(cosine):
                continue
            if cosine > best:
                if owners[p] != who:
                    other = best
                who, best = owners[p], cosine
            elif cosine > other and owners[p] != who:
                other = cosine
        if who >= 0:
            nearest[n] = who
            first[n] = min(1.0, max(-1.0, best))
            second[n] = min(1.0, max(-1.0, other))


def nearest_other(
    embeddings: NDArray[np.float32],
    whose: NDArray[np.int32],
    prototypes: NDArray[np.float32],
    owners: NDArray[np.int32],
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each embedding the nearest person other than its own, and how near.

    Args:
        embeddings: float32 `[N,D]` unit vectors.
        whose: int32 `[N]` whom each belongs to, who is passed over.
        prototypes: float32 `[P,D]` unit vectors.
        owners: int32 `[P]` whose prototype it is.

    Returns:
        `[N]` owners and `[N]` cosines; -1 where there is nobody else.
    """
    who = np.full(len(embeddings), -1, np.intp)
    cosine = np.full(len(embeddings), -1, np.float32)
    step = max(1, _BLOCK // max(1, len(prototypes)))
    for start in range(0, len(embeddings), step):
        rows = slice(start, start + step)
        cosines = embeddings[rows] @ prototypes.T
        cosines[whose[rows, None] == owners[None]] = -np.inf
        best = cosines.argmax(1)
        value = cosines[np.arange(len(best)), best]
        found = np.isfinite(value)
        who[rows] = np.where(found, owners[best], -1)
        cosine[rows] = np.where(found, np.clip(value, -1, 1), -1)
    return who, cosine
