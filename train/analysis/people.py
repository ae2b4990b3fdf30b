"""Embeddings of named people, and how they are divided into photos that enrol and photos that are named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError

Rows = NDArray[np.intp]

TRAIN = "train"
"""The split whose photos enrol people, where there are splits."""


@dataclass(frozen=True, slots=True)
class EmbeddedPeople:
    """Photos of named people, as an embedder sees them.

    Example:
        >>> e = EmbeddedPeople(np.eye(3, dtype=np.float32), ("b", "a", "b"))
        >>> e.names, e.labels.tolist()
        (('a', 'b'), [1, 0, 1])
    """

    embeddings: NDArray[np.float32]
    """`[N,D]` unit vectors."""
    people: tuple[str, ...]
    """`[N]` who each photo shows."""
    splits: tuple[str, ...] = ()
    """`[N]` `train`, `dev` or `test`; empty where there are no splits."""

    def __post_init__(self) -> None:
        if len(self.embeddings) != len(self.people) or (self.splits and len(self.splits) != len(self.people)):
            raise ValueError(f"{len(self.embeddings) = }, {len(self.people) = }, {len(self.splits) = }")

    @property
    def names(self) -> tuple[str, ...]:
        """The people, sorted."""
        return tuple(sorted(set(self.people)))

    @property
    def labels(self) -> Rows:
        """`[N]` positions in `names`."""
        place = {name: i for i, name in enumerate(self.names)}
        return np.array([place[p] for p in self.people], np.intp)

    def rows(self, *splits: str) -> Rows:
        """The photos of those splits."""
        return np.flatnonzero(np.isin(np.array(self.splits), splits)).astype(np.intp)

    def select(self, rows: Rows) -> EmbeddedPeople:
        """Some of the photos."""
        return EmbeddedPeople(
            self.embeddings[rows],
            tuple(self.people[i] for i in rows),
            tuple(self.splits[i] for i in rows) if self.splits else (),
        )


@dataclass(frozen=True, slots=True)
class Division:
    """Photos that people are enrolled with, and photos of them to be named: no photo is both."""

    enrolled: Rows
    probes: Rows


def divide(people: EmbeddedPeople, photos_each: int = 10, draws: int = 20, seed: int = 0) -> tuple[Division, ...]:
    """How naming is to be tested.

    Where there is a `train` split, it enrols and the other photos are named: one division. Else `photos_each` photos of
    everybody are drawn to enrol, never more than half of a person's, and the rest is named; `draws` times.

    Raises:
        InputError: somebody has one photo only, or none in the `train` split; there is nobody to be named.
    """
    labels, names = people.labels, people.names
    if TRAIN in people.splits:
        enrolled = people.rows(TRAIN)
        missing = sorted(set(range(len(names))) - set(labels[enrolled].tolist()))
        if missing:
            raise InputError(f"{names[missing[0]]} has no photo in the train split to be enrolled with")
        probes = np.setdiff1d(np.arange(len(labels)), enrolled)
        if not len(probes):
            raise InputError("all photos are in the train split; nothing is left to be named")
        return (Division(enrolled, probes),)
    sizes = np.bincount(labels)
    if sizes.min() < 2:
        raise InputError(
            f"{names[int(sizes.argmin())]} has a single photo; two are needed, one to enrol and one to be named"
        )
    rng = np.random.default_rng(seed)
    divisions = []
    for _ in range(draws):
        chosen = [
            rng.choice(np.flatnonzero(labels == person), min(photos_each, size // 2), replace=False)
            for person, size in enumerate(sizes.tolist())
        ]
        enrolled = np.sort(np.concatenate(chosen)).astype(np.intp)
        divisions.append(Division(enrolled, np.setdiff1d(np.arange(len(labels)), enrolled)))
    return tuple(divisions)
