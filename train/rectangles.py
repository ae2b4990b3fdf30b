"""The rectangles task: the write-up's proof that its detection loss teaches what it should.

Plots are made as they are needed, so none is seen twice; those that are judged come from another seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from engine.metrics import FaceTruth, average_precision, box_iou
from engine.nms import nms
from engine.types import Detections
from train.checkpoint import Kept
from train.compiled_step import CompiledStep, compiled_answers
from train.data.boxes import unknown_landmarks
from train.data.grid import decode_grid
from train.data.rectangles import PLOTS, SIDE, Plot, encode_plots, random_plots
from train.detector_sheets import write_png
from train.loop import Say, go_on, prepare_folder, run_steps, write_recipe
from train.loss_curve import draw_loss_curve
from train.losses.yolo import YoloWeights, yolo_loss
from train.models.layers import arithmetic
from train.models.rectangles import build_rectangles_network
from train.output import write_whole
from train.rectangles_sheet import rectangles_sheet

ARCHITECTURE = "rectangles"
PARTS = ("xy", "wh", "object", "background")
LEAST = 0.35
"""Confidence from which a box is an answer. Confidences are guesses of the overlap reached, low where rectangles
cover each other. Chosen, as `SAME` was, on plots that are neither learnt from nor judged."""
SAME = 0.8
"""IoU above which two boxes are the same answer; rectangles may well overlap, so it is high."""
UNSEEN_SEED = 2_000_003


@dataclass(frozen=True, slots=True)
class RectanglesRecipe:
    """Everything that decides what comes out."""

    steps: int = 20_000
    plots: int = 64
    """A step."""
    learning_rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.01
    filters: int = 128
    seed: int = 7
    bfloat16: bool = False
    """Whether the convolutions compute in bfloat16."""
    weights: YoloWeights = field(default_factory=YoloWeights)

    def rate(self, step: int) -> float:
        """Learning rate of a step (0-based): a linear start, then half a cosine to a thousandth."""
        warm = min(1.0, (step + 1) / self.warmup)
        return float(self.learning_rate * warm * (0.5005 + 0.4995 * np.cos(np.pi * step / self.steps)))


class RectanglesTrainer(Kept):
    """Network, optimiser and step counter."""

    def __init__(self, recipe: RectanglesRecipe) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        with arithmetic(recipe.bfloat16):
            self.model = build_rectangles_network(recipe.filters)
        self.optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.model.trainable_variables)
        self._learn = CompiledStep(self.model, self.optimizer, self._loss)
        self._predict = compiled_answers(self.model)

    def _loss(self, boxes: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        target = batch["target"]
        nowhere = ops.zeros_like(target[..., 0], "bool")
        return yolo_loss(boxes, target, nowhere, SIDE / PLOTS.cell, self.recipe.weights)

    def train_step(self) -> dict[str, float]:
        """One step on new plots, which belong to the seed and the step number."""
        images, target = encode_plots(random_plots(self.recipe.plots, (self.recipe.seed, self.step)))
        parts = self._learn({"images": images, "target": target}, self.recipe.rate(self.step))
        self.step += 1
        return parts

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes `[N,3,3,2,5]` of `[N,15,15,1]`."""
        return np.asarray(self._predict(images))

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        return ARCHITECTURE

    def parts(self) -> dict[str, Sequence[Any]]:
        """What a checkpoint holds."""
        return {"network": self.model.variables, "optimizer": self.optimizer.variables}


def find_rectangles(values: NDArray[np.float32], threshold: float = LEAST) -> Detections:
    """The rectangles that a grid `[3,3,2,5]` claims, best first, in pixels: whole ones, as all rectangles have."""
    boxes, scores = decode_grid(values, PLOTS, threshold)
    boxes = np.clip(np.round(boxes), 0, SIDE)
    kept = nms(boxes, scores, SAME)
    return Detections(boxes[kept], scores[kept], unknown_landmarks(len(kept)))


def weighted_accuracy(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """IoU-weighted accuracy of the answers for one plot, 0…1.

    Answers and rectangles are paired off so that the sum of their overlaps is largest; that sum is divided by the
    number of rectangles and answers, each pair (of IoU 0.5 or more) counted once. So a rectangle found counts as much
    as its box is right, and a miss, a false answer and a second answer for the same rectangle each cost a whole one.

    Example:
        >>> weighted_accuracy(np.array([[0., 0., 4., 4.]]), np.array([[0., 0., 4., 3.], [8., 8., 9., 9.]]))
        0.375
    """
    overlap = box_iou(found, true)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    paired = overlap[rows, columns]
    paired = paired[paired >= 0.5]
    every = len(found) + len(true) - len(paired)
    return float(paired.sum() / every) if every else 1.0


@dataclass(frozen=True, slots=True)
class RectanglesFigures:
    """How well rectangles are found."""

    plots: int
    accuracy: float
    """Mean of `weighted_accuracy` over the plots."""
    accuracy_overlapping: float
    """The same over the plots on which rectangles overlap."""
    overlapping: int
    """Of those plots."""
    ap: float
    """Average precision at IoU 0.5."""

    def row(self) -> dict[str, float | None]:
        """The figures, as JSON takes them: it has no NaN."""
        return {name: None if np.isnan(value) else round(value, 4) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        crossing = f"{self.accuracy_overlapping:.3f} on the {self.overlapping} with overlapping rectangles"
        return (
            f"{self.plots} unseen plots: IoU-weighted accuracy {self.accuracy:.3f} "
            f"({crossing if self.overlapping else 'no rectangles overlap'}), AP at IoU 0.5 {self.ap:.3f}"
        )


def judge_rectangles(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]], plots: Sequence[Plot]
) -> RectanglesFigures:
    """Measure a network on plots it has not seen."""
    grids = _in_parts(predict, plots)
    single = np.array([weighted_accuracy(find_rectangles(g).boxes, p.boxes) for g, p in zip(grids, plots, strict=True)])
    crossing = np.array([bool((np.triu(box_iou(p.boxes, p.boxes), 1) > 0).any()) for p in plots])
    curve = average_precision(
        [find_rectangles(g, 0.02) for g in grids], [FaceTruth(p.boxes, np.zeros(len(p.boxes), bool)) for p in plots]
    )
    return RectanglesFigures(
        plots=len(plots),
        accuracy=float(single.mean()),
        accuracy_overlapping=float(single[crossing].mean()) if crossing.any() else float("nan"),
        overlapping=int(crossing.sum()),
        ap=curve.ap,
    )


def _in_parts(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]], plots: Sequence[Plot], size: int = 100
) -> NDArray[np.float32]:
    images = np.stack([p.image for p in plots])[..., None]
    return np.concatenate([predict(images[k : k + size]) for k in range(0, len(images), size)])


def train_rectangles(
    recipe: RectanglesRecipe, folder: Path, *, resume: bool = False, save_every: float = 120.0, say: Say = print
) -> RectanglesTrainer:
    """Train to `recipe.steps`, with checkpoints in `folder` and a log a line of JSON each.

    Raises:
        InputError: `resume` without a checkpoint, or with another network's.
        OutputError: a checkpoint cannot be written; the last good one is intact.
    """
    prepare_folder(folder, resume=resume)
    trainer = RectanglesTrainer(recipe)
    if resume:
        go_on(trainer, folder, say)
    write_recipe(folder, asdict(recipe), resume=resume, say=say)
    run_steps(
        trainer,
        recipe.steps,
        folder,
        trainer.train_step,
        lambda _: {},
        log_every=50,
        judge_every=recipe.steps,
        save_every=save_every,
        digits=5,
        say=say,
    )
    return trainer


def prove_rectangles(
    recipe: RectanglesRecipe, folder: Path, *, plots: int = 1000, resume: bool = False, say: Say = print
) -> RectanglesFigures:
    """Train, judge on unseen plots, and write `figures.json`, `predictions.png` and `loss.png` into `folder`.

    Raises:
        InputError: `resume` without a checkpoint, or with another network's.
        OutputError: something cannot be written.
    """
    trainer = train_rectangles(recipe, folder, resume=resume, say=say)
    unseen = random_plots(plots, UNSEEN_SEED)
    figures = judge_rectangles(trainer.predict, unseen)
    shown = unseen[:40]
    grids = _in_parts(trainer.predict, shown)
    write_png(folder / "predictions.png", rectangles_sheet(shown, [find_rectangles(g) for g in grids]))
    draw_loss_curve(folder / "log.jsonl", folder / "loss.png", PARTS)
    write_whole(folder / "figures.json", json.dumps(figures.row(), indent=1) + "\n")
    return figures
