"""t-distributed stochastic neighbour embedding (van der Maaten & Hinton, JMLR 2008), by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from engine.errors import InputError

PERPLEXITY = 150.0
ITERATIONS = 5000
FEWEST = 4
"""Points below which there is nothing to arrange."""


@dataclass(frozen=True, slots=True)
class Map:
    """Points in the plane whose neighbours are, as far as possible, those of the embeddings."""

    points: NDArray[np.float32]
    """`[N,2]`; neither the axes nor distances between far points mean anything."""
    perplexity: float
    """That was used."""
    iterations: int
    """At most."""
    note: str
    """What was changed of the settings, and why; empty if nothing."""


def fitting_perplexity(wanted: float, points: int) -> tuple[float, str]:
    """A perplexity is a number of neighbours: no more than a third of the points have a meaning as such.

    Example:
        >>> fitting_perplexity(150, 1000)
        (150, '')
        >>> fitting_perplexity(150, 301)
        (100.0, 'perplexity 100 instead of 150: with 301 photos no more than a third of them')
    """
    most = (points - 1) / 3
    if wanted <= most:
        return wanted, ""
    return most, f"perplexity {most:.0f} instead of {wanted:g}: with {points} photos no more than a third of them"


def arrange(
    embeddings: NDArray[np.float32],
    perplexity: float = PERPLEXITY,
    iterations: int = ITERATIONS,
    seed: int = 0,
    start: NDArray[np.float32] | None = None,
) -> Map:
    """Map `embeddings` `[N,D]` to the plane.

    Args:
        embeddings: unit vectors.
        perplexity: effective number of neighbours; lowered, with a note, where there are too few points.
        iterations: at most; it ends earlier when nothing changes any more.
        seed: makes it repeatable.
        start: `[N,2]` where to begin, such as an earlier map; by default the two first principal components.

    Raises:
        InputError: fewer than four points.
    """
    count = len(embeddings)
    if count < FEWEST:
        raise InputError(f"a t-SNE plot needs at least {FEWEST} photos, there are {count}")
    used, note = fitting_perplexity(perplexity, count)
    # Identical embeddings (a network that has collapsed) have no principal components.
    collapsed = float(embeddings.std(axis=0).max()) < 1e-7
    init: str | NDArray[np.float32] = "random" if collapsed else "pca"
    if start is not None:
        init = (start / max(float(start[:, 0].std()), 1e-9) * 1e-4).astype(np.float32)
    model = TSNE(
        perplexity=used, max_iter=max(250, iterations), init=init, random_state=seed, n_jobs=1, learning_rate="auto"
    )
    return Map(np.asarray(model.fit_transform(embeddings), np.float32), used, iterations, note)
