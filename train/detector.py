"""The recipe of the production face detector: data, schedule, checkpoints, averages.

`train_detector` goes on from its last checkpoint and gives the same batches as a run that was never interrupted:
a batch depends on the seed and the step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from engine.errors import InputError
from engine.metrics import FaceTruth, PrecisionRecall, average_precision
from engine.types import Detections
from train.ahead import ahead
from train.architectures import YUNET
from train.checkpoint import Kept
from train.compiled_step import CompiledStep, compiled_answers
from train.data.boxes import (
    LoadReport,
    Picture,
    cell_centres,
    load_box_set,
    load_pictures,
    split_dev,
)
from train.data.dense_teacher import DenseTeacher, known_cells
from train.data.detection_augment import AugmentSettings, Pool, assemble, make_sample
from train.data.face_teachers import FaceTeacher
from train.data.libfacedetection import read_libfacedetection
from train.data.portraits import load_portraits
from train.data.pseudo_labels import (
    CENTERFACE_VIEWS,
    YUNET_VIEWS,
    add_landmarks,
    add_missing,
    cached_views,
    pseudo_label,
)
from train.detections import find_faces
from train.loop import Logged, Say, go_on, prepare_folder, run_steps, write_recipe
from train.losses.detection import LossWeights, detection_loss, flatten_heads, memory_loss, teacher_loss
from train.mixing import mixed
from train.models.detector import STRIDES, build_detector
from train.models.layers import arithmetic, measure_statistics
from train.models.yunet import LEVELS, load_yunet, source_shapes
from train.saved_network import saved_network


@dataclass(frozen=True, slots=True)
class Phase:
    """How canvases are made from some step on."""

    start: float
    """Part of all steps after which it begins."""
    shapes: tuple[tuple[int, int, float], ...]
    """(pictures, side in pixels, odds) of a batch: the same number of pixels, larger sides for larger faces."""
    augment: AugmentSettings


ROUGH = Phase(
    0.0,
    ((16, 256, 0.5), (7, 384, 0.25), (4, 512, 0.25)),
    AugmentSettings(
        smallest=8.0, small=0.35, close=0.12, learnable=5.0, soft=0.35, paste=0.4, pasted=10, paste_sizes=(8.0, 72.0)
    ),
)
"""Small faces in soft pictures are what such a detector misses first, and close-ups of masked ones."""
GENTLE = Phase(
    0.7,
    ((16, 256, 0.25), (7, 384, 0.3), (4, 512, 0.2), (3, 640, 0.25)),
    replace(
        ROUGH.augment,
        mosaic=0.35,
        background=0.3,
        turned=0.12,
        paste=0.2,
        tint=0.06,
        haze=0.02,
        strobe=0.01,
        grey=0.03,
        blur=0.05,
        noise=0.04,
        jpeg=0.08,
        occlude=0.04,
    ),
)
"""The end of a training sees pictures nearly as they are, and more of each (as YOLOX ends without mosaics, arXiv
2107.08430, section 2.2): whoever has only seen them distorted takes signs and hands for distorted faces."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out."""

    arch: str = "small"
    steps: int = 12_000
    learning_rate: float = 3e-3
    warmup: int = 150
    decay_from: float = 0.5
    """Part of the steps after which the rate falls (half a cosine) to a fiftieth."""
    weight_decay: float = 0.02
    average: float = 0.998
    """Decay a step of the averaged weights, which are what is exported."""
    phases: tuple[Phase, ...] = (ROUGH, GENTLE)
    """In the order of their starts, the first of which is 0."""
    true_share: float = 0.65
    """Odds of a picture with true boxes against one with pseudo-labels."""
    portraits: int = 8000
    """Face crops to take from an archive of portraits, where one is given."""
    portrait_share: float = 0.08
    """Odds of a portrait instead of a picture."""
    dev_pictures: int = 60
    seed: int = 7
    bfloat16: bool = False
    """Whether the layers between pixels and heads compute in bfloat16 while they learn."""
    weights: LossWeights = field(default_factory=lambda: LossWeights(landmarks=1.5, negative=1.5, teacher=1.0))

    def phase(self, step: int) -> Phase:
        """The one that a step (0-based) belongs to.

        Example:
            >>> [Recipe(steps=10).phase(step).start for step in (0, 6, 7)]
            [0.0, 0.0, 0.7]
        """
        return [phase for phase in self.phases if phase.start * self.steps <= step][-1]

    def gentle_from(self, part: float) -> Recipe:
        """The recipe with `GENTLE` from that part of the steps on, and `ROUGH` before.

        Example:
            >>> [phase.start for phase in Recipe().gentle_from(0.25).phases]
            [0.0, 0.25]
        """
        return replace(self, phases=(ROUGH, replace(GENTLE, start=part)))

    def rate(self, step: int) -> float:
        """Learning rate of a step (0-based)."""
        warm = min(1.0, (step + 1) / self.warmup)
        progress = (step / max(1, self.steps) - self.decay_from) / (1 - self.decay_from)
        fall = 0.51 + 0.49 * np.cos(np.pi * np.clip(progress, 0, 1))
        return float(self.learning_rate * warm * fall)


@dataclass(frozen=True, slots=True)
class DetectionData:
    """Pictures to learn from, and those kept aside for choices."""

    true: list[Picture]
    pseudo: list[Picture]
    portraits: list[Picture]
    dev: list[Picture]
    report: LoadReport

    def pool(self, recipe: Recipe) -> Pool:
        """What canvases are made from, in the odds of the recipe."""
        return Pool(self.true, self.pseudo, recipe.true_share, self.portraits, recipe.portrait_share)


def load_data(
    labelled: Path,
    unlabelled: Path | None,
    teachers: Path,
    cache: Path,
    recipe: Recipe,
    say: Say,
    portraits: Path | None = None,
) -> DetectionData:
    """Read the pictures, and let the teachers add landmarks and pseudo-labels (once; kept in `cache`).

    Args:
        labelled: box set (zip or folder).
        unlabelled: zip or folder of pictures without labels, or None.
        teachers: folder with `yunet_n.onnx` and `centerface.onnx`.
        cache: folder for what the teachers saw.
        recipe: how many pictures are kept aside, and the seed.
        say: where progress goes, a line at a time.
        portraits: archive of aligned face crops (`train.data.faces`), or None.

    Raises:
        InputError: a file is missing, or holds nothing usable.
    """
    report = LoadReport()
    true = load_box_set(labelled, report)
    pseudo = load_pictures(unlabelled, report) if unlabelled is not None else []
    yunet, centerface = (
        FaceTeacher.yunet(teachers / "yunet_n.onnx"),
        FaceTeacher.centerface(teachers / "centerface.onnx"),
    )

    def seen(pictures: list[Picture]) -> list[tuple[Detections, Detections]]:
        def told(done: int, total: int) -> None:
            if done % 100 == 0:
                say(f"teachers: {done}/{total} pictures")

        first = cached_views(pictures, yunet, YUNET_VIEWS, cache, progress=told)
        second = cached_views(pictures, centerface, CENTERFACE_VIEWS, cache, progress=told)
        return list(zip(first, second, strict=True))

    views = seen(true)
    pointed = [add_landmarks(p, a, b) for p, (a, b) in zip(true, views, strict=True)]
    kept_aside = {p.name for p in split_dev(pointed, recipe.dev_pictures)[1]}
    dev = [p for p in pointed if p.name in kept_aside]  # judged by its own labels alone
    train = [add_missing(p, *v) for p, v in zip(pointed, views, strict=True) if p.name not in kept_aside]
    if pseudo:
        pseudo = [pseudo_label(p, a, b) for p, (a, b) in zip(pseudo, seen(pseudo), strict=True)]
    crops = []
    if portraits is not None:
        crops = load_portraits(portraits, (yunet, centerface), cache, count=recipe.portraits, seed=recipe.seed)
    if not train:
        raise InputError(f"{labelled}: nothing left to train on after {recipe.dev_pictures} pictures were kept aside")
    known = sum(int(np.isfinite(p.landmarks[:, 0, 0]).sum()) for p in train)
    say(
        f"data: {len(train)} pictures with {sum(int((~p.ignore).sum()) for p in train)} true faces "
        f"({known} with landmarks), {len(pseudo)} with {sum(int((~p.ignore).sum()) for p in pseudo)} pseudo-labelled "
        f"({sum(int(p.ignore.sum()) for p in pseudo)} ignored), {len(crops)} portraits, {len(dev)} kept aside; {report}"
    )
    return DetectionData(train, pseudo, crops, dev, report)


@dataclass(frozen=True)
class Canvases:
    """What belongs to a step of the training: depends on seed and step alone, and can be made by another process.

    `teacher` is asked about every canvas, if its weight is not 0.
    """

    pool: Pool
    recipe: Recipe
    teacher: DenseTeacher | None = None

    def __call__(self, step: int) -> dict[str, Any]:
        """The batch as arrays: that of `assemble`, where its cells lie, and the teacher's opinions, if any."""
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, step))
        phase = recipe.phase(step)
        odds = np.array([shape[2] for shape in phase.shapes])
        count, side, _ = phase.shapes[int(rng.choice(len(odds), p=odds / odds.sum()))]
        samples = [make_sample(self.pool, side, phase.augment, rng) for _ in range(count)]
        centres, strides = cell_centres(side, side, STRIDES)
        batch = {**vars_of(assemble(samples, STRIDES)), "centres": centres, "strides": strides}
        batch["known"] = known_cells(samples, STRIDES)
        if self.teacher is not None and recipe.weights.teacher:
            batch["opinions"] = vars_of(self.teacher.opinions(samples, STRIDES))
        return batch


def vars_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


class Trainer(Kept):
    """Network, averaged copy, optimiser and step counter."""

    def __init__(self, recipe: Recipe) -> None:
        keras.utils.set_random_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        self._remembered: list[tuple[keras.Model, int | None]] = []
        with arithmetic(recipe.bfloat16):
            self.model = build_detector(recipe.arch)
        self.average = build_detector(recipe.arch)
        self.average.set_weights(self.model.get_weights())
        self.optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=10.0
        )
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.model.trainable_variables)
        self._learn = CompiledStep(self.model, self.optimizer, self._loss, self.average)
        self._predict = compiled_answers(self.average)

    def _loss(self, heads: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        flat = flatten_heads(heads, STRIDES)
        loss, parts = detection_loss(flat, batch, batch["centres"], batch["strides"], self.recipe.weights)
        if "opinions" in batch:
            taught = teacher_loss(flat, batch["opinions"], batch["known"], batch["centres"], batch["strides"])
            loss += self.recipe.weights.teacher * (taught["taught_score"] + taught["taught_box"])
            parts |= taught
        for number, (network, largest) in enumerate(self._remembered):
            before = flatten_heads(network(ops.cast(batch["images"], "float32"), training=False), STRIDES)
            kept = memory_loss(flat, ops.stop_gradient(before), batch["known"], batch["strides"], largest)
            loss += self.recipe.weights.memory * sum(kept.values())
            parts |= {f"{name}{number or ''}": value for name, value in kept.items()}
        return loss, parts

    def remember(self, path: Path) -> None:
        """Have training keep to what the network at `path` says as well; before the first step.

        Args:
            path: a `detector.keras` of any architecture with these levels, or libfacedetection's library.

        Raises:
            InputError: it is missing, damaged, or another network.
        """
        if is_library(path):
            network = _published(path)
        else:
            with saved_network(path, "a detector whose answers can be kept to") as network:
                if set(network.output) != {f"head{stride}" for stride in STRIDES}:
                    raise ValueError("it answers on other levels")
        network.trainable = False
        self._remembered.append((network, max(LEVELS) if is_library(path) else None))

    def train_step(self, batch: dict[str, Any]) -> dict[str, float]:
        """Learn from the batch that belongs to the step number (`Canvases`)."""
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        parts = self._learn(batch, self.recipe.rate(self.step), keep)
        self.step += 1
        return parts

    def predict(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Heads with probabilities for `[N,H,W,3]` uint8, from the averaged weights."""
        heads = {name: np.array(value) for name, value in self._predict(images).items()}
        for head in heads.values():
            head[..., 0] = 1 / (1 + np.exp(-head[..., 0]))
        return heads

    def begin_with(self, weights: Sequence[NDArray[Any]]) -> None:
        """Take weights of a network of the same architecture (`weights_of`)."""
        for model in (self.model, self.average):
            model.set_weights(weights)

    def weights_of(self, path: Path) -> list[NDArray[Any]]:
        """Of a `detector.keras` of the same architecture, to begin with or to mix with; of libfacedetection's library
        for one of YuNet's form.

        Raises:
            InputError: it is missing, damaged, or of another architecture.
        """
        if is_library(path):
            if self.recipe.arch != YUNET:
                raise InputError(
                    f"{path} has weights for --arch {YUNET}, not for {self.recipe.arch}; give a detector.keras"
                )
            published: list[NDArray[Any]] = _published(path).get_weights()
            return published
        with saved_network(path, f"a detector of architecture {self.recipe.arch}") as earlier:
            weights: list[NDArray[Any]] = earlier.get_weights()
            if [w.shape for w in weights] != [w.shape for w in self.average.get_weights()]:
                raise ValueError("its layers have other sizes")
        return weights

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        return f"detector-{self.recipe.arch}"

    def parts(self) -> dict[str, Sequence[Any]]:
        """What a checkpoint holds."""
        return {
            "network": self.model.variables,
            "average": self.average.variables,
            "optimizer": self.optimizer.variables,
        }


def _published(library: Path) -> keras.Model:
    network = build_detector(YUNET)
    load_yunet(network, read_libfacedetection(library, source_shapes()))
    return network


def is_library(path: Path) -> bool:
    """Whether the weights to begin with stand in a shared library (`train.data.libfacedetection`)."""
    return path.suffix == ".so"


def check_networks(recipe: Recipe, warm_start: Path | None, remember: Sequence[Path]) -> None:
    """Refuse what `train_detector` could not begin with or keep to, before teachers are asked, which may take hours.

    Raises:
        InputError: as `Trainer.weights_of` and `Trainer.remember`.
    """
    trainer = Trainer(recipe)
    if warm_start is not None:
        trainer.weights_of(warm_start)
    for path in remember:
        trainer.remember(path)


STATISTICS = 24
"""Batches of canvases that the averages of normalisations are measured on."""


def with_statistics(weights: Sequence[NDArray[Any]], recipe: Recipe, canvases: Canvases) -> list[NDArray[Any]]:
    """Weights that compute the same, with the averages that the first canvases have in the normalisations."""
    network = build_detector(recipe.arch)
    network.set_weights(weights)
    measure_statistics(network, (canvases(step)["images"] for step in range(STATISTICS)))
    measured: list[NDArray[Any]] = network.get_weights()
    return measured


def dev_curves(
    predict: Callable[[np.ndarray], dict[str, np.ndarray]],
    pictures: Sequence[Picture],
    size: int = 640,
    minimum: Sequence[int] = (8, 16, 32),
) -> dict[int, PrecisionRecall]:
    """Precision and recall at IoU 0.5 with the longer side scaled to `size`, for faces of at least each size."""
    found, truths = [], []
    for picture in pictures:
        factor = size / max(picture.rgb.shape[:2])
        seen = find_faces(predict, picture.rgb, size)
        found.append(Detections(seen.boxes * factor, seen.scores, seen.landmarks * factor))
        truths.append(FaceTruth(picture.boxes * factor, picture.ignore))
    return {m: average_precision(found, truths, minimum=m) for m in minimum}


def train_detector(
    data: DetectionData,
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    warm_start: Path | None = None,
    share: float = 1.0,
    remember: Sequence[Path] = (),
    teacher: DenseTeacher | None = None,
    workers: int = 0,
    save_every: float = 180.0,
    judge_every: int = 1000,
    say: Say = print,
) -> Trainer:
    """Train to `recipe.steps`, with checkpoints in `folder` every `save_every` seconds and a log a line of JSON each.

    Args:
        data: what to learn from.
        recipe: how.
        folder: for checkpoints and log.
        resume: go on from the checkpoint in `folder`.
        warm_start: a `detector.keras` of the same architecture to begin with, instead of random weights; for YuNet's
            form also libfacedetection's library.
        share: what is left of the averaged weights in the end, the rest being those of `warm_start` (`mixed`).
        remember: networks whose answers are kept to (`memory_loss`), as in `Trainer.remember`.
        teacher: is asked about every canvas; None: nobody is, whatever the weight of it.
        workers: processes that make batches beside this one; 0: this one makes them.
        save_every: seconds.
        judge_every: steps after which the pictures kept aside are looked at.
        say: where progress goes, a line at a time.

    Raises:
        InputError: `resume` without a checkpoint, or with one of another architecture; `warm_start` or `remember` is
            missing, damaged, or of another architecture.
        OutputError: a checkpoint cannot be written; the last good one is intact.
    """
    prepare_folder(folder, resume=resume)
    trainer = Trainer(recipe)
    spent = go_on(trainer, folder, say) if resume else 0.0
    # What cannot be mixed should be known before hours are spent.
    needed = share < 1 or not resume
    earlier = trainer.weights_of(warm_start) if warm_start is not None and needed else None
    canvases = Canvases(data.pool(recipe), recipe, teacher)
    if warm_start is not None and earlier is not None and is_library(warm_start):
        earlier = with_statistics(earlier, recipe, replace(canvases, teacher=None))
    if earlier is not None and not resume:
        trainer.begin_with(earlier)
    for path in remember:
        trainer.remember(path)
    write_recipe(folder, {**asdict(recipe), "remember": [str(path) for path in remember]}, resume=resume, say=say)

    batches = ahead(canvases, trainer.step, recipe.steps, workers)

    def rest(due: Logged) -> dict[str, Any]:
        line: dict[str, Any] = {"rate": round(recipe.rate(trainer.step), 6), "seconds": round(due.seconds, 1)}
        if due.judge:
            curves = dev_curves(trainer.predict, data.dev)
            line.update({f"ap{m}": round(curve.ap, 4) for m, curve in curves.items()})
        return line

    run_steps(
        trainer,
        recipe.steps,
        folder,
        lambda: trainer.train_step(next(batches)),
        rest,
        log_every=100,
        judge_every=judge_every,
        save_every=save_every,
        spent=spent,
        say=say,
    )
    if earlier is not None and share < 1:
        trainer.average.set_weights(mixed(trainer.average.get_weights(), earlier, share))
    return trainer
