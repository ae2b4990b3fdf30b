"""The recipe of the shipped embedder: distillation of two teachers into a compact network.

For every step new views are made (`train.data.views`) and the teachers are asked about them. The schedule is a cosine
with warm-up; an average of the weights is kept, which is what gets shipped. The state is saved every few minutes; with
`resume` a training goes on exactly where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from train.ahead import ahead
from train.checkpoint import Kept
from train.compiled_step import CompiledStep
from train.data.views import Strength, ViewMaker, Views
from train.loop import Logged, Say, go_on, prepare_folder, run_steps, write_recipe
from train.losses.distillation import embedding_loss
from train.models.dlib_resnet import DlibDesign
from train.models.embedder import EmbedderDesign
from train.models.layers import arithmetic
from train.models.mobilefacenet import PRELU, MobileFaceNetDesign

Design = EmbedderDesign | DlibDesign | MobileFaceNetDesign

Teach = Callable[[NDArray[np.uint8]], Any]
"""From faces `[N,112,112,3]` to the unit vectors `[N,D]` that the student should answer with."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result of a training, apart from the data."""

    steps: int
    """Length of the schedule. A resumed run may be given another one; the learning rate follows the new curve."""
    batch: int = 32
    warm_up: int = 100
    peak_rate: float = 1.5e-3
    last_rate: float = 1e-6
    weight_decay: float = 0.02
    relation_weight: float = 0.2
    others: int = 2048
    """Further targets that each face is compared with, drawn from those of all training faces."""
    averaging: float = 0.999
    """Decay a step of the running average of the weights, smaller at the start."""
    seed: int = 1
    bfloat16: bool = False
    """Whether the layers between pixels and embedding compute in bfloat16 while they learn."""
    design: Design = field(default_factory=DlibDesign)
    frozen: tuple[str, ...] = ()
    """Layers whose names match one of these patterns (`level1*`) keep the weights they have at the start (but for the
    slopes that `straighten` takes away)."""
    straighten: float = 0.0
    """Part of the steps over which the slopes of PReLUs, which learn nothing then, go to 0; 0: they stay."""
    strength: Strength = field(default_factory=Strength)
    plain: float = 0.5
    """Odds that a view is nearly the face as it is."""

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        frozen = f" without {'+'.join(self.frozen)}" if self.frozen else ""
        return f"{self.design.signature} adamw average{frozen}{' straightened' if self.straighten else ''}"

    def rate(self, step: int) -> float:
        """Learning rate of `step` (from 0): linear warm-up, then half a cosine down to `last_rate`."""
        if step < self.warm_up:
            return self.peak_rate * (step + 1) / self.warm_up
        done = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        return self.last_rate + (self.peak_rate - self.last_rate) * 0.5 * (1 + float(np.cos(np.pi * done)))

    def slope_left(self, step: int) -> float:
        """What is left of the slopes of PReLUs after so many steps, 1 at the start.

        Example:
            >>> [Recipe(steps=100, straighten=0.5).slope_left(step) for step in (0, 25, 50, 99)]
            [1.0, 0.5, 0.0, 0.0]
        """
        until = self.straighten * self.steps
        return max(0.0, 1.0 - step / until) if until else 1.0

    def views(self, pictures: Path, weights: NDArray[np.float64]) -> ViewMaker:
        """What the training learns from: views of `pictures` (`.npy`), drawn by `weights`."""
        return ViewMaker(pictures, weights, self.batch, self.seed, self.strength, self.plain)


class Trainer(Kept):
    """Network, average, optimiser and position: everything that a checkpoint holds.

    Args:
        recipe: of the training.
        teach: the targets for what the teachers see.
        bank: `[M,D]` targets of all training faces, to compare with.
        begin: may put weights into the new network; without it they are random.
    """

    def __init__(
        self,
        recipe: Recipe,
        teach: Teach,
        bank: NDArray[np.float32],
        begin: Callable[[keras.Model], None] | None = None,
    ) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self.step = recipe, 0
        self._teach, self._bank = teach, bank
        with arithmetic(recipe.bfloat16):
            self.network = recipe.design.build()
        if begin is not None:
            begin(self.network)
        self.average = recipe.design.build()
        self.average.set_weights(self.network.get_weights())
        self._slopes = [layer.alpha for layer in self.network.layers if isinstance(layer, keras.layers.PReLU)]
        frozen = (*recipe.frozen, *([f"*{PRELU}"] if recipe.straighten else []))
        for layer in self.network.layers:
            layer.trainable = not any(fnmatchcase(layer.name, pattern) for pattern in frozen)
        self.optimizer = keras.optimizers.AdamW(recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.optimizer.exclude_from_weight_decay([v for v in self.network.trainable_variables if len(v.shape) < 2])
        self.optimizer.build(self.network.trainable_variables)
        self._learn = CompiledStep(self.network, self.optimizer, self._loss, self.average)

    def _loss(self, students: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        targets = batch["targets"]
        cosine = ops.mean(ops.sum(students * targets, axis=-1))
        return embedding_loss(students, targets, batch["others"], self.recipe.relation_weight), {"cosine": cosine}

    def train_step(self, views: Views) -> dict[str, float]:
        """Learn from the views that belong to the step number."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, self.step, 1])
        others = self._bank[rng.choice(len(self._bank), min(recipe.others, len(self._bank)), replace=False)]
        batch = {"images": views.faces, "targets": self._teach(views.scenes), "others": others}
        keep = min(recipe.averaging, (1 + self.step) / (10 + self.step))
        left, then = recipe.slope_left(self.step), recipe.slope_left(self.step + 1)
        if then < 1:
            for slope in self._slopes:
                slope.assign(slope * (then / left if left else 0.0))
        parts = self._learn(batch, recipe.rate(self.step), keep)
        self.step += 1
        return parts

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        return self.recipe.architecture

    def parts(self) -> dict[str, Sequence[Any]]:
        """What a checkpoint holds."""
        return {
            "network": self.network.variables,
            "average": self.average.variables,
            "optimizer": self.optimizer.variables,
        }


def embed(network: Callable[[Any], Any], faces: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """Unit embeddings `[N,D]` of aligned RGB `faces` `[N,112,112,3]` by a Keras network or a function of pixels."""
    parts = [
        np.asarray(network(ops.convert_to_tensor(faces[i : i + batch], "float32"))) for i in range(0, len(faces), batch)
    ]
    return np.concatenate(parts)


def train_embedder(
    work: Path,
    recipe: Recipe,
    views: ViewMaker,
    teach: Teach,
    bank: NDArray[np.float32],
    *,
    resume: bool = False,
    begin: Callable[[keras.Model], None] | None = None,
    check: Callable[[keras.Model], dict[str, float]] | None = None,
    check_every: int = 500,
    save_every: float = 180.0,
    workers: int = 0,
    say: Say = print,
) -> keras.Model:
    """Train and return the averaged network.

    Args:
        work: folder for `checkpoint.npz` and `log.jsonl`.
        recipe: of the training.
        views: what is learned from (`Recipe.views`).
        teach: as `Trainer` takes it.
        bank: likewise.
        resume: go on from the checkpoint in `work`.
        begin: may put weights into the network of a run that is not resumed; without it they are random.
        check: figures of the averaged network for the log.
        check_every: steps.
        save_every: seconds between two checkpoints.
        workers: processes that make views beside this one; 0: this one makes them.
        say: is told every line of the log.

    Raises:
        InputError: no checkpoint to resume from, or the file of pictures is missing or damaged.
        OutputError: the checkpoint cannot be written.
    """
    prepare_folder(work, resume=resume)
    trainer = Trainer(recipe, teach, bank, None if resume else begin)
    spent = go_on(trainer, work, say) if resume else 0.0
    write_recipe(work, asdict(recipe), resume=resume, say=say)
    batches = ahead(views, trainer.step, recipe.steps, workers)

    def rest(due: Logged) -> dict[str, Any]:
        line = {"rate": round(recipe.rate(trainer.step), 7), "seconds": round(due.seconds, 1)}
        if due.judge and check is not None:
            line |= {key: round(value, 5) for key, value in check(trainer.average).items()}
        return line

    run_steps(
        trainer,
        recipe.steps,
        work,
        lambda: trainer.train_step(next(batches)),
        rest,
        log_every=100,
        judge_every=check_every,
        save_every=save_every,
        spent=spent,
        digits=5,
        say=say,
    )
    if recipe.straighten:
        for now, slow in zip(trainer.network.layers, trainer.average.layers, strict=True):
            if isinstance(now, keras.layers.PReLU):
                slow.set_weights(now.get_weights())  # what is gone is gone, not averaged
    return trainer.average
