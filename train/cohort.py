"""Making a cohort of strangers for an embedder out of a large collection of faces.

Only people of the part to learn from take part (`train.data.faces.split_faces`), so the rates on the people kept aside,
on the small group and on LFW stay honest. What is kept are aggregates: means of clusters of at least `FEWEST` people,
their weights and scatter.

Normal distributions around cluster means are too smooth: real strangers lie in small clumps, one for each person, and
galleries are resembled three times as often as the mixture says. The bare means on the other hand are average faces,
which resemble everybody: a tenth as often. So strangers are drawn at all distances from their mean, from a part of the
scatter that is right (`Cohort.narrowing`) to the whole of it; which part, is fitted with a cohort of one half of the
people and galleries and strangers of the other half. One parameter then serves galleries of 1 to 30 people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.calibration import FAR, mixture_threshold
from engine.cohort import Cohort
from engine.embedder import Embedder
from engine.errors import InputError
from engine.prototypes import distances, medoid
from train.data.faces import FaceSet, kept_aside, read_faces, read_names, split_faces

CLUSTERS = 256
FEWEST = 10
"""People behind a cluster, at least; smaller ones are joined to their nearest neighbours."""
_ROUNDS = 20
_GALLERY = 12
"""People in a gallery that the narrowing is fitted with."""
_PHOTOS = 6
"""Photos of each, at least."""
_GALLERIES = 40
_NARROWINGS = np.round(np.arange(0, 1.01, 0.1), 1)


@dataclass(frozen=True, slots=True)
class RealRate:
    """How often real strangers were given a name, at the thresholds that a cohort gave."""

    name: str
    """Who they are."""
    gallery: int
    """People in each gallery."""
    far: float
    """What was asked for."""
    measured: float
    """Mean share of strangers' faces over the galleries."""
    threshold: float
    """Mean."""
    strangers: int
    """Faces."""


def build_cohort(
    embeddings: NDArray[np.float32],
    people: tuple[str, ...],
    embedder: str,
    embedder_sha256: str,
    clusters: int = CLUSTERS,
    seed: int = 0,
) -> Cohort:
    """A cohort of named faces.

    Args:
        embeddings: float32 `[N,D]` unit vectors.
        people: who each one is; a face without a name (empty) is passed over.
        embedder: name of the network that made them.
        embedder_sha256: its fingerprint.
        clusters: at most; joined where one has fewer than `FEWEST` people.
        seed: of the clustering.

    Raises:
        InputError: too few people.
    """
    named = np.array(people) != ""
    x, names = embeddings[named].astype(np.float64), np.array(people)[named]
    half = np.array(list(kept_aside(names.tolist(), frozenset(), share=0.5)), np.bool_)
    first = _mixture(x[half], names[half], clusters, seed, embedder, embedder_sha256)
    narrowing = fit_narrowing(first, x[~half].astype(np.float32), names[~half])
    return replace(_mixture(x, names, clusters, seed, embedder, embedder_sha256), narrowing=narrowing)


def _mixture(
    x: NDArray[np.float64], names: NDArray[np.str_], clusters: int, seed: int, embedder: str, sha256: str
) -> Cohort:
    _, person, count = np.unique(names, return_inverse=True, return_counts=True)
    if len(count) < 2 * FEWEST:
        raise InputError(f"{len(count)} people are too few for a cohort; {2 * FEWEST} are needed, thousands are better")
    weight = 1 / count[person] / len(count)
    means, label = _clusters(x, weight, person, min(clusters, len(count) // FEWEST), seed)
    rest = x - means[label]
    covariance = (rest * weight[:, None]).T @ rest
    total = np.bincount(label, weight, len(means)).astype(np.float64)
    scatter = np.bincount(label, weight * (rest**2).sum(1), len(means)) / total
    behind = [len(np.unique(person[label == k])) for k in range(len(means))]
    return Cohort(
        means.astype(np.float32),
        total,
        scatter / np.trace(covariance),
        covariance,
        narrowing=1.0,
        people=len(count),
        faces=len(x),
        fewest=min(behind),
        embedder=embedder,
        embedder_sha256=sha256,
    )


def _clusters(
    x: NDArray[np.float64], weight: NDArray[np.float64], person: NDArray[np.intp], count: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weighted k-means (Lloyd); then the smallest clusters are given up, one by one, until all have `FEWEST` people."""
    rng = np.random.default_rng(seed)
    means = x[rng.choice(len(x), count, replace=False)]
    label = _nearest(x, means)
    for _ in range(_ROUNDS):
        means = _means(x, weight, label, means)
        label = _nearest(x, means)
    while True:
        behind = np.array([len(np.unique(person[label == k])) for k in range(len(means))])
        smallest = int(behind.argmin())
        if behind[smallest] >= FEWEST or len(means) == 1:
            return _means(x, weight, label, means), label
        means = np.delete(means, smallest, axis=0)
        moved = label == smallest
        label = np.where(label > smallest, label - 1, label)
        label[moved] = _nearest(x[moved], means)


def _nearest(x: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.asarray(((means**2).sum(1)[None] - 2 * x @ means.T).argmin(1), np.intp)


def _means(
    x: NDArray[np.float64], weight: NDArray[np.float64], label: NDArray[np.intp], before: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = np.bincount(label, weight, len(before))
    sums = np.zeros_like(before)
    np.add.at(sums, label, x * weight[:, None])
    return np.where(total[:, None] > 0, sums / np.maximum(total, 1e-12)[:, None], before)


def fit_narrowing(cohort: Cohort, x: NDArray[np.float32], names: NDArray[np.str_], far: float = FAR) -> float:
    """The narrowing at which galleries of these people measure nearest to `far` (by ratio) on the rest of them.

    Raises:
        InputError: too few people with enough photos.
    """
    rates = [
        real_rates(replace(cohort, narrowing=float(n)), x, names, {"": x}, sizes=(_GALLERY,), fars=(far,))[0].measured
        for n in _NARROWINGS
    ]
    return float(_NARROWINGS[int(np.argmin(np.abs(np.log(np.maximum(rates, 1e-6) / far))))])


def real_rates(
    cohort: Cohort,
    x: NDArray[np.float32],
    names: NDArray[np.str_],
    strangers: dict[str, NDArray[np.float32]],
    sizes: tuple[int, ...] = (1, 4, _GALLERY, 30),
    fars: tuple[float, ...] = (0.01, 0.001),
) -> list[RealRate]:
    """False-accept rates of real strangers at the thresholds that the cohort alone gives.

    Galleries are drawn from the people with at least `_PHOTOS` photos; the prototype is their medoid.

    Args:
        cohort: gives the thresholds.
        x: float32 `[N,D]` unit vectors of the people that galleries are made of.
        names: `[N]`.
        strangers: sets of unit vectors by name. Where a set is `x` itself, a gallery's own people are left out of it.

    Raises:
        InputError: fewer than two people with enough photos.
    """
    who, count = np.unique(names, return_counts=True)
    able = who[count >= _PHOTOS]
    if len(able) < 2:
        raise InputError(f"no two people have {_PHOTOS} photos; a cohort needs some to be fitted and measured with")
    prototypes = {n: x[names == n][medoid(distances(x[names == n]))] for n in able.tolist()}
    draws = cohort.draw(20_000)
    rates: list[RealRate] = []
    for size in sizes:
        if size >= len(able):
            continue
        rng = np.random.default_rng(size)
        galleries = [rng.choice(able, size, replace=False) for _ in range(_GALLERIES)]
        for far in fars:
            hits: dict[str, list[float]] = {name: [] for name in strangers}
            thresholds = []
            for members in galleries:
                known = np.stack([prototypes[n] for n in members.tolist()])
                threshold = mixture_threshold((draws @ known.T).max(1), np.zeros(0, np.float32), 0.0, far)
                thresholds.append(threshold)
                for name, faces in strangers.items():
                    others = faces[~np.isin(names, members)] if faces is x else faces
                    hits[name].append(float(((others @ known.T).max(1) >= threshold).mean()))
            rates += [
                RealRate(name, size, far, float(np.mean(h)), float(np.mean(thresholds)), len(strangers[name]))
                for name, h in hits.items()
            ]
    return rates


def train_cohort(faces: Path, embedder: Embedder, keep_aside: Path | None = None) -> tuple[Cohort, list[RealRate]]:
    """The cohort of the people in an archive of faces, and what it is worth on those kept aside.

    Args:
        faces: archive as `train.data.faces.read_faces` reads it.
        embedder: whose cohort it is.
        keep_aside: table of further people to keep aside, with a column `person`.

    Raises:
        InputError: the archive is missing or damaged, or holds too few people.
    """
    split = split_faces(read_faces(faces), frozenset() if keep_aside is None else read_names(keep_aside))
    learn = _large(split.learn)
    cohort = build_cohort(embedder.embed(learn.centre()), learn.people, embedder.name, embedder.sha256)
    dev = embedder.embed(split.dev.centre())
    return cohort, real_rates(cohort, dev, np.array(split.dev.people), {"people kept aside": dev})


def _large(faces: FaceSet) -> FaceSet:
    """The named people of the large collection; among the others the same people come again and again."""
    keep = [s == "celeb" and p != "" for s, p in zip(faces.sets, faces.people, strict=True)]
    return faces.select(np.array(keep, np.bool_))
