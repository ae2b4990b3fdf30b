"""Who is it, and is it the same person: accuracy of embeddings, by the definitions of `engine.metrics`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.metrics import OpenSet, Roc, bootstrap_interval, confusion, open_set, roc, tar_at_far
from engine.prototypes import Method, choose
from train.analysis.people import Division, EmbeddedPeople, Rows

FARS = (1e-2, 1e-3)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95 % bootstrap interval over photos."""

    value: float
    low: float
    high: float
    count: int
    """Photos (or pairs) it was measured on."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What came of naming photos by their nearest prototype; photos repeat where several divisions were made."""

    photo: Rows
    """`[M]` which photo."""
    truth: Rows
    """`[M]` who it shows."""
    similarities: NDArray[np.float32]
    """`[M,P]` cosine to the nearest prototype of each person."""

    @property
    def named(self) -> Rows:
        """`[M]` the nearest person; of equal ones the first."""
        return np.asarray(np.argmax(self.similarities, axis=1), np.intp)

    @property
    def rank1(self) -> Rate:
        """Share of right names: the mean over photos of how often each was named rightly."""
        return self.share(self.named == self.truth)

    def share(self, hits: NDArray[np.bool_]) -> Rate:
        """Of `hits` `[M]`, each photo counting once."""
        times = np.bincount(self.photo)
        seen = times > 0
        rates = np.bincount(self.photo, hits)[seen] / times[seen]
        return Rate(float(rates.mean()), *bootstrap_interval(rates), int(seen.sum()))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """`[P,P]` how many of person i were named j."""
        return confusion(self.truth, self.named, self.similarities.shape[1])

    def open_set(self) -> OpenSet:
        """Every photo once as somebody known, and once as a stranger: with its own person taken out.

        Raises:
            ValueError: there is one person only.
        """
        own = np.zeros_like(self.similarities, dtype=np.bool_)
        own[np.arange(len(self.truth)), self.truth] = True
        others = np.where(own, -np.inf, self.similarities).max(axis=1)
        return open_set(self.similarities.max(axis=1), self.named == self.truth, others[np.isfinite(others)])

    def among(self, group: Sequence[int]) -> Rate | None:
        """Confusion inside `group`: share of the group's photos that get the name of another one of it.

        None where nobody of the group is shown.
        """
        members = np.isin(self.truth, group)
        if not members.any():
            return None
        inside = Naming(self.photo[members], self.truth[members], self.similarities[members])
        return inside.share(np.isin(inside.named, group) & (inside.named != inside.truth))


def name_photos(people: EmbeddedPeople, divisions: Sequence[Division], method: Method = "medoid") -> Naming:
    """Enrol and name as `divisions` say, with prototypes chosen by `method`."""
    labels, count = people.labels, len(people.names)
    parts = []
    for division in divisions:
        columns = []
        for person in range(count):
            photos = division.enrolled[labels[division.enrolled] == person]
            prototypes = choose(people.embeddings[photos], method)
            columns.append((people.embeddings[division.probes] @ prototypes.T).max(axis=1))
        parts.append(np.stack(columns, axis=1))
    photo = np.concatenate([division.probes for division in divisions])
    return Naming(photo, labels[photo], np.concatenate(parts))


@dataclass(frozen=True, slots=True)
class Verification:
    """Same person or not, over all pairs of photos."""

    roc: Roc
    same: int
    """Pairs of one person."""
    different: int
    tar: dict[float, Rate]
    """False accept rate → share of the same-person pairs accepted."""


def all_pairs(people: EmbeddedPeople) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cosines of every two photos, and whether both show one person."""
    i, j = np.triu_indices(len(people.people), 1)
    labels = people.labels
    cosines = people.embeddings.astype(np.float64) @ people.embeddings.T.astype(np.float64)
    return cosines[i, j], labels[i] == labels[j]


def verify(people: EmbeddedPeople, rounds: int = 200, seed: int = 0) -> Verification:
    """Over all pairs of `people`'s photos; intervals by drawing photos anew, since pairs share photos.

    Of more than 400 photos fewer than `rounds` draws are made, down to 20.

    Raises:
        ValueError: there are no pairs of one person, or none of two.
    """
    similarities, same = all_pairs(people)
    rng = np.random.default_rng(seed)
    count = len(people.people)
    cosines = people.embeddings @ people.embeddings.T
    labels = people.labels
    drawn: dict[float, list[float]] = {far: [] for far in FARS}
    for _ in range(min(rounds, max(20, int(rounds * (400 / count) ** 2)))):
        rows = np.sort(rng.integers(count, size=count))
        i, j = np.triu_indices(count, 1)
        i, j = rows[i], rows[j]
        i, j = i[i != j], j[i != j]
        alike = labels[i] == labels[j]
        if alike.any() and not alike.all():
            for far in FARS:
                drawn[far].append(tar_at_far(cosines[i, j], alike, far)[0])
    tar = {}
    for far in FARS:
        low, high = np.quantile(drawn[far], [0.025, 0.975]) if drawn[far] else (0.0, 1.0)
        tar[far] = Rate(tar_at_far(similarities, same, far)[0], float(low), float(high), int(same.sum()))
    return Verification(roc(similarities, same), int(same.sum()), int((~same).sum()), tar)


def closest_group(medoids: NDArray[np.float32], size: int = 3) -> tuple[int, ...]:
    """The `size` people whose medoids `[P,D]` have the smallest total distance among each other.

    All groups are tried where there are few people; else those that begin with one of the hundred closest pairs, which
    for three people and the distances of a metric is nearly always the same answer.
    """
    count = len(medoids)
    if count <= size:
        return tuple(range(count))
    apart = np.sqrt(np.maximum(0, 2 - 2 * (medoids @ medoids.T)))
    candidates: list[tuple[int, ...]]
    if count <= 40:
        candidates = list(itertools.combinations(range(count), size))
    else:
        i, j = np.triu_indices(count, 1)
        nearest = np.argsort(apart[i, j], kind="stable")[:100]
        candidates = []
        for a, b in zip(i[nearest].tolist(), j[nearest].tolist(), strict=True):
            group = [a, b]
            while len(group) < size:
                total = apart[:, group].sum(axis=1)
                total[group] = np.inf
                group.append(int(total.argmin()))
            candidates.append(tuple(sorted(group)))
    members = np.array(candidates)
    totals = apart[members[:, :, None], members[:, None, :]].sum(axis=(1, 2))
    return tuple(int(n) for n in members[int(totals.argmin())])
