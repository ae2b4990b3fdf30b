"""From the archives to a shipped embedder: views, training, export, figures. What the commands call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from engine.embedder import Embedder
from engine.errors import OutputError
from train.data.faces import FACE, FaceSet, read_pairs
from train.data.views import ViewStore
from train.embedder import Recipe, embed, train_embedder
from train.embedder_eval import Embed, Figure, all_figures, dev_figures
from train.embedder_head import fit_whitening, fold_in, mirrored, raw_outputs
from train.embedder_views import make_projection, make_views, prepare
from train.embedder_warm import warm_start
from train.export import export_onnx
from train.models.dlib_resnet import DlibDesign
from train.models.embedder import EmbedderDesign
from train.teachers import Teachers, project

NAME = "iznet-embedder"

WARM_FACES = 2048
"""Views that the last layer is fitted to before a warm start."""


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
    if architecture == "dlib":
        return Recipe(steps=steps, seed=seed, design=DlibDesign(), peak_rate=6e-4, warm_up=50, averaging=0.995)
    return Recipe(steps=steps, seed=seed, design=EmbedderDesign())


def begin_from(weights: Path, work: Path) -> Callable[[keras.Model], None]:
    """What puts dlib's `weights` into a new network, with the last shard of views to fit the last layer to."""

    def begin(network: keras.Model) -> None:
        store = ViewStore(work / "views")
        shard = store.open(store.count() - 1)
        warm_start(network, weights, shard.faces[:WARM_FACES], project(shard.targets[:WARM_FACES], np.load(work / "projection.npy")))

    return begin


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
        weights: dlib's file to begin with, or None.
        resume: go on from the checkpoint in `work`.

    Raises:
        InputError: an archive, a teacher or `weights` is missing or damaged; nothing to resume from.
        OutputError: `work` cannot be written.
    """
    make_all_views(data, teachers, work, shards, recipe.seed)
    split = prepare(data)

    def check(network: keras.Model) -> dict[str, float]:
        return dev_figures(lambda faces: embed(network, faces), split.dev, split.group_dev)

    begin = None if weights is None else begin_from(weights, work)
    network = train_embedder(work, recipe, resume=resume, begin=begin, check=check)
    whiten(network, split.learn)
    return export_embedder(network, work, split.dev, split.group_dev)


def whiten(network: keras.Model, learn: FaceSet) -> None:
    """Whiten `network` in place within the named people of the large collection; the only step that uses names."""
    faces = learn.select(np.array([s == "celeb" and p != "" for s, p in zip(learn.sets, learn.people, strict=True)]))
    fold_in(network, fit_whitening(raw_outputs(network, faces.centre()), faces.people))


def export_embedder(network: keras.Model, folder: Path, dev: FaceSet, group: FaceSet) -> str:
    """Write `embedder.onnx`, `.sha256` and `.keras` to `folder`, with a threshold calibrated on the dev parts.

    The ONNX file embeds each face as it is and mirrored; the Keras file is the network alone.

    The threshold for naming has a false accept rate of 1e-3 between the dev people.

    Raises:
        InputError: ONNX Runtime and Keras disagree.
        OutputError: `folder` cannot be written.
    """
    both = mirrored(network)
    figures = dev_figures(lambda faces: embed(both, faces), dev, group)
    threshold = figures["dev_threshold_1e-3"]
    example = np.concatenate(
        [dev.centre()[:8], np.random.default_rng(0).integers(0, 256, (4, FACE, FACE, 3), dtype=np.uint8)]
    )
    digest = export_onnx(
        both,
        folder / "embedder.onnx",
        input_name="faces",
        input_shape=(None, FACE, FACE, 3),
        output_names=["embeddings"],
        metadata={"iznet.kind": "embedder", "iznet.name": NAME, "iznet.threshold": f"{threshold:.3f}"},
        example=example,
        tolerance=1e-4,
    )
    try:
        network.save(folder / "embedder.keras")
    except OSError as error:
        raise OutputError(f"cannot write {folder / 'embedder.keras'}: {error}") from error
    return digest


def load_average(weights: Path, recipe: Recipe) -> keras.Model:
    """The averaged network from the `average.weights.h5` that a running training leaves at every check."""
    network = recipe.design.build()
    network.load_weights(weights)
    return network


def evaluate(network: Path | None, data: Path, teachers: Path | None = None) -> dict[str, list[Figure]]:
    """All figures of the embedder at `network` (None: the shipped one), and of the teachers in their folder, if given.

    Raises:
        InputError: a network or an archive is missing or damaged.
    """
    split, lfw = prepare(data), read_pairs(data / "lfw.zip")
    student = Embedder.open(network)
    rows: dict[str, Embed] = {student.name: student.embed}
    if teachers is not None:
        rows["both teachers"] = Teachers(teachers)
    return {name: all_figures(e, split.dev, split.group_test, lfw) for name, e in rows.items()}


def table(rows: dict[str, list[Figure]]) -> str:
    """Markdown: one line per figure, one column per network, 95 % bootstrap intervals in brackets."""
    names = list(rows)
    lines = ["| figure (%) | measured on | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for figures in zip(*rows.values(), strict=True):
        cells = [f"{100 * f.value:.2f} [{100 * f.low:.2f}, {100 * f.high:.2f}]" for f in figures]
        lines.append(f"| {figures[0].name} | {figures[0].count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
