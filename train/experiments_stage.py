"""One stretch of learning with one loss: the pretraining of a network, or one of the six experiments.

A stage knows its step and draws every batch from its seed and step alone, so a run that was killed goes on as if
nothing had happened.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train import checkpoint
from train.experiments_data import vary
from train.experiments_plan import LossName, Plan
from train.losses.distillation import embedding_loss
from train.losses.pairs import PairHead, pair_loss
from train.losses.triplet import triplet_loss
from train.sampling.mining import semi_hard_triplets
from train.sampling.uniform import Classes, UniformPairs

SAVE_EVERY = 240.0
"""Seconds between two checkpoints."""
OTHERS = 1024
"""Further targets that each face is compared with in the pretraining."""


def architecture(stage: str, network: keras.Model, plan: Plan) -> str:
    """What a checkpoint of a stage of that name has been made with."""
    return f"{stage} {network.name} {plan.side} px {plan.normalisation}"


class Stage(ABC):
    """A network, an optimiser and a position."""

    peak: float

    def __init__(self, name: str, network: keras.Model, plan: Plan, steps: int) -> None:
        self.name, self.network, self.plan, self.steps = name, network, plan, steps
        self.step = 0
        self.optimizer = self._optimizer()
        self.optimizer.build(self._trainable())
        self._learn = tf.function(self._update)

    @abstractmethod
    def _optimizer(self) -> keras.optimizers.Optimizer: ...

    @abstractmethod
    def _batch(self, rng: np.random.Generator) -> list[NDArray[Any]]:
        """What `_loss` is given, as arrays."""

    @abstractmethod
    def _loss(self, *batch: tf.Tensor) -> tf.Tensor:
        """The batch's loss, a scalar."""

    def _trainable(self) -> list[Any]:
        return list(self.network.trainable_variables)

    def _parts(self) -> dict[str, list[Any]]:
        return {"network": list(self.network.variables), "optimizer": list(self.optimizer.variables)}

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        return architecture(self.name, self.network, self.plan)

    def _update(self, rate: tf.Tensor, *batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._loss(*batch)
        variables = self._trainable()
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def run_step(self) -> float:
        """Learn from the next batch and give its loss."""
        # Not the network's name: all three meet the same photos in the same order.
        seed = [self.plan.seed, *self.name.encode(), self.step]
        batch = [tf.constant(array) for array in self._batch(np.random.default_rng(seed))]
        rate = tf.constant(self.plan.schedule(self.step, self.steps, self.peak), tf.float32)
        loss = float(self._learn(rate, *batch))
        self.step += 1
        return loss

    def save(self, path: Path) -> None:
        """Write the state; of a finished stage the network alone, nobody goes on from there.

        Raises:
            OutputError: it cannot be written.
        """
        parts = self._parts()
        if self.step >= self.steps:
            parts = {"network": parts["network"]}
        checkpoint.save(path, self.architecture, parts, {"step": self.step, "steps": self.steps})

    def load(self, path: Path) -> None:
        """Go on from the state at `path`.

        Raises:
            InputError: missing, damaged, or another network's.
        """
        state = checkpoint.load(path, self.architecture)
        for part, variables in self._parts().items():
            if part in state.arrays:
                checkpoint.assign(variables, state.arrays[part])
        self.step = int(state.record["step"])

    def run(self, path: Path, each: Callable[[int, float], None]) -> None:
        """Learn to the end, calling `each(step, loss)`; the state goes to `path` every few minutes and at the end."""
        saved = time.monotonic()
        while self.step < self.steps:
            loss = self.run_step()
            each(self.step, loss)
            if self.step == self.steps or time.monotonic() - saved >= SAVE_EVERY:
                self.save(path)
                saved = time.monotonic()


class Pretraining(Stage):
    """Distillation: the network learns to answer for a face as an embedder does that knows faces already."""

    def __init__(
        self,
        network: keras.Model,
        plan: Plan,
        faces: NDArray[np.uint8],
        targets: NDArray[np.float32],
    ) -> None:
        """Learn from `faces` `[R,128,128,3]` the unit vectors `targets` `[R,D]`."""
        self.peak = plan.pretrain_rate
        self.faces, self.targets = faces, targets
        super().__init__("pretraining", network, plan, plan.pretrain_steps)

    def _optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.plan.pretrain_rate)

    def _batch(self, rng: np.random.Generator) -> list[NDArray[Any]]:
        size = self.plan.batch
        epoch, position = divmod(self.step * size, len(self.faces))
        order = np.random.default_rng([self.plan.seed, 1, epoch]).permutation(len(self.faces))
        rows = order[np.arange(position, position + size) % len(order)]
        others = rng.choice(len(self.targets), min(OTHERS, len(self.targets)), replace=False)
        return [vary(rng, self.faces[rows], self.plan.side), self.targets[rows], self.targets[others]]

    def _loss(self, *batch: tf.Tensor) -> tf.Tensor:
        faces, targets, others = batch
        students = self.network(tf.cast(faces, tf.float32), training=True)
        return embedding_loss(students, targets, others, self.plan.relation_weight)


class _OfPeople(Stage):
    def __init__(
        self, name: LossName, network: keras.Model, plan: Plan, faces: NDArray[np.uint8], labels: NDArray[np.intp]
    ) -> None:
        self.peak = plan.rate
        self.faces, self.labels = faces, labels
        self.pairs = UniformPairs(Classes(labels))
        super().__init__(name, network, plan, plan.steps(name, len(faces)))

    def _optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(self.plan.rate, momentum=self.plan.momentum)


class TripletStage(_OfPeople):
    """Pairs of one person, drawn uniformly from all such pairs, fill a batch; the negatives are mined among its faces.

    One pass embeds the batch, chooses the semi-hard triplets and learns from them.
    """

    def __init__(self, network: keras.Model, plan: Plan, faces: NDArray[np.uint8], labels: NDArray[np.intp]) -> None:
        """Learn from `faces` `[N,128,128,3]` of the people `labels` `[N]`.

        Raises:
            InputError: no triplet can be made of them.
        """
        super().__init__("triplet", network, plan, faces, labels)

    def _batch(self, rng: np.random.Generator) -> list[NDArray[Any]]:
        rows = self.pairs.draw_positive(rng, self.plan.batch // 2).ravel()
        return [vary(rng, self.faces[rows], self.plan.side), self.labels[rows].astype(np.int32)]

    def _loss(self, *batch: tf.Tensor) -> tf.Tensor:
        faces, labels = batch
        embeddings = self.network(tf.cast(faces, tf.float32), training=True)
        return triplet_loss(embeddings, semi_hard_triplets(embeddings, labels), self.plan.margin)


class BinaryStage(_OfPeople):
    """As many pairs of one person as of two, each kind drawn uniformly, told apart by a head that learns along."""

    def __init__(self, network: keras.Model, plan: Plan, faces: NDArray[np.uint8], labels: NDArray[np.intp]) -> None:
        """Learn from `faces` `[N,128,128,3]` of the people `labels` `[N]`.

        Raises:
            InputError: pairs of both kinds cannot be made of them.
        """
        self.head = PairHead()
        self.head.build([(None, network.output.shape[-1])] * 2)
        super().__init__("binary", network, plan, faces, labels)

    def _trainable(self) -> list[Any]:
        return [*super()._trainable(), *self.head.trainable_variables]

    def _parts(self) -> dict[str, list[Any]]:
        return {**super()._parts(), "head": list(self.head.variables)}

    def _batch(self, rng: np.random.Generator) -> list[NDArray[Any]]:
        pairs, same = self.pairs.draw(rng, self.plan.batch)
        return [vary(rng, self.faces[pairs.T.ravel()], self.plan.side), same]

    def _loss(self, *batch: tf.Tensor) -> tf.Tensor:
        faces, same = batch
        first, second = tf.split(self.network(tf.cast(faces, tf.float32), training=True), 2)
        return pair_loss(self.head([first, second]), same)


STAGES: dict[LossName, type[TripletStage] | type[BinaryStage]] = {"triplet": TripletStage, "binary": BinaryStage}
