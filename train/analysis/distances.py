"""Euclidean distances between photos of one person and between people's medoids. Unit vectors: 0…2, never squared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.prototypes import distances, medoid
from train.analysis.people import EmbeddedPeople


@dataclass(frozen=True, slots=True)
class Spread:
    """How far one person's photos are from each other, over all pairs. NaN where there is a single photo."""

    name: str
    photos: int
    pairs: NDArray[np.float64]
    """`[n·(n−1)/2]`."""

    @property
    def median(self) -> float:
        return float(np.median(self.pairs)) if len(self.pairs) else float("nan")

    @property
    def largest(self) -> float:
        return float(self.pairs.max()) if len(self.pairs) else float("nan")


def spreads(people: EmbeddedPeople) -> list[Spread]:
    """For each person, in the order of `people.names`."""
    found = []
    for person, name in enumerate(people.names):
        mine = people.embeddings[people.labels == person]
        apart = distances(mine)
        found.append(Spread(name, len(mine), apart[np.triu_indices(len(mine), 1)]))
    return found


def medoids(people: EmbeddedPeople) -> NDArray[np.float32]:
    """`[P,D]`: of each person's photos the one with the smallest total distance to the others."""
    chosen = []
    for person in range(len(people.names)):
        mine = people.embeddings[people.labels == person]
        chosen.append(mine[medoid(distances(mine))])
    return np.stack(chosen)


def medoid_table(people: EmbeddedPeople) -> NDArray[np.float64]:
    """`[P,P]` Euclidean distances between the people's medoids.

    Example:
        >>> e = EmbeddedPeople(np.eye(2, dtype=np.float32), ("a", "b"))
        >>> medoid_table(e).round(4).tolist()
        [[0.0, 1.4142], [1.4142, 0.0]]
    """
    return distances(medoids(people))
