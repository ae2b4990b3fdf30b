"""The vectors that stand for a person: one of their photos, the mean of them, or the means of a few groups of them.

All vectors are unit vectors `[n,D]`, all distances Euclidean, 0…2.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Method = Literal["medoid", "centroid", "kmeans"]
METHODS: tuple[Method, ...] = get_args(Method)

PHOTOS_EACH = 4
"""k-means: photos there must be for every group, on average."""
MOST = 5
"""k-means: groups of one person, at most."""
STRUCTURE = 0.25
"""k-means: mean silhouette from which on a division into groups is believed; below it there is "no substantial
structure" (Kaufman and Rousseeuw, Finding Groups in Data, 1990)."""
_ROUNDS = 50


def distances(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """`[n,n]` between the vectors of one person; exactly 0 on the diagonal.

    Example:
        >>> distances(np.eye(2, dtype=np.float32)).round(3).tolist()
        [[0.0, 1.414], [1.414, 0.0]]
    """
    wide = vectors.astype(np.float64)
    apart: NDArray[np.float64] = np.sqrt(np.maximum(0, 2 - 2 * np.clip(wide @ wide.T, -1, 1)))
    np.fill_diagonal(apart, 0)
    return apart


def medoid(apart: NDArray[np.float64]) -> int:
    """Which one has the smallest total distance to the others. `apart` is `[n,n]`, n ≥ 1.

    Sums are rounded, so that of photos equally good the first one is taken on every machine.
    """
    return int(np.argmin(apart.sum(1).round(6)))


def choose(vectors: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """The prototypes of one person.

    - `medoid`: the photo with the smallest total distance to the others.
    - `centroid`: the mean of the photos, at unit length.
    - `kmeans`: the mean of each of k groups that spherical k-means finds, at unit length; see `groups` for k.

    Args:
        vectors: `[n,D]` unit vectors, n ≥ 1.
        method: one of `METHODS`.

    Returns:
        float32 `[k,D]` unit vectors, 1 ≤ k ≤ n.

    Example:
        >>> choose(np.eye(2, dtype=np.float32), "centroid").astype(float).round(3).tolist()
        [[0.707, 0.707]]
    """
    if method == "medoid":
        return vectors[[medoid(distances(vectors))]]
    return _means(vectors, groups(vectors, method)).astype(np.float32)


def groups(vectors: NDArray[np.float32], method: Method) -> NDArray[np.intp]:
    """`[n]` to which group each photo belongs, 0…k−1; a single group except for `kmeans`.

    k-means tries every k from 2 to `MOST`, but never more than one for every `PHOTOS_EACH` photos, and takes the one
    with the largest mean silhouette (Rousseeuw 1987). Where that stays below `STRUCTURE`, the photos are one group.
    """
    single = np.zeros(len(vectors), np.intp)
    most = min(MOST, len(vectors) // PHOTOS_EACH)
    if method != "kmeans" or most < 2:
        return single
    apart = distances(vectors)
    candidates = [_kmeans(vectors.astype(np.float64), apart, k) for k in range(2, most + 1)]
    values = [silhouette(apart, labels) for labels in candidates]
    best = int(np.argmax(np.round(values, 6)))
    return candidates[best] if values[best] >= STRUCTURE else single


def silhouette(apart: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """Mean silhouette of a division: how much nearer each is to its own group than to the next one, −1…1.

    A group of one counts 0, as Rousseeuw (Journal of Computational and Applied Mathematics 20, 1987) has it, and so
    does a single group of all.
    """
    count = int(labels.max()) + 1
    if count < 2:
        return 0.0
    member = labels[:, None] == np.arange(count)[None]
    sizes, rows = member.sum(0), np.arange(len(labels))
    totals = apart @ member
    own = totals[rows, labels] / np.maximum(1, sizes[labels] - 1)
    others = np.where(member, np.inf, totals / np.maximum(1, sizes)[None]).min(1)
    value = np.where(sizes[labels] > 1, (others - own) / np.maximum(np.maximum(own, others), 1e-12), 0.0)
    return float(value.mean())


def held_out(vectors: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """How well each photo is recognised by prototypes made of the person's other photos.

    The medoid is chosen anew without each photo. Means are taken anew too, but the groups of `kmeans` stay as they are:
    a photo that is a group of its own is compared with the other groups.

    Returns:
        float32 `[n]` cosines to the nearest such prototype; NaN with a single photo.
    """
    count = len(vectors)
    if count < 2:
        return np.full(count, np.nan, np.float32)
    wide = vectors.astype(np.float64)
    cosines = wide @ wide.T
    if method == "medoid":
        apart = distances(vectors)
        # Without photo i the total of j loses their distance; i itself must not be chosen.
        totals = (apart.sum(1)[None] - apart).round(6)
        np.fill_diagonal(totals, np.inf)
        return np.asarray(cosines[np.arange(count), totals.argmin(1)], np.float32)
    labels = groups(vectors, method)
    member = (labels[:, None] == np.arange(int(labels.max()) + 1)[None]).astype(np.float64)
    sums = member.T @ wide
    best = np.full(count, -1.0)
    for group, total in enumerate(sums):
        inside = member[:, group] > 0
        rest = total[None] - np.where(inside[:, None], wide, 0)
        length = np.linalg.norm(rest, axis=1)
        left = (member[:, group].sum() - inside) > 0
        value = np.einsum("nd,nd->n", wide, rest) / np.maximum(length, 1e-12)
        best = np.where(left, np.maximum(best, value), best)
    return best.astype(np.float32)


def are_unit(vectors: NDArray[np.float32]) -> bool:
    """Whether all rows have length one, up to rounding."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.all(np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1) < 1e-3))


def _means(vectors: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    sums = np.zeros((int(labels.max()) + 1, vectors.shape[1]))
    np.add.at(sums, labels, vectors.astype(np.float64))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    # Opposite photos may cancel out; the first of them then stands for all.
    first = vectors[[int(np.argmax(labels == group)) for group in range(len(sums))]]
    return np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), first)


def _kmeans(wide: NDArray[np.float64], apart: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Spherical k-means (Dhillon and Modha 2001), begun at the medoid and then always at the photo farthest from what
    there is: no chance in it. Groups that run empty are dropped."""
    seeds = [medoid(apart)]
    while len(seeds) < k:
        seeds.append(int(np.argmax(apart[:, seeds].min(1))))
    centres = wide[seeds]
    labels = np.zeros(len(wide), np.intp)
    for _ in range(_ROUNDS):
        found = (wide @ centres.T).argmax(1)
        _, found = np.unique(found, return_inverse=True)
        centres = _means(wide.astype(np.float32), found)
        if np.array_equal(found, labels):
            break
        labels = found
    return labels
