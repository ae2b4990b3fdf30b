"""Wrong photos in a person's folder, and photos that are one picture twice: pure decisions over embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from engine.prototypes import distances

FEWEST = 4
"""Photos there must be to judge any of them: of three that disagree nobody can tell which one is wrong."""
LEFT = 3
"""Photos that always stay."""
DEVIATIONS = 2.5
"""Standard deviations, estimated robustly, beyond the person's own median distance."""
LEAST_SCATTER = 0.04
"""Euclidean distance: the standard deviation is taken to be no smaller, so that near-equal photos lose none."""
UNLIKE = 0.75
"""Part of the embedder's threshold: a photo that is as near to the person's others as this is never called wrong."""
STRANGE = 0.25
"""Part of the embedder's threshold: a photo no nearer than this to the others is wrong however much these scatter."""

SAME_EMBEDDING = 0.25
"""Euclidean distance below which two embeddings may be of one picture, saved twice."""
SAME_PLACE = 0.01
"""Part of the photo's width and height by which the five points of one picture saved twice differ, at most."""


def wrong_photos(vectors: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Which photos are probably of somebody else.

    Every photo has a median distance to the person's others. It is wrong where that exceeds the median of all photos'
    by more than `DEVIATIONS` robust standard deviations (1.4826 times the median absolute deviation, at least
    `LEAST_SCATTER`) and its median cosine stays below `UNLIKE` times the embedder's threshold; and where the median of
    all photos' is that of one person but its cosine stays below `STRANGE` times the threshold: several photos of one
    other person raise the deviation so far that none would stand out. Then those that are left are judged by each
    other, until all of them stay, since some stand out only where others are gone that were further off. With fewer
    than `FEWEST` photos none is wrong, and once less than half of the photos or fewer than `LEFT` would stay, no more
    are: the folder then shows several people, which is for a human to sort out.

    Args:
        vectors: `[n,D]` unit vectors of one person.
        threshold: the embedder's, a cosine.

    Returns:
        `[n]`.

    Example:
        >>> turn = np.radians([0, 4, 8, 12, 90])
        >>> wrong_photos(np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32), 0.5).tolist()
        [False, False, False, False, True]
    """
    kept = np.arange(len(vectors))
    while (stay := kept[~_standing_out(vectors[kept], threshold)]).size < len(kept):
        if len(stay) < max(LEFT, len(vectors) / 2):
            break
        kept = stay
    wrong = np.ones(len(vectors), np.bool_)
    wrong[kept] = False
    return wrong


def _standing_out(vectors: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """`[n]`: the photos that are wrong among these."""
    if len(vectors) < FEWEST:
        return np.zeros(len(vectors), np.bool_)
    typical = typical_distances(vectors)
    middle = np.median(typical)
    scatter = max(1.4826 * float(np.median(np.abs(typical - middle))), LEAST_SCATTER)
    cosines = 1 - typical**2 / 2
    wrong = (typical > middle + DEVIATIONS * scatter) & (cosines < UNLIKE * threshold)
    if 1 - middle**2 / 2 >= threshold:
        wrong |= cosines < STRANGE * threshold
    return np.asarray(wrong, np.bool_)


def typical_distances(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """`[n]` median Euclidean distance of each photo to the others; n ≥ 2."""
    apart = distances(vectors)
    np.fill_diagonal(apart, np.nan)
    return np.asarray(np.nanmedian(apart, axis=1), np.float64)


def same_pictures(vectors: NDArray[np.float32], landmarks: NDArray[np.float32]) -> NDArray[np.intp]:
    """Pairs of faces that are one picture, saved twice: at another size, in another format, a little brighter.

    Their embeddings lie within `SAME_EMBEDDING`, and the face is at the same place in the picture, within `SAME_PLACE`.
    Two photos of a burst, or of a person who holds still, may be taken for one, which loses nothing.

    Args:
        vectors: `[n,D]` unit vectors.
        landmarks: `[n,5,2]` as parts of each photo's width and height; with NaN in it a face is never the same.

    Returns:
        `[k,2]` positions, the smaller one first, in order.
    """
    known = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    if len(known) < 2:
        return np.zeros((0, 2), np.intp)
    places = landmarks[known].reshape(len(known), -1).astype(np.float64)
    near = cKDTree(places).query_pairs(SAME_PLACE, p=np.inf, output_type="ndarray")
    pairs = known[near]
    cosines = np.einsum("nd,nd->n", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    pairs = np.sort(pairs[cosines > 1 - SAME_EMBEDDING**2 / 2], axis=1)
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], np.intp)
