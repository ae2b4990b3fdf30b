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
    # Imported here, once a video: it takes longer than everything else that starting up imports.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = np.clip(1.0 - embeddings.astype(np.float64) @ embeddings.astype(np.float64).T, 0.0, 2.0)
    # So large that one such pair keeps the mean of any two groups above every threshold.
    distance[apart] = 4.0 * count * count
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    groups = fcluster(tree, t=1.0 - similarity, criterion="distance")
    _, first = np.unique(groups, return_index=True)
    order = {int(groups[row]): number for number, row in enumerate(sorted(first.tolist()), 1)}
    return np.array([order[int(group)] for group in groups], np.intp)
