"""The recipe of the write-up's detector: one grid, YOLO's loss, small canvases first and whole pictures at the end.

The network is fully convolutional and a canvas is a crop of the 416-pixel picture: faces keep their size in pixels, so
most steps can be made on small canvases for a fraction of the price. What these networks learn there they hardly show
on whole pictures, where their batch normalisation meets other averages; so the averages are measured anew on whole
pictures and then kept while the last steps are made on such pictures.
All backbones get the same budget of pictures. As with the production detector, a batch depends on the seed and the
step alone, and a resumed run gives the same batches as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from engine.decoding import VOTES, vote
from engine.errors import UsageError
from engine.metrics import FaceTruth, PrecisionRecall, average_precision
from engine.nms import nms
from engine.types import Detections
from train.ahead import ahead
from train.checkpoint import Kept
from train.compiled_step import CompiledStep, compiled_answers
from train.data.boxes import Picture, unknown_landmarks
from train.data.detection_augment import AugmentSettings, Pool, Sample, make_sample
from train.data.grid import FACES, decode_grid, encode_grid
from train.detections import padded
from train.detector import DetectionData, vars_of
from train.loop import Logged, Say, go_on, prepare_folder, run_steps, write_recipe
from train.loss_curve import draw_loss_curve
from train.losses.yolo import YoloWeights, yolo_loss
from train.models.grid_detector import Backbone, build_grid_detector
from train.models.layers import measure_averages

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
SIDE = FACES.picture
PARTS = ("xy", "wh", "object", "background")
IOU = 0.4
"""Suppression as the write-up has it."""

RATES = {"darknet53": 1.5e-3, "mobilenet": 3e-3, "shufflenet": 3e-3}
"""Learning rates: smaller where a neuron sums more inputs (3×3 dense against depthwise and 1×1)."""
AUGMENT = AugmentSettings(
    smallest=28.0,
    largest=0.95,
    learnable=22.0,
    rotate=8.0,
    background=0.2,
    tint=0.1,
    haze=0.03,
    strobe=0.02,
    blur=0.04,
    jpeg=0.08,
    noise=0.04,
    occlude=0.04,
)
"""Faces mostly as large as a cell or more, several on every canvas, and mild: the training is short."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training with canvases of one size."""

    pictures: int
    """A step."""
    side: int
    """Of the canvas in pixels, a multiple of 32."""
    part: float
    """Of all steps."""
    rate: float = 1.0
    """Its highest learning rate, as a part of the recipe's."""
    mosaic: float = 0.6
    """Odds that a canvas is a mosaic of four pictures."""
    settled: bool = False
    """Whether batch normalisation takes averages that are measured before the phase, instead of each batch's own."""


@dataclass(frozen=True, slots=True)
class GridRecipe:
    """Everything that decides what comes out."""

    arch: str
    learning_rate: float
    steps: int = 3000
    phases: tuple[Phase, ...] = (
        Phase(16, 128, 0.9),
        Phase(4, SIDE, 0.1, rate=0.1, mosaic=0.3, settled=True),
    )
    """44,400 pictures. A ShuffleNet reaches an AP of 0.64 with them at faces of a cell and more; with 35,200 small ones
    and 1,200 whole ones it was 0.58, with 22,400 and 2,400 0.53."""
    measured: int = 40
    """Batches of canvases on which the averages of batch normalisation are measured."""
    warmup: int = 40
    """Steps at the beginning of each phase."""
    decay_from: float = 0.0
    """Part of each phase after which the rate falls (half a cosine) to a hundredth."""
    weight_decay: float = 0.01
    true_share: float = 0.6
    """Odds of a picture with true boxes against one with pseudo-labels."""
    sharp: float = 18.0
    """Shorter side in pixels of the picture under which a face is ignored: enlarged to a cell it shows only blur."""
    seed: int = 7
    weights: YoloWeights = field(default_factory=lambda: YoloWeights(coord=5.0))
    """λcoord is the paper's: with the write-up's 25, a face's place in its cell drowns whether it is a face."""
    augment: AugmentSettings = AUGMENT

    @classmethod
    def of(cls, arch: str) -> GridRecipe:
        """The recipe of an architecture: all are the same but for the learning rate.

        Raises:
            UsageError: no such architecture.
        """
        if arch not in RATES:
            raise UsageError(f"--arch {arch}: no such detector; one of {', '.join(RATES)}")
        return cls(arch, RATES[arch])

    def rate(self, step: int) -> float:
        """Learning rate of a step (0-based)."""
        phase, begin, end = self._place(step)
        warm = min(1.0, (step - begin + 1) / self.warmup)
        progress = ((step - begin) / (end - begin) - self.decay_from) / (1 - self.decay_from)
        fall = 0.505 + 0.495 * np.cos(np.pi * np.clip(progress, 0, 1))
        return float(self.learning_rate * phase.rate * warm * fall)

    def phase(self, step: int) -> Phase:
        """The phase that a step (0-based) belongs to."""
        return self._place(step)[0]

    def begins(self, step: int) -> bool:
        """Whether a step (0-based) is the first of its phase."""
        return self._place(step)[1] == step

    def _place(self, step: int) -> tuple[Phase, int, int]:
        """A step's phase, the phase's first step, and the first one after it."""
        ends = np.rint(np.cumsum([0.0, *(phase.part for phase in self.phases)]) * self.steps).astype(int)
        number = min(int(np.searchsorted(ends, step, side="right")), len(self.phases)) - 1
        return self.phases[number], int(ends[number]), max(int(ends[number + 1]), int(ends[number]) + 1)

    @property
    def pictures(self) -> int:
        """Canvases seen in the whole training."""
        return sum(self.phase(step).pictures for step in range(self.steps))


@dataclass(frozen=True, slots=True)
class GridBatch:
    """What one training step takes."""

    images: NDArray[np.uint8]
    """`[N,S,S,3]`."""
    target: NDArray[np.float32]
    """`[N,S/32,S/32,2,5]`."""
    ignore: NDArray[np.bool_]
    """`[N,S/32,S/32,2]`."""


def assemble_grid(samples: Sequence[Sample]) -> GridBatch:
    """Stack canvases of one size with their grids."""
    grids = [encode_grid(s.boxes, s.ignore, s.rgb.shape[0], s.rgb.shape[1], FACES) for s in samples]
    return GridBatch(
        np.stack([s.rgb for s in samples]), np.stack([g.values for g in grids]), np.stack([g.ignore for g in grids])
    )


def only_sharp(picture: Picture, least: float) -> Picture:
    """The same picture, its faces with a shorter side under `least` pixels ignored."""
    sides = (picture.boxes[:, 2:] - picture.boxes[:, :2]).min(axis=1, initial=np.inf)
    return replace(picture, ignore=picture.ignore | (sides < least))


@dataclass(frozen=True)
class GridCanvases:
    """What belongs to a step of the training; it can be made by another process."""

    pool: Pool
    recipe: GridRecipe

    def __call__(self, step: int) -> GridBatch:
        """The batch: depends on seed and step alone."""
        return assemble_grid(self._canvases(step, np.random.default_rng((self.recipe.seed, step))))

    def for_averages(self, step: int) -> Iterator[NDArray[np.uint8]]:
        """Batches of canvases like those of a step, to measure averages on."""
        rng = np.random.default_rng((self.recipe.seed, step, 1))
        for _ in range(self.recipe.measured):
            yield np.stack([sample.rgb for sample in self._canvases(step, rng)])

    def _canvases(self, step: int, rng: np.random.Generator) -> list[Sample]:
        phase = self.recipe.phase(step)
        settings = replace(self.recipe.augment, mosaic=phase.mosaic)
        return [make_sample(self.pool, phase.side, settings, rng) for _ in range(phase.pictures)]


class GridTrainer(Kept):
    """Network, optimiser and step counter."""

    def __init__(self, recipe: GridRecipe, backbone: Backbone | None = None) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        self.model = build_grid_detector(recipe.arch, backbone)
        self.optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=30.0
        )
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.model.trainable_variables)
        self._learn = CompiledStep(self.model, self.optimizer, self._loss)
        self._predict = compiled_answers(self.model)

    @property
    def architecture(self) -> str:
        """What a checkpoint says it belongs to."""
        return f"detector-{self.recipe.arch}"

    def _loss(self, boxes: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        cells = FACES.picture / FACES.cell
        return yolo_loss(boxes, batch["target"], batch["ignore"], cells, self.recipe.weights)

    def train_step(self, batch: GridBatch) -> dict[str, float]:
        """Learn from the batch that belongs to the step number."""
        settled = self.recipe.phase(self.step).settled
        parts = self._learn(vars_of(batch), self.recipe.rate(self.step), settled=settled)
        self.step += 1
        return parts

    def settle(self, canvases: GridCanvases) -> None:
        """Measure the averages of batch normalisation, if a phase that keeps them begins with the coming step."""
        if self.recipe.phase(self.step).settled and self.recipe.begins(self.step):
            measure_averages(self.model, canvases.for_averages(self.step))

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Boxes `[N,R,C,2,5]` of `[N,H,W,3]`."""
        return np.asarray(self._predict(images))

    def parts(self) -> dict[str, Sequence[Any]]:
        """What a checkpoint holds."""
        return {"network": self.model.variables, "optimizer": self.optimizer.variables}


def find_in_grid(predict: Predict, rgb: NDArray[np.uint8], side: int = SIDE, threshold: float = 0.01) -> Detections:
    """Faces in pixels of `rgb`, its longer side scaled to `side`, padded with black to whole cells."""
    height, width = rgb.shape[:2]
    canvas, inner = padded(rgb, side, FACES.cell)
    boxes, scores = decode_grid(predict(canvas[None])[0], FACES, VOTES * threshold)
    boxes = np.clip(boxes, 0, [inner[0], inner[1]] * 2)
    faces = np.hstack([boxes, scores[:, None], np.zeros((len(boxes), 10))]).astype(np.float32)
    kept = nms(faces[:, :4], faces[:, 4], IOU)
    voted = vote(faces, kept[faces[kept, 4] >= threshold])
    ratio = np.tile([width / inner[0], height / inner[1]], 2).astype(np.float32)
    return Detections(voted[:, :4] * ratio, voted[:, 4].copy(), unknown_landmarks(len(voted)))


def grid_curve(predict: Predict, pictures: Sequence[Picture], cells: float = 1.0) -> PrecisionRecall:
    """Precision and recall at IoU 0.5 for faces at least `cells` cells wide (1/13 of the longer side each)."""
    found, truths = [], []
    for picture in pictures:
        factor = SIDE / max(picture.rgb.shape[:2])
        seen = find_in_grid(predict, picture.rgb)
        found.append(Detections(seen.boxes * factor, seen.scores, seen.landmarks))
        truths.append(FaceTruth(picture.boxes * factor, picture.ignore))
    return average_precision(found, truths, minimum=cells * FACES.cell)


def train_grid_detector(
    data: DetectionData,
    recipe: GridRecipe,
    folder: Path,
    *,
    resume: bool = False,
    backbone: Backbone | None = None,
    workers: int = 0,
    save_every: float = 150.0,
    judge_every: int = 250,
    log_every: int = 10,
    say: Say = print,
) -> GridTrainer:
    """Train to `recipe.steps`, with checkpoints in `folder`, a log a line of JSON each, and the loss curve as PNG.

    Raises:
        InputError: `resume` without a checkpoint, or with one of another architecture.
        OutputError: a checkpoint cannot be written; the last good one is intact.
    """
    prepare_folder(folder, resume=resume)
    log = folder / "log.jsonl"
    trainer = GridTrainer(recipe, backbone)
    spent = go_on(trainer, folder, say) if resume else 0.0
    true, pseudo = ([only_sharp(p, recipe.sharp) for p in group] for group in (data.true, data.pseudo))
    pool = Pool(true, pseudo, recipe.true_share, data.portraits)
    write_recipe(folder, {**asdict(recipe), "pictures": recipe.pictures}, resume=resume, say=say)

    canvases = GridCanvases(pool, recipe)
    batches = ahead(canvases, trainer.step, recipe.steps, workers)

    def learn() -> dict[str, float]:
        trainer.settle(canvases)
        return trainer.train_step(next(batches))

    def rest(due: Logged) -> dict[str, Any]:
        line: dict[str, Any] = {
            "side": recipe.phase(trainer.step - 1).side,
            "rate": round(recipe.rate(trainer.step - 1), 6),
            "seconds": round(due.seconds, 1),
        }
        if due.judge and data.dev:
            line["ap"] = round(grid_curve(trainer.predict, data.dev).ap, 4)
        return line

    run_steps(
        trainer,
        recipe.steps,
        folder,
        learn,
        rest,
        log_every=log_every,
        judge_every=judge_every,
        save_every=save_every,
        spent=spent,
        say=say,
    )
    draw_loss_curve(log, folder / "loss.png", PARTS, "ap")
    return trainer
