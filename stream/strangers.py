"""Who among the unknown is the same person: one number each over the whole video.

Pure logic over the mean embeddings of tracks; nothing is stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def number_strangers(embeddings: NDArray[np.float32], apart: NDArray[np.bool_], similarity: float) -> NDArray[np.intp]:
    """`[N]` numbers 1, 2, … in order of first appearance; equal numbers are the same person.

    Average-linkage clustering of the cosine distances (Sokal & Michener 1958): two groups are one person while the
    mean cosine between their tracks is at least `similarity`, and no track of one was seen beside one of the other.

    Args:
        embeddings: `[N,D]` unit, a row a track, in order of appearance.
        apart: `[N,N]` symmetric, True for two tracks that stood on one frame together.
        similarity: cosine from which two are the same.

    Example:
        >>> rows = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> number_strangers(rows, np.zeros((3, 3), bool), 0.5).tolist()
        [1, 2, 1]
    """
    count = len(embeddings)
    if count < 2:
        return np.ones(count, np.intp)
    distance = np.clip(1.0 - embeddings.astype(np.float64) @ embeddings.astype(np.float64).T, 0.0, 2.0)
    # So large that one such pair keeps the mean of any two groups above every threshold.
    distance[apart] = 4.0 * count * count
    groups = average_linkage(distance, 1.0 - similarity)
    _, first = np.unique(groups, return_index=True)
    order = {int(groups[row]): number for number, row in enumerate(sorted(first.tolist()), 1)}
    return np.array([order[int(group)] for group in groups], np.intp)


def average_linkage(distance: NDArray[np.float64], cut: float) -> NDArray[np.intp]:
    """`[N]` group of each row: the two groups with the least mean distance are joined, again and again, up to `cut`.

    SciPy does the same; importing it takes longer than all that this is ever used for. With this linkage no distance
    shrinks when two groups are joined (Bruynooghe 1977), so a row's nearest changes only if it was one of them.

    Args:
        distance: `[N,N]` symmetric.
        cut: groups further apart are not joined.
    """
    between = distance.copy()
    np.fill_diagonal(between, np.inf)
    groups = np.arange(len(between))
    size = np.ones(len(between))
    nearest = between.argmin(axis=1)
    least = between.min(axis=1)
    while len(least) and least.min() <= cut:
        a = int(least.argmin())
        b = int(nearest[a])
        between[a] = (size[a] * between[a] + size[b] * between[b]) / (size[a] + size[b])
        between[a, a] = np.inf
        between[:, a] = between[a]
        between[b] = between[:, b] = np.inf
        size[a] += size[b]
        groups[groups == b] = a
        stale = np.flatnonzero((nearest == a) | (nearest == b))
        stale = np.union1d(stale, [a, b])
        nearest[stale] = between[stale].argmin(axis=1)
        least[stale] = between[stale].min(axis=1)
    return groups
