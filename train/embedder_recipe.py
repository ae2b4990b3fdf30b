"""From the archives to a shipped embedder: views, training, export, figures. What the commands call."""

from __future__ import annotations

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
from train.export import export_onnx
from train.models.embedder import build_embedder
from train.teachers import Teachers

NAME = "iznet-embedder"


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


def train_and_export(
    data: Path, teachers: Path, work: Path, shards: int, steps: int, seed: int, *, resume: bool = False
) -> str:
    """The whole recipe; leaves `embedder.onnx` and `embedder.keras` in `work` and returns the checksum.

    Raises:
        InputError: an archive or a teacher is missing or damaged; nothing to resume from.
        OutputError: `work` cannot be written.
    """
    make_all_views(data, teachers, work, shards, seed)
    split = prepare(data)

    def check(network: keras.Model) -> dict[str, float]:
        return dev_figures(lambda faces: embed(network, faces), split.dev, split.group_dev)

    network = train_embedder(work, Recipe(steps=steps, seed=seed), resume=resume, check=check)
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
    network = build_embedder(recipe.design)
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
