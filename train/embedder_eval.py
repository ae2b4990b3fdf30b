"""Measuring an embedder: on people kept aside from the training collection, on LFW, on a small group, at 24 px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.metrics import at_least, bootstrap_interval, fold_accuracy, tar_at_far
from engine.prototypes import choose
from train.data.faces import FACE, FaceSet, Pairs, Split

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


DRAWS = 200
"""Of a bootstrap for which a threshold is chosen anew every time."""


def pair_figures(embed: Embed, pairs: Pairs, name: str) -> list[Figure]:
    """10-fold accuracy and TAR at FAR 1e-3 on a verification benchmark, each with a bootstrap interval over pairs."""
    s = pairs.similarities(embed(pairs.pictures))
    folds = fold_accuracy(s, pairs.same)
    chosen = np.repeat(folds.thresholds, len(s) // len(folds.thresholds))
    kinds = np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)
    rng = np.random.default_rng(0)
    tars = []
    for _ in range(DRAWS):
        rows = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        tars.append(tar_at_far(s[rows], pairs.same[rows], 1e-3)[0])
    tar, count = tar_at_far(s, pairs.same, 1e-3)[0], int(pairs.same.sum())
    return [
        _share(f"{name}: accuracy (10-fold)", (s >= chosen) == pairs.same),
        Figure(f"{name}: TAR at FAR 1e-3", tar, *_interval(tars, tar, count), count),
    ]


def _interval(tars: list[float], tar: float, count: int) -> tuple[float, float]:
    low, high = np.quantile(tars, [0.025, 0.975])
    return at_least((float(low), float(high)), tar, count)


def photos_figure(name: str, embeddings: NDArray[np.float32], people: tuple[str, ...], far: float) -> Figure:
    """TAR over all pairs of photos; its interval is over photos, since pairs that share one are not independent."""
    embeddings, who = embeddings[np.array(people) != ""], np.array([p for p in people if p])
    similarities, same = embeddings @ embeddings.T, who[:, None] == who[None]
    upper = np.triu(np.ones_like(same), 1)
    tar, _ = tar_at_far(similarities[upper], same[upper], far)
    rng = np.random.default_rng(0)
    tars = []
    for _ in range(DRAWS):
        rows = rng.integers(len(who), size=len(who))
        drawn = np.ix_(rows, rows)
        other = np.triu(rows[:, None] != rows[None])  # a photo that was drawn twice is no pair
        tars.append(tar_at_far(similarities[drawn][other], same[drawn][other], far)[0])
    return Figure(name, tar, *_interval(tars, tar, len(who)), int(same[upper].sum()))


def rank1_figure(
    name: str, embeddings: NDArray[np.float32], people: tuple[str, ...], photos_each: int = 10, draws: int = 20
) -> Figure:
    """Who is it among a small group: `photos_each` photos of everybody, at most half of them, are drawn to enrol, the
    others are named by the nearest medoid; the mean over `draws` draws, the interval over photos."""
    who = np.array(people)
    names = np.unique(who)
    mine = [np.flatnonzero(who == n) for n in names]
    rng = np.random.default_rng(0)
    right, seen = np.zeros(len(who)), np.zeros(len(who))
    for _ in range(draws):
        enrolled = [rng.choice(rows, min(photos_each, (len(rows) + 1) // 2), replace=False) for rows in mine]
        prototypes = np.concatenate([choose(embeddings[rows], "medoid") for rows in enrolled])
        rest = np.setdiff1d(np.arange(len(who)), np.concatenate(enrolled))
        right[rest] += names[np.argmax(embeddings[rest] @ prototypes.T, axis=1)] == who[rest]
        seen[rest] += 1
    rates = right[seen > 0] / seen[seen > 0]
    return Figure(name, float(rates.mean()), *bootstrap_interval(rates), len(rates))


def group_figures(embed: Embed, photos: FaceSet, which: str) -> list[Figure]:
    """Who is it among a small group, and is it the same person; `which` says which photos of it they are."""
    photos = photos.select(np.array([person != "" for person in photos.people]))
    embeddings = embed(photos.centre())
    return [
        rank1_figure(f"group, {which}: rank-1 of {len(set(photos.people))}", embeddings, photos.people),
        photos_figure(f"group, {which}: TAR at FAR 1e-2", embeddings, photos.people, 1e-2),
    ]


def all_group_figures(embed: Embed, split: Split) -> list[Figure]:
    """Those of the test photos, of which nothing was chosen, and those of both parts that nobody learned names from."""
    both = split.group_dev.and_then(split.group_test)
    return [*group_figures(embed, split.group_test, "test"), *group_figures(embed, both, "dev and test")]


def all_figures(embed: Embed, split: Split, lfw: Pairs) -> list[Figure]:
    """Every figure of the model card."""
    return [
        *pair_figures(embed, lfw, "LFW"),
        *pair_figures(lambda faces: embed(shrink(faces, 24)), lfw, "LFW at 24 px"),
        photos_figure("dev people: TAR at FAR 1e-3", embed(split.dev.centre()), split.dev.people, 1e-3),
        *all_group_figures(embed, split),
    ]
