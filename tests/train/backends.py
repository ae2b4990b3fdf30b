"""A few training steps of both kinds of network, whose numbers are printed: run once on TensorFlow and once on JAX.

`KERAS_BACKEND=jax python -m tests.train.backends [CHECKPOINT]`, which also keeps an embedder there after a step, and
prints what it answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

from train.compiled_step import CompiledStep, compiled_answers
from train.data.boxes import cell_centres
from train.data.dense_teacher import Opinions
from train.data.detection_augment import Sample, assemble
from train.data.grid import FACES as GRID
from train.data.views import Views
from train.detector import vars_of
from train.embedder import Recipe, embed
from train.embedder import Trainer as EmbedderTrainer
from train.losses.detection import LossWeights, detection_loss, flatten_heads, teacher_loss
from train.losses.distillation import embedding_loss
from train.losses.yolo import yolo_loss
from train.models import detector as networks
from train.models.embedder import EmbedderDesign
from train.models.grid_detector import build_grid_detector
from train.models.layers import FusedBatchNormalization, measure_averages

SIDE = 64
DESIGN = EmbedderDesign(stem=4, channels=(4, 4, 4, 4), blocks=(0, 0, 0, 1), dimension=8)
RECIPE = Recipe(steps=2, design=DESIGN, frozen=("stem*",))
FACES = np.random.default_rng(4).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
TARGETS = np.eye(4, 8, dtype=np.float32)
TINY = networks.Width(stem=(4, 4), stages=(8, 8, 8, 8), blocks=(0, 0, 0, 0), neck=8)


def filled(model: keras.Model) -> keras.Model:
    """`model` with weights that are the same on every backend."""
    rng = np.random.default_rng(3)
    model.set_weights([w if w.ndim < 2 else rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def optimizer(model: keras.Model) -> keras.Optimizer:
    made = keras.optimizers.AdamW(1e-3, weight_decay=0.02, global_clipnorm=10.0)
    made.build(model.trainable_variables)
    return made


def detector() -> list[dict[str, float]]:
    networks.ARCHITECTURES["tiny"] = TINY
    model, average = filled(networks.build_detector("tiny")), filled(networks.build_detector("tiny"))
    centres, strides = cell_centres(SIDE, SIDE, networks.STRIDES)

    def loss(heads: object, batch: dict[str, object]) -> object:
        flat = flatten_heads(heads, networks.STRIDES)  # type: ignore[arg-type]
        total, parts = detection_loss(flat, batch, centres, strides, LossWeights())
        taught = teacher_loss(flat, batch["opinions"], 0 * flat[..., 0], centres, strides)  # type: ignore[arg-type]
        return total + taught["taught_score"] + taught["taught_box"], parts | taught

    step = CompiledStep(model, optimizer(model), loss, average)  # type: ignore[arg-type]
    rng, said = np.random.default_rng(0), []
    for _ in range(3):
        samples = []
        for _ in range(2):
            corner, size = rng.uniform(0, 30, (3, 2)), rng.uniform(8, 30, (3, 2))
            boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
            points = rng.uniform(0, SIDE, (3, 5, 2)).astype(np.float32)
            rgb = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            samples.append(Sample(rgb, boxes, np.array([False, False, True]), points))
        scores = rng.uniform(0, 1, (2, len(centres))).astype(np.float32)
        boxes = np.concatenate([centres - 9, centres + 9], 1).astype(np.float32)
        opinions = Opinions(scores, np.stack([boxes] * 2), np.ones(len(centres), np.float32))
        batch = {**vars_of(assemble(samples, networks.STRIDES)), "opinions": vars_of(opinions)}
        said.append(step(batch, 1e-3, 0.5))
    picture = rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    said.append({n: float(np.mean(v)) for n, v in compiled_answers(average)(picture).items()})
    return said


def grid() -> list[dict[str, float]]:
    def backbone(x: keras.KerasTensor) -> keras.KerasTensor:
        return FusedBatchNormalization()(keras.layers.Conv2D(4, 3, 32, "same", use_bias=False)(x))

    model = filled(build_grid_detector("tiny", backbone))
    step = CompiledStep(
        model, optimizer(model), lambda boxes, batch: yolo_loss(boxes, batch["target"], batch["ignore"], 13.0)
    )
    rng, said = np.random.default_rng(1), []
    for number in range(3):
        target = rng.uniform(0.1, 0.9, (2, 2, 2, GRID.boxes, 5)).astype(np.float32)
        target[..., 0] = rng.random(target.shape[:-1]) < 0.4
        images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        if number == 2:
            # TensorFlow divides a variance by one less than the numbers there are; with many it does not show.
            measure_averages(model, [rng.integers(0, 256, (4, 256, 256, 3))])
        batch = {"images": images, "target": target, "ignore": rng.random(target.shape[:-1]) < 0.2}
        said.append(step(batch, 1e-3, settled=number == 2))
    return said


def embedder() -> list[dict[str, float]]:
    model = filled(DESIGN.build())
    model.get_layer("stem_conv").trainable = False
    still = model.get_layer("stem_conv").get_weights()[0]
    step = CompiledStep(
        model, optimizer(model), lambda x, batch: (embedding_loss(x, batch["targets"], batch["others"], 0.5), {})
    )
    rng, said = np.random.default_rng(2), []
    for _ in range(3):
        targets = rng.normal(size=(14, 8)).astype(np.float32)
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
        images = rng.integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
        said.append(step({"images": images, "targets": targets[:4], "others": targets[4:]}, 1e-3))
    moved = float(np.abs(model.get_layer("stem_conv").get_weights()[0] - still).max())
    return [*said, {"frozen": moved}]


def trained(checkpoint: Path) -> list[list[float]]:
    """What an embedder answers after a step, which `checkpoint` keeps."""
    trainer = EmbedderTrainer(RECIPE, lambda scenes: TARGETS, TARGETS)
    trainer.train_step(Views(FACES, FACES))
    trainer.save(checkpoint, {})
    answers: list[list[float]] = embed(trainer.average, FACES).tolist()
    return answers


if __name__ == "__main__":
    said = {"backend": keras.backend.backend(), "detector": detector(), "grid": grid(), "embedder": embedder()}
    if len(sys.argv) > 1:
        said["trained"] = trained(Path(sys.argv[1]))
    print(json.dumps(said))
