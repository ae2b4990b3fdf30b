"""The recipe of the shipped embedder: distillation of two teachers into a compact network, on one processor core.

`train_embedder` reads the views that `train.embedder_views` makes, follows a cosine schedule with warm-up, keeps an
average of the weights (which is what gets shipped) and saves its state every few minutes; with `resume` it goes on
exactly where it was.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from engine.errors import InputError
from train import checkpoint
from train.data.views import Shard, Strength, ViewStore, degrade
from train.losses.distillation import embedding_loss
from train.models.dlib_resnet import DlibDesign
from train.models.embedder import EmbedderDesign

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result of a training, apart from the data."""

    steps: int
    """Length of the schedule. A resumed run may be given another one; the learning rate follows the new curve."""
    batch: int = 32
    warm_up: int = 100
    peak_rate: float = 1.5e-3
    last_rate: float = 1e-5
    weight_decay: float = 0.02
    relation_weight: float = 0.2
    others: int = 2048
    """Further targets that each face is compared with."""
    epoch: int = 16_384
    """Views in an epoch, at most."""
    averaging: float = 0.999
    """Decay of the running average of the weights, smaller at the start."""
    seed: int = 1
    design: EmbedderDesign | DlibDesign = field(default_factory=EmbedderDesign)
    frozen: tuple[str, ...] = ()
    """Layers whose names match one of these patterns (`level1*`) keep the weights they have at the start."""
    strength: Strength = field(default_factory=Strength)

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        frozen = f" without {'+'.join(self.frozen)}" if self.frozen else ""
        return f"{self.design.signature} adamw average{frozen}"

    def rate(self, step: int) -> float:
        """Learning rate of `step` (from 0): linear warm-up, then half a cosine down to `last_rate`."""
        if step < self.warm_up:
            return self.peak_rate * (step + 1) / self.warm_up
        done = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        return self.last_rate + (self.peak_rate - self.last_rate) * 0.5 * (1 + float(np.cos(np.pi * done)))


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    faces: NDArray[np.uint8]
    """`[B,112,112,3]` RGB."""
    targets: NDArray[np.float32]
    """`[B,D]` unit vectors."""
    others: NDArray[np.float32]
    """`[M,D]` targets of other views, to compare with."""


Targets = Callable[[int, NDArray[np.float16]], NDArray[np.float32]]
"""From the number of a shard and the teachers' answers `[N,T]` to its views, to unit targets `[N,D]`."""


class Feed:
    """Batches of degraded views and targets, in an order that seed and position alone decide.

    An epoch is a shuffled draw, without repetition, of the views that exist when it begins; shards that appear
    meanwhile join the next.
    """

    def __init__(self, store: ViewStore, targets: Targets, recipe: Recipe) -> None:
        self._store, self._answer, self._recipe = store, targets, recipe
        self.epoch, self.position, self.shards = 0, 0, 0
        self._open: list[Shard] = []
        self._targets: list[NDArray[np.float32]] = []
        self._order: NDArray[np.intp] = np.zeros(0, np.intp)
        self._starts: NDArray[np.intp] = np.zeros(1, np.intp)

    def seek(self, epoch: int, position: int, shards: int) -> None:
        """Go to `position` (in batches) of `epoch`, which began with `shards` shards."""
        if shards < 1 or self._store.count() < shards:
            raise InputError(
                f"{self._store.folder} holds {self._store.count()} shards of views, {max(shards, 1)} are needed"
            )
        while len(self._open) < shards:
            shard = self._store.open(len(self._open))
            self._targets.append(self._answer(len(self._open), np.asarray(shard.targets)))
            self._open.append(shard)
        self.epoch, self.position, self.shards = epoch, position, shards
        self._starts = np.cumsum([0] + [len(s.faces) for s in self._open[:shards]])
        rng = np.random.default_rng([self._recipe.seed, 1, epoch])
        self._order = rng.permutation(int(self._starts[-1]))[: self._recipe.epoch]
        if len(self._order) < self._recipe.batch:
            raise InputError(f"{len(self._order)} views are fewer than one batch of {self._recipe.batch}")

    def next(self, step: int) -> Batch:
        """The batch for `step`."""
        batch = self._recipe.batch
        if self.shards == 0:
            self.seek(0, 0, self._store.count())
        if (self.position + 1) * batch > len(self._order):
            self.seek(self.epoch + 1, 0, self._store.count())
        rows = self._order[self.position * batch : (self.position + 1) * batch]
        self.position += 1
        rng = np.random.default_rng([self._recipe.seed, 2, step])
        which = np.searchsorted(self._starts, rows, side="right") - 1
        faces, targets = [], []
        for shard, row in zip(which, rows - self._starts[which], strict=True):
            faces.append(degrade(rng, np.asarray(self._open[shard].faces[row]), self._recipe.strength))
            targets.append(self._targets[shard][row])
        shard = self._targets[int(rng.integers(self.shards))]
        others = shard[rng.choice(len(shard), min(self._recipe.others, len(shard)), replace=False)]
        return Batch(np.stack(faces), np.stack(targets), others)


class Trainer:
    """Network, average, optimiser and position: everything that a checkpoint holds."""

    def __init__(self, recipe: Recipe, feed: Feed, begin: Callable[[keras.Model], None] | None = None) -> None:
        """`begin` may put weights into the new network; without it they are random."""
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self.feed, self.step = recipe, feed, 0
        self.network = recipe.design.build()
        if begin is not None:
            begin(self.network)
        self.average = recipe.design.build()
        self.average.set_weights(self.network.get_weights())
        for layer in self.network.layers:
            layer.trainable = not any(fnmatchcase(layer.name, pattern) for pattern in recipe.frozen)
        self.optimizer = keras.optimizers.AdamW(recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.optimizer.exclude_from_weight_decay([v for v in self.network.trainable_variables if len(v.shape) < 2])
        self.optimizer.build(self.network.trainable_variables)
        self._compiled = tf.function(self._learn, jit_compile=False)

    def _learn(
        self, faces: tf.Tensor, targets: tf.Tensor, others: tf.Tensor, rate: tf.Tensor, keep: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            students = self.network(tf.cast(faces, tf.float32), training=True)
            loss = embedding_loss(students, targets, others, self.recipe.relation_weight)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for mean, now in zip(self.average.variables, self.network.variables, strict=True):
            if now.dtype == "float32":
                mean.assign(mean.value * keep + now.value * (1.0 - keep))
        return loss

    def _parts(self) -> dict[str, list[Any]]:
        return {
            "network": list(self.network.variables),
            "average": list(self.average.variables),
            "optimizer": list(self.optimizer.variables),
        }

    def save(self, path: Path, position: tuple[int, int, int]) -> None:
        """Write the state after the last step; `position` is the feed's before any batch was made ahead."""
        record = {"step": self.step, "feed": list(position), "seed": self.recipe.seed}
        checkpoint.save(path, self.recipe.architecture, self._parts(), record)

    def load(self, path: Path) -> None:
        """Go on from the state at `path`.

        Raises:
            InputError: no checkpoint, damaged, of another architecture, or the views it used are gone.
        """
        state = checkpoint.load(path, self.recipe.architecture)
        for part, variables in self._parts().items():
            checkpoint.assign(variables, state.arrays[part])
        self.step = int(state.record["step"])
        epoch, position, shards = state.record["feed"]
        if shards:
            self.feed.seek(epoch, position, shards)

    def run(
        self,
        until: int,
        each: Callable[[int, float], None] | None = None,
        save_to: Path | None = None,
        save_every: float = 180.0,
    ) -> None:
        """Learn up to step `until`; calls `each(step, loss)`, saves every `save_every` seconds and at the end."""
        saved = time.monotonic()

        def prepare(step: int) -> tuple[Batch, tuple[int, int, int]]:
            return self.feed.next(step), (self.feed.epoch, self.feed.position, self.feed.shards)

        position = (self.feed.epoch, self.feed.position, self.feed.shards)
        with ThreadPoolExecutor(1, "views") as ahead:
            coming: Future[Any] | None = ahead.submit(prepare, self.step) if self.step < until else None
            while coming is not None:
                batch, position = coming.result()
                coming = ahead.submit(prepare, self.step + 1) if self.step + 1 < until else None
                keep = min(self.recipe.averaging, (1 + self.step) / (10 + self.step))
                rate = tf.constant(self.recipe.rate(self.step), tf.float32)
                arrays = [tf.constant(a) for a in (batch.faces, batch.targets, batch.others)]
                loss = float(self._compiled(*arrays, rate, tf.constant(keep, tf.float32)))
                self.step += 1
                if save_to is not None and time.monotonic() - saved > save_every:
                    self.save(save_to, position)
                    saved = time.monotonic()
                if each is not None:
                    each(self.step, loss)
        if save_to is not None:
            self.save(save_to, position)


def embed(network: Callable[[tf.Tensor], tf.Tensor], faces: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """Unit embeddings `[N,D]` of aligned RGB `faces` `[N,112,112,3]` by a Keras network or a function of pixels."""
    parts = [np.asarray(network(tf.constant(faces[i : i + batch], tf.float32))) for i in range(0, len(faces), batch)]
    return np.concatenate(parts)


def use_one_core() -> None:
    """Let TensorFlow and OpenCV compute on one thread, here and from now on; before anything is computed."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cv2.setNumThreads(1)


def train_embedder(
    work: Path,
    recipe: Recipe,
    targets: Targets,
    *,
    resume: bool = False,
    begin: Callable[[keras.Model], None] | None = None,
    check: Callable[[keras.Model], dict[str, float]] | None = None,
    check_every: int = 500,
) -> keras.Model:
    """Train on the views in `work/views` with `targets` made of the teachers' answers; returns the averaged network.

    A run that is not resumed starts from random weights, or from those that `begin` puts into the network.
    Writes `work/checkpoint.npz`, `work/average.weights.h5` and one JSON line per check to `work/log.jsonl`.

    Raises:
        InputError: no views, or no checkpoint to resume from.
        OutputError: the checkpoint cannot be written.
    """
    trainer = Trainer(recipe, Feed(ViewStore(work / "views"), targets, recipe), None if resume else begin)
    state = work / "checkpoint.npz"
    if resume:
        trainer.load(state)
        log.info("resumed at step %d of %d", trainer.step, recipe.steps)
    losses: list[float] = []
    start, first = time.monotonic(), trainer.step

    def each(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 100 and step != recipe.steps:
            return
        line: dict[str, float] = {
            "step": step,
            "loss": round(float(np.mean(losses)), 5),
            "rate": round(recipe.rate(step), 7),
            "epoch": trainer.feed.epoch,
            "shards": trainer.feed.shards,
            "faces_per_second": round((step - first) * recipe.batch / (time.monotonic() - start), 1),
        }
        losses.clear()
        if check is not None and (step % check_every == 0 or step == recipe.steps):
            trainer.average.save_weights(work / "average.weights.h5")
            line |= {key: round(value, 5) for key, value in check(trainer.average).items()}
        log.info("%s", line)
        with (work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    trainer.run(recipe.steps, each, state)
    trainer.average.save_weights(work / "average.weights.h5")
    return trainer.average
