"""First half of the embedder's recipe: making augmented views and asking the teachers about them."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.faces import FaceSet, Split, read_faces, read_names, split_faces
from train.data.views import Strength, ViewStore, make_shard
from train.teachers import Teachers, fit_projection

log = logging.getLogger(__name__)

SHARD = 4096
"""Views per shard."""

PLAIN = Strength(blend=0, splice=0, warp=0, tint=0, shade=0, grey=0.02, occlude=0)
"""Faces nearly as they are: every other shard. The last one of an even number is such a one."""


def prepare(data: Path) -> Split:
    """Read `faces.zip` and `people12.csv` of the folder `data` and divide them.

    The twelve people are kept aside whole, so that experiments on them never meet a network that has seen them.

    Raises:
        InputError: a file is missing or damaged.
    """
    return split_faces(read_faces(data / "faces.zip"), read_names(data / "people12.csv"))


def weights_of(faces: FaceSet) -> NDArray[np.float64]:
    """How often each crop is drawn: those of the two small collections twice as often as those of the large one."""
    return np.where(np.array(faces.sets) == "celeb", 1.0, 2.0)


def make_views(faces: FaceSet, teachers: Teachers, store: ViewStore, shards: int, seed: int) -> None:
    """Fill `store` up to `shards` shards of `SHARD` views of `faces`; those already there are kept.

    Raises:
        OutputError: the store cannot be written.
    """
    cv2.setNumThreads(1)
    weights = weights_of(faces)
    for number in range(store.count(), shards):
        start = time.monotonic()
        strength = PLAIN if number % 2 else Strength()
        store.write(number, *make_shard(number, faces.pictures, SHARD, seed, teachers, strength, weights))
        log.info("shard %d of %d, %.0f s", number + 1, shards, time.monotonic() - start)


def main(data: Path, teachers: Path, work: Path, shards: int, seed: int = 1) -> None:
    """Make the views of `data`'s faces in `work/views`, asking the networks in the folder `teachers`."""
    os.nice(19)
    make_views(prepare(data).learn, Teachers(teachers), ViewStore(work / "views"), shards, seed)


def make_projection(faces: FaceSet, teachers: Teachers, path: Path, count: int = 4096, dimension: int = 128) -> None:
    """Fit the targets' projection on `count` undistorted `faces` and write it to `path` (`.npy`)."""
    rows = np.sort(np.random.default_rng(0).permutation(len(faces))[:count])
    answers = teachers(faces.select(rows).centre())
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, fit_projection(answers, dimension))
