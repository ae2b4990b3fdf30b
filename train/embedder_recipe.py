"""From the archives to a shipped embedder: targets, training, export. What the commands call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from engine.embedder import Embedder
from engine.metrics import tar_at_far
from train.compiled_step import on_tensorflow
from train.data.dlib_network import installed_weights, read_dlib_network
from train.data.faces import FACE, FaceSet, Split
from train.data.views import Strength, degrade
from train.embedder import Design, Recipe, embed, train_embedder
from train.embedder_data import (
    DEV,
    FITTED,
    GROUP,
    Targets,
    check_measurable,
    prepare,
    some_rows,
    weights_of,
    write_pictures,
)
from train.embedder_eval import all_pairs, dev_figures
from train.embedder_head import check_whitening, fit_whitening, fold_in, mirrored, raw_outputs
from train.embedder_memory import first_answers
from train.embedder_warm import go_on, mix, take_body, warm_start
from train.equalization import calm, equalize
from train.export import export_onnx
from train.loop import Say, prepare_folder
from train.models.dlib_resnet import DlibDesign, load_dlib_weights
from train.models.embedder import EmbedderDesign
from train.models.mobilefacenet import (
    PRELU,
    MobileFaceNetDesign,
    is_straight,
    load_mobilefacenet_weights,
    read_mobilefacenet,
    with_relus,
)
from train.onnx_file import write_onnx
from train.output import replaced
from train.quantize import in_eights, quantize
from train.teachers import Teachers

NAME = "iznet-embedder"

DIMENSION = 128
"""Of what the teachers say, as the student learns it."""
SMALL = 128
"""Faces a batch under which moments of batches are too unlike those of other faces to normalise by."""
LARGE = 512
"""Faces a batch from which on a MobileFaceNet learns in all its layers: those of a GPU, which has the time for it."""


def recipe_for(architecture: str, steps: int, seed: int, batch: int = 32) -> Recipe:
    """The settings that suit an architecture: `residual` learns from nothing, the others go on from weights they find.

    Example:
        >>> recipe_for("dlib", 1000, 1).design.signature
        'dlib-32x3-64x4-128x3-256x3-256x1-head128'
    """
    if architecture == "residual":
        return Recipe(steps=steps, seed=seed, batch=batch, design=EmbedderDesign())
    recipe = Recipe(
        steps=steps,
        seed=seed,
        batch=batch,
        warm_up=400,
        peak_rate=4e-4,
        relation_weight=0.5,
        strength=Strength(shrink=0.4),
        plain=0.4,
    )
    if architecture == "mobilefacenet":
        recipe = replace(recipe, design=MobileFaceNetDesign(), averaging=0.998)
        if batch >= LARGE:
            return replace(recipe, warm_up=150, peak_rate=8e-4, straighten=0.3)
        # Only a network that learns in all its layers can make up for slopes that go.
        frozen = ("stem*", "stage2*", f"*{PRELU}") + (("*_norm",) if batch < SMALL else ())
        return replace(recipe, frozen=frozen, warm_up=60, peak_rate=2e-4)
    recipe = replace(recipe, design=DlibDesign())
    if batch >= SMALL:
        return recipe
    # dlib's kernels are small numbers, its affine maps are large: rates for random weights would erase them.
    return replace(recipe, frozen=("stem*", "level1*", "*_norm"), peak_rate=4e-5, warm_up=200, averaging=0.998)


def beginning(design: Design, weights: Path | None) -> Callable[..., None] | None:
    """What puts weights into a new network of `design`, given the network, `faces` and `targets` as `warm_start` takes
    them; None: they stay random.

    Args:
        design: of the network.
        weights: the `embedder.keras` of an earlier training, or what a `DlibDesign` begins with (dlib's file; None
            takes the installed package's) or a `MobileFaceNetDesign` (the network's `.json`).

    Raises:
        InputError: dlib's file or the `.json` is missing or damaged.
        ValueError: a `MobileFaceNetDesign` without weights.
    """
    if isinstance(design, EmbedderDesign):
        return None
    if weights is not None and weights.suffix == ".keras":
        return partial(go_on, earlier=weights)
    if isinstance(design, DlibDesign):
        source = read_dlib_network(installed_weights() if weights is None else weights)
        return partial(warm_start, load=partial(load_dlib_weights, source=source))
    if weights is None:
        raise ValueError("a MobileFaceNet begins with weights")
    return partial(warm_start, load=partial(load_mobilefacenet_weights, source=read_mobilefacenet(weights)))


def train_and_export(
    data: Path,
    teachers: Path,
    work: Path,
    recipe: Recipe,
    weights: Path | None,
    *,
    remember: Path | None = None,
    mixed: float = 1.0,
    resume: bool = False,
    workers: int = 0,
    say: Say = print,
) -> str | None:
    """The whole recipe; leaves `embedder.onnx` and `embedder.keras` in `work` and returns the checksum.

    Where Keras does not run on TensorFlow it ends with the training, and returns None.

    Args:
        data: folder of the archives.
        teachers: folder of the teachers' networks.
        work: folder for everything that is made on the way.
        recipe: of the training.
        weights: what to begin with, as in `beginning`; None takes what it is to remember.
        remember: `.json` of a MobileFaceNet, whose answers are a second half of what is learned.
        mixed: what of the trained network is left; the rest is the `embedder.keras` that it began with, see `mix`.
        resume: go on from the checkpoint in `work`.
        workers: processes that make views beside this one.
        say: is told how it goes, a line at a time.

    Raises:
        InputError: an archive, a teacher, `weights` or `remember` is missing or damaged; nothing to resume from.
        OutputError: `work` cannot be written.
    """
    weights = weights or remember
    known = None if remember is None else first_answers(read_mobilefacenet(remember))
    begin = None if resume else beginning(recipe.design, weights)
    if weights is not None and weights.suffix == ".keras":
        # What cannot be begun with, or mixed in the end, should be known before hours are spent.
        take_body(recipe.design.build(), weights)
    split, asked = prepare(data), Teachers(teachers)
    check_measurable(split.dev, f"{data}: {DEV}")
    check_measurable(split.group_dev, f"{data}: {GROUP.format('dev')}")
    learn, pictures, kept = split.learn, work / "faces.npy", work / "targets.npz"
    if known is None:
        check_whitening(tuple(np.array(learn.people)[named(learn)]), DIMENSION)
    if resume:
        targets = Targets.load(asked, kept, known)
    else:
        prepare_folder(work, resume=False)
        write_pictures(learn, pictures)
        say(f"asking the teachers about {len(learn)} faces")
        targets = Targets.fit(asked, learn, DIMENSION, known)
        targets.save(kept)
    recipe = replace(recipe, design=replace(recipe.design, dimension=targets.bank.shape[1]))

    rows = some_rows(len(learn), FITTED)
    some, wanted = learn.centre()[rows], targets.bank[rows]

    def check(network: keras.Model) -> dict[str, float]:
        return dev_figures(lambda faces: embed(network, faces), split.dev, split.group_dev)

    network = train_embedder(
        work,
        recipe,
        recipe.views(pictures, weights_of(learn)),
        targets,
        targets.bank,
        resume=resume,
        begin=begin and partial(begin, faces=some, targets=wanted),
        check=check,
        workers=workers,
        say=say,
    )
    if not on_tensorflow():
        return None
    residual = isinstance(recipe.design, EmbedderDesign)
    if weights is not None and mixed < 1:
        mix(network, weights, mixed, some, wanted)
    if isinstance(recipe.design, MobileFaceNetDesign) and is_straight(network):
        network = with_relus(network)
        calm(network)
        equalize(network, calibration_faces(learn))
    if known is None:  # what is remembered has its own weights for the directions, better ones
        whiten(network, learn)
    digest = export_embedder(network, work, split, mirror=residual, integers=not residual)
    with replaced(work / "embedder.keras") as temporary:
        network.save(temporary)
    return digest


def whiten(network: keras.Model, learn: FaceSet) -> None:
    """Whiten `network` in place within the named people of the large collection; the only step that uses names."""
    faces = learn.select(named(learn))
    fold_in(network, fit_whitening(raw_outputs(network, faces.centre()), faces.people))


def named(learn: FaceSet) -> NDArray[np.bool_]:
    """`[N]`: the faces of the large collection that have a name."""
    return np.array([s == "celeb" and p != "" for s, p in zip(learn.sets, learn.people, strict=True)], np.bool_)


def export_embedder(network: keras.Model, folder: Path, split: Split, *, mirror: bool, integers: bool) -> str:
    """Write `embedder.onnx` and `.sha256` to `folder`; returns the checksum.

    Args:
        network: the trained embedder.
        folder: also gets `embedder_f32.onnx`, the same network in 32-bit floats.
        split: the threshold for naming has a false accept rate of 1e-3 between its dev people.
        mirror: embed each face as it is and mirrored.
        integers: compute in 8-bit integers, ranges measured on faces that were learned from.

    Raises:
        InputError: ONNX Runtime and Keras disagree.
        OutputError: `folder` cannot be written.
    """
    exact, path = folder / "embedder_f32.onnx", folder / "embedder.onnx"
    facts = {"iznet.kind": "embedder", "iznet.name": NAME, "iznet.threshold": "0.5"}
    facts |= {"iznet.precision": "int8"} if integers else {}
    noise = np.random.default_rng(0).integers(0, 256, (4, FACE, FACE, 3), dtype=np.uint8)
    export_onnx(
        mirrored(network) if mirror else network,
        exact,
        input_name="faces",
        input_shape=(None, FACE, FACE, 3),
        output_names=["embeddings"],
        metadata=facts,
        example=np.concatenate([split.dev.centre()[:8], noise]),
        tolerance=1e-4,
    )
    model = quantize(exact, in_eights(calibration_faces(split.learn))) if integers else onnx.load(exact)
    write_onnx(model, path, facts)
    with contextlib.closing(Embedder.open(path)) as embedder:
        cosines, same = all_pairs(embedder.embed(split.dev.centre()), split.dev.people)
    _, threshold = tar_at_far(cosines, same, 1e-3)
    facts |= {"iznet.threshold": f"{threshold:.3f}", "iznet.strangers": f"{cosines[~same].mean():.3f}"}
    return write_onnx(model, path, facts)


def calibration_faces(learn: FaceSet, count: int = 256) -> NDArray[np.uint8]:
    """`[count,112,112,3]` faces of `learn`, half of them degraded as in training, to measure integer ranges on."""
    rng = np.random.default_rng(0)
    faces = learn.select(some_rows(len(learn), count)).centre()
    return np.stack([degrade(rng, face, Strength()) if i % 2 else face for i, face in enumerate(faces)])
