"""Measuring an embedder: on people of the training collection that were kept aside, on LFW, on a small group, on 24 px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.metrics import bootstrap_interval, fold_accuracy, rank1, tar_at_far
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
    s, same = all_pairs(embed(dev.centre()), dev.people)
    g, g_same = all_pairs(embed(group.centre()), group.people)
    tar3, threshold = tar_at_far(s, same, 1e-3)
    return {
        "dev_tar_1e-3": tar3,
        "dev_tar_1e-4": tar_at_far(s, same, 1e-4)[0],
        "dev_threshold_1e-3": threshold,
        "group_dev_tar_1e-2": tar_at_far(g, g_same, 1e-2)[0],
        "group_dev_threshold_1e-2": tar_at_far(g, g_same, 1e-2)[1],
    }
