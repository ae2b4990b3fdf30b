"""What the six experiments are: networks, losses, sizes and schedules, in one frozen record."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np

from engine.errors import InputError
from train.models.facenet_layers import Normalisation
from train.models.inception_v3 import SMALLEST, build_inception_v3
from train.models.nn1 import build_nn1
from train.models.nn2 import build_nn2

NetworkName = Literal["nn1", "nn2", "inception_v3"]
LossName = Literal["triplet", "binary"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
LOSSES: tuple[LossName, ...] = get_args(LossName)
EXPERIMENTS: tuple[tuple[NetworkName, LossName], ...] = tuple((n, loss) for n in NETWORKS for loss in LOSSES)
TITLES = {"nn1": "NN1", "nn2": "NN2", "inception_v3": "InceptionV3"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the results, apart from the data and the network that teaches."""

    side: int = 96
    """Of the faces, pixels; the papers' are 220, 224 and 299."""
    normalisation: Normalisation = "batch"
    """Of NN1 and NN2."""
    pretrain_steps: int = 960
    batch: int = 32
    """Faces a step of the pretraining and of the triplet loss; pairs a step of the binary classification."""
    pretrain_rate: float = 5e-4
    """Peak of Adam's learning rate."""
    relation_weight: float = 0.2
    pairs_share: float = 0.5
    """Of all pairs of training photos, this share is seen in the binary classification; the triplet loss sees as many
    faces."""
    momentum: float = 0.9
    rate: float = 0.02
    """Peak of SGD's learning rate in the experiments."""
    margin: float = 0.2
    warm_up: float = 0.05
    """Part of every schedule in which the rate rises from nought; the rest of it is half a cosine."""
    snapshots: int = 6
    seed: int = 1
    imagenet: str = ""
    """SHA-256 of the file of ImageNet weights for InceptionV3; empty: from scratch."""

    def __post_init__(self) -> None:
        if self.side < SMALLEST:
            raise InputError(f"faces of {self.side} px are too small: InceptionV3 needs at least {SMALLEST}")

    def steps(self, loss: LossName, photos: int) -> int:
        """Batches of an experiment with so many training photos: the pairs are counted in the write-up's way."""
        pairs = round(self.pairs_share * photos * (photos - 1) / 2 / self.batch)
        return max(1, pairs if loss == "binary" else 2 * pairs)

    def schedule(self, step: int, steps: int, peak: float) -> float:
        """Learning rate of `step` (from 0) of `steps`: up in a line, down along half a cosine to a hundredth."""
        rise = max(1.0, self.warm_up * steps)
        if step + 1 <= rise:
            return peak * (step + 1) / rise
        done = (step + 1 - rise) / max(1.0, steps - rise)
        return peak * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * done))))

    def snapshot_steps(self, steps: int) -> tuple[int, ...]:
        """After which steps the twelve people's embeddings are kept: 0, then ever farther apart, up to the last."""
        later = np.geomspace(max(1, steps / 2 ** (self.snapshots - 2)), steps, max(1, self.snapshots - 1))
        return tuple(sorted({0, *(round(s) for s in later)}))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def build(network: NetworkName, plan: Plan, imagenet: Path | None = None) -> keras.Model:
    """One of the three networks for faces of `plan.side` px; `imagenet` is for InceptionV3 alone.

    Raises:
        InputError: the file of weights cannot be used.
    """
    if network == "nn1":
        return build_nn1(plan.side, plan.normalisation)
    if network == "nn2":
        return build_nn2(plan.side, plan.normalisation)
    return build_inception_v3(plan.side, imagenet)


def same_plan(text: str, plan: dict[str, Any]) -> list[str]:
    """The settings in which a plan written as JSON differs from `plan`, in words; empty where they agree.

    Raises:
        ValueError: it is no plan.
    """
    kept = json.loads(text)
    if not isinstance(kept, dict):
        raise ValueError("not an object")
    keys = sorted(kept.keys() | plan.keys())
    return [f"{k} was {kept.get(k)!r}, now {plan.get(k)!r}" for k in keys if kept.get(k) != plan.get(k)]
