"""Measuring an embedder: on people kept aside from the training collection, on LFW, on a small group, at 24 px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.metrics import bootstrap_interval, fold_accuracy, tar_at_far
from train.data.faces import FACE, FaceSet, Pairs

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From RGB faces `[N,112,112,3]` to unit vectors `[N,D]`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float
    count: int
    """Pairs or faces it was measured on."""


def all_pairs(
    embeddings: NDArray[np.float32], people: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cosines of every two faces and whether both show one person; faces without a name are left out."""
    names = np.array(people)
    known = np.flatnonzero(names != "")
    i, j = np.triu_indices(len(known), 1)
    return (embeddings[known] @ embeddings[known].T)[i, j], names[known][i] == names[known][j]


def dev_figures(embed: Embed, dev: FaceSet, group: FaceSet) -> dict[str, float]:
    """Quick figures for choosing settings: TAR at FAR 1e-3 on the dev people, at 1e-2 on the group's dev photos."""
    return figures_of(embed(dev.centre()), dev.people, embed(group.centre()), group.people)


def figures_of(
    dev: NDArray[np.float32], dev_people: tuple[str, ...], group: NDArray[np.float32], group_people: tuple[str, ...]
) -> dict[str, float]:
    """`dev_figures` of faces that are embedded already."""
    scores, same = all_pairs(dev, dev_people)
    tar3, threshold = tar_at_far(scores, same, 1e-3)
    group_tar, group_threshold = tar_at_far(*all_pairs(group, group_people), 1e-2)
    return {
        "dev_tar_1e-3": tar3,
        "dev_tar_1e-4": tar_at_far(scores, same, 1e-4)[0],
        "dev_threshold_1e-3": threshold,
        "group_dev_tar_1e-2": group_tar,
        "group_dev_threshold_1e-2": group_threshold,
    }


def _share(name: str, hits: NDArray[np.bool_]) -> Figure:
    return Figure(name, float(hits.mean()), *bootstrap_interval(hits), len(hits))


def shrink(faces: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`faces` as they would look after being only `side` px large: scaled down by area, up again by cubics."""
    small = [cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA) for f in faces]
    return np.stack([cv2.resize(f, (FACE, FACE), interpolation=cv2.INTER_CUBIC) for f in small]).astype(np.uint8)


def pair_figures(embed: Embed, pairs: Pairs, name: str) -> list[Figure]:
    """10-fold accuracy and TAR at FAR 1e-3 on a verification benchmark, each with a bootstrap interval over pairs."""
    s = pairs.similarities(embed(pairs.pictures))
    folds = fold_accuracy(s, pairs.same)
    chosen = np.repeat(folds.thresholds, len(s) // len(folds.thresholds))
    tar, threshold = tar_at_far(s, pairs.same, 1e-3)
    return [
        _share(f"{name}: accuracy (10-fold)", (s >= chosen) == pairs.same),
        Figure(f"{name}: TAR at FAR 1e-3", tar, *bootstrap_interval(s[pairs.same] >= threshold), int(pairs.same.sum())),
    ]


def medoid(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one of `embeddings` `[N,D]` that is nearest to all the others together."""
    return np.asarray(embeddings[int(np.argmax((embeddings @ embeddings.T).sum(axis=1)))], np.float32)


def group_figures(embed: Embed, photos: FaceSet, photos_each: int = 10, draws: int = 20) -> list[Figure]:
    """Who is it among a small group, and is it the same person.

    Rank-1: ten photos of each person are drawn to enrol (their medoid is the prototype), the other photos are named;
    the mean over `draws` draws, the interval over photos. TAR at FAR 1e-2 over all pairs of photos; its interval is
    over photos too, since pairs that share a photo are not independent.
    """
    embeddings, people = embed(photos.centre()), np.array(photos.people)
    names = np.unique(people)
    rng = np.random.default_rng(0)
    right, seen = np.zeros(len(people)), np.zeros(len(people))
    for _ in range(draws):
        enrolled = [rng.choice(np.flatnonzero(people == n), photos_each, replace=False) for n in names]
        prototypes = np.stack([medoid(embeddings[rows]) for rows in enrolled])
        rest = np.setdiff1d(np.arange(len(people)), np.concatenate(enrolled))
        right[rest] += names[np.argmax(embeddings[rest] @ prototypes.T, axis=1)] == people[rest]
        seen[rest] += 1
    rates = right[seen > 0] / seen[seen > 0]
    similarities, same = embeddings @ embeddings.T, people[:, None] == people[None]
    upper = np.triu(np.ones_like(same), 1)
    tar, _ = tar_at_far(similarities[upper], same[upper], 1e-2)
    tars = []
    for _ in range(200):
        count = np.bincount(rng.integers(len(people), size=len(people)), minlength=len(people))
        rows = np.repeat(np.arange(len(people)), count)
        i, j = np.triu_indices(len(rows), 1)
        i, j = rows[i], rows[j]
        other = i != j
        tars.append(tar_at_far(similarities[i, j][other], same[i, j][other], 1e-2)[0])
    low, high = np.quantile(tars, [0.025, 0.975])
    return [
        Figure(f"group: rank-1 of {len(names)}", float(rates.mean()), *bootstrap_interval(rates), len(rates)),
        Figure("group: TAR at FAR 1e-2", tar, float(low), float(high), len(people)),
    ]


def all_figures(embed: Embed, dev: FaceSet, group: FaceSet, lfw: Pairs) -> list[Figure]:
    """Every figure of the model card."""
    s, same = all_pairs(embed(dev.centre()), dev.people)
    tar, threshold = tar_at_far(s, same, 1e-3)
    return [
        *pair_figures(embed, lfw, "LFW"),
        *pair_figures(lambda faces: embed(shrink(faces, 24)), lfw, "LFW at 24 px"),
        Figure("dev people: TAR at FAR 1e-3", tar, *bootstrap_interval(s[same] >= threshold), int(same.sum())),
        *group_figures(embed, group),
    ]
