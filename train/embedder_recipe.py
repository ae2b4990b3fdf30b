"""From the archives to a shipped embedder: views, training, export, figures. What the commands call."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from engine.embedder import Embedder, unit
from engine.errors import InputError, OutputError
from engine.metrics import tar_at_far
from train.data.dlib_network import installed_weights, read_dlib_network
from train.data.faces import FACE, FaceSet, Split
from train.data.views import Strength, ViewStore, degrade
from train.embedder import Recipe, Targets, embed, train_embedder
from train.embedder_eval import all_pairs, dev_figures
from train.embedder_head import fit_whitening, fold_in, mirrored, raw_outputs
from train.embedder_views import make_projection, make_views, prepare
from train.embedder_warm import FITTED, BothTargets, fit_reduction, go_on, own_answers, warm_start
from train.export import export_onnx, write_onnx
from train.models.dlib_resnet import DlibDesign, reduce_output
from train.models.embedder import EmbedderDesign
from train.quantize import quantize
from train.teachers import Teachers, project

NAME = "iznet-embedder"

RATIOS = (0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0, 3.0)
"""How much longer the teachers' half of an answer may be made at the end, tried one after the other."""

log = logging.getLogger(__name__)


def make_all_views(data: Path, teachers: Path, work: Path, shards: int, seed: int) -> None:
    """Make the targets' projection and `shards` shards of views in `work`; what is there already is kept.

    Raises:
        InputError: an archive or a teacher is missing or damaged.
        OutputError: `work` cannot be written.
    """
    learn, asked = prepare(data).learn, Teachers(teachers)
    if not (work / "projection.npy").exists():
        make_projection(learn, asked, work / "projection.npy")
    make_views(learn, asked, ViewStore(work / "views"), shards, seed)


def recipe_for(architecture: str, steps: int, seed: int) -> Recipe:
    """The settings that suit an architecture: `residual` learns from nothing, `dlib` goes on from dlib's weights.

    Example:
        >>> recipe_for("dlib", 1000, 1).design.signature
        'dlib-32x3-64x4-128x3-256x3-256x1-e128'
    """
    if architecture == "residual":
        return Recipe(steps=steps, seed=seed, design=EmbedderDesign())
    return Recipe(
        steps=steps,
        seed=seed,
        design=DlibDesign(weight=1.5),
        # dlib's kernels are small numbers, its affine maps are large: rates for random weights would erase them. The
        # batches are too small, and too unlike clean faces, to take moments from.
        frozen=("stem*", "level1*", "*_norm"),
        peak_rate=4e-5,
        warm_up=200,
        last_rate=1e-6,
        averaging=0.998,
    )


def read_projection(work: Path) -> NDArray[np.float32]:
    """The targets' projection that `make_all_views` left in `work`.

    Raises:
        InputError: there is none.
    """
    try:
        return np.asarray(np.load(work / "projection.npy"), np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{work / 'projection.npy'} cannot be read ({error}); make the views first") from error


@dataclass(frozen=True, slots=True)
class Start:
    """Where the targets come from and what a new network begins with."""

    targets: Targets
    begin: Callable[[keras.Model], None] | None = None


def start_for(design: EmbedderDesign | DlibDesign, work: Path, weights: Path | None) -> Start:
    """What training `design` on the views in `work` starts from; asks dlib's network about the views, where need be.

    Args:
        design: of the network.
        work: folder with the projection and the views.
        weights: what a `DlibDesign` begins with: dlib's file, or the `embedder.keras` of an earlier training; None
            takes the installed package's.

    Raises:
        InputError: no projection, no views or no `weights`, or they are damaged.
        OutputError: `work` cannot be written.
    """
    projection, store = read_projection(work), ViewStore(work / "views")
    if isinstance(design, EmbedderDesign):
        return Start(lambda number, answers: project(answers, projection))
    earlier = weights if weights is not None and weights.suffix == ".keras" else None
    source = read_dlib_network(installed_weights() if weights is None or earlier is not None else weights)
    own_answers(store, source, work / "dlib", design)
    targets = BothTargets(work / "dlib", projection, design.weight)

    def begin(network: keras.Model) -> None:
        last = store.count() - 1
        shard = store.open(last)
        faces, wanted = np.asarray(shard.faces[:FITTED]), targets(last, np.asarray(shard.targets[:FITTED]))
        if earlier is not None:
            go_on(network, earlier, faces, wanted)
        else:
            warm_start(network, source, faces, wanted)

    return Start(targets, begin)


def train_and_export(
    data: Path, teachers: Path, work: Path, shards: int, recipe: Recipe, weights: Path | None, *, resume: bool = False
) -> str:
    """The whole recipe; leaves `embedder.onnx` and `embedder.keras` in `work` and returns the checksum.

    Args:
        data: folder of the archives.
        teachers: folder of the teachers' networks.
        work: folder for everything that is made on the way.
        shards: of views, at least.
        recipe: of the training.
        weights: what to begin with, as in `start_for`.
        resume: go on from the checkpoint in `work`.

    Raises:
        InputError: an archive, a teacher or `weights` is missing or damaged; nothing to resume from.
        OutputError: `work` cannot be written.
    """
    make_all_views(data, teachers, work, shards, recipe.seed)
    split = prepare(data)

    def check(network: keras.Model) -> dict[str, float]:
        return dev_figures(lambda faces: embed(network, faces), split.dev, split.group_dev)

    start = start_for(recipe.design, work, weights)
    network = train_embedder(work, recipe, start.targets, resume=resume, begin=start.begin, check=check)
    if isinstance(recipe.design, EmbedderDesign):
        whiten(network, split.learn)
        return export_embedder(network, work, split, mirror=True, integers=False)
    return export_embedder(reduce(network, split, recipe.design.dimension), work, split, mirror=False, integers=True)


def reduce(network: keras.Model, split: Split, dimension: int, faces: int = 2048) -> keras.Model:
    """`network` of a `DlibDesign` with the map to `dimension` behind it, the two spaces weighed by trial.

    The weight is the one with the best sum of the two acceptance rates of `dev_figures` on the people kept aside.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(split.learn))[:faces])
    outputs = embed(network, split.learn.select(rows).centre())
    dev, group = embed(network, split.dev.centre()), embed(network, split.group_dev.centre())
    best, chosen = -1.0, None
    for ratio in RATIOS:
        r = fit_reduction(outputs, ratio, dimension)
        tars = [
            tar_at_far(*all_pairs(unit(x @ r.kernel + r.bias), people), far)[0]
            for x, people, far in ((dev, split.dev.people, 1e-3), (group, split.group_dev.people, 1e-2))
        ]
        log.info("teachers' half × %.2f: TAR %.4f on dev people, %.4f on the group", ratio, *tars)
        if sum(tars) > best:
            best, chosen = sum(tars), r
    assert chosen is not None
    return reduce_output(network, chosen.kernel, chosen.bias)


def whiten(network: keras.Model, learn: FaceSet) -> None:
    """Whiten `network` in place within the named people of the large collection; the only step that uses names."""
    faces = learn.select(np.array([s == "celeb" and p != "" for s, p in zip(learn.sets, learn.people, strict=True)]))
    fold_in(network, fit_whitening(raw_outputs(network, faces.centre()), faces.people))


def export_embedder(network: keras.Model, folder: Path, split: Split, *, mirror: bool, integers: bool) -> str:
    """Write `embedder.onnx`, `.sha256` and `.keras` to `folder`; returns the checksum of the first.

    Args:
        network: the trained embedder.
        folder: also gets `embedder_f32.onnx`, the same network in 32-bit floats.
        split: the threshold for naming has a false accept rate of 1e-3 between its dev people.
        mirror: embed each face as it is and mirrored; the Keras file is the network alone.
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
    model = quantize(exact, calibration_faces(split.learn)) if integers else onnx.load(exact)
    write_onnx(model, path, facts)
    with contextlib.closing(Embedder.open(path)) as embedder:
        threshold = dev_figures(embedder.embed, split.dev, split.group_dev)["dev_threshold_1e-3"]
        cosines, same = all_pairs(embedder.embed(split.dev.centre()), split.dev.people)
    facts |= {"iznet.threshold": f"{threshold:.3f}", "iznet.strangers": f"{cosines[~same].mean():.3f}"}
    digest = write_onnx(model, path, facts)
    try:
        network.save(folder / "embedder.keras")
    except OSError as error:
        raise OutputError(f"cannot write {folder / 'embedder.keras'}: {error}") from error
    return digest


def calibration_faces(learn: FaceSet, count: int = 256) -> NDArray[np.uint8]:
    """`[count,112,112,3]` faces of `learn`, half of them degraded as in training, to measure integer ranges on."""
    rng = np.random.default_rng(0)
    faces = learn.select(np.sort(rng.permutation(len(learn))[:count])).centre()
    return np.stack([degrade(rng, face, Strength()) if i % 2 else face for i, face in enumerate(faces)])


def load_average(weights: Path, recipe: Recipe) -> keras.Model:
    """The averaged network from the `average.weights.h5` that a running training leaves at every check."""
    network = recipe.design.build()
    network.load_weights(weights)
    return network
