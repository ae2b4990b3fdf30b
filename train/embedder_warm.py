"""Beginning the distillation with dlib's network instead of with random weights.

dlib's network becomes a third teacher for its own copy: that one shall keep what it knows (Li and Hoiem, "Learning
without forgetting", ECCV 2016), now for bad pictures too, while it learns what the other teachers know better. The
convolutions are dlib's, the averages of the batch normalisations are measured, and the last layers are fitted by least
squares, so that the first step already starts from good embeddings in both spaces.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from engine.embedder import Embedder
from engine.errors import InputError, OutputError
from train.data.dlib_network import DlibNetwork
from train.data.faces import FACE
from train.data.views import ViewStore
from train.export import export_onnx
from train.models.dlib_resnet import HEADS, DlibDesign, load_dlib_weights
from train.teachers import fit_projection, project

log = logging.getLogger(__name__)

FEATURES = "head_pool"
"""The layer whose outputs the last dense layers map."""
STATISTICS = 256
"""Faces that the averages are measured on."""
FITTED = 2048
"""Faces that the last layers are fitted to."""
CENTRING = 0.85
"""How much of the mean is taken off at the end. dlib's descriptors lie around one direction, but whoever uses cosines
takes it that strangers' are about 0. With all of the mean off, the people kept aside are told apart less well."""


def own_answers(views: ViewStore, source: DlibNetwork, folder: Path, design: DlibDesign) -> None:
    """Ask dlib's network about every shard of `views`; the answers that are in `folder` already are kept.

    Raises:
        InputError: a shard is damaged.
        OutputError: `folder` cannot be written.
    """
    missing = [n for n in range(views.count()) if not answer_file(folder, n).exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dlib.onnx"
    export_onnx(
        design.build_own(source),
        path,
        input_name="faces",
        input_shape=(None, FACE, FACE, 3),
        output_names=["embeddings"],
        metadata={"iznet.kind": "embedder", "iznet.name": "dlib", "iznet.threshold": "0.93"},
        example=np.asarray(views.open(0).faces[:8]),
    )
    with contextlib.closing(Embedder.open(path, backend="openvino", threads=1, precision="f32")) as embedder:
        embedder.prepare(16)
        for number in missing:
            answers = embedder.embed(np.asarray(views.open(number).faces)).astype(np.float16)
            partial = answer_file(folder, number).with_suffix(".partial")
            try:
                with partial.open("wb") as file:
                    np.save(file, answers)
                partial.rename(answer_file(folder, number))
            except OSError as error:
                raise OutputError(f"cannot write dlib's answers to {folder}: {error}") from error
            log.info("dlib's answers to shard %d of %d", number + 1, views.count())


def answer_file(folder: Path, number: int) -> Path:
    """Where the answers `[N,D]` to a shard lie."""
    return folder / f"{number:04d}.npy"


class BothTargets:
    """From the number of a shard and the teachers' answers to it to targets in dlib's space and in the teachers'."""

    def __init__(self, folder: Path, projection: NDArray[np.float32], weight: float) -> None:
        self._folder, self._projection, self._weight = folder, projection, weight

    def __call__(self, number: int, answers: NDArray[np.float16]) -> NDArray[np.float32]:
        """Unit vectors `[N,2D]`, made as `DlibDesign.build` makes its own.

        Raises:
            InputError: dlib's answers to this shard are missing or damaged.
        """
        path = answer_file(self._folder, number)
        try:
            own = np.load(path)[: len(answers)].astype(np.float32)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); delete the folder and start afresh") from error
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        targets = np.concatenate([own, self._weight * project(answers, self._projection)], axis=1)
        return np.asarray(targets / np.linalg.norm(targets, axis=1, keepdims=True), np.float32)


def warm_start(
    network: keras.Model, source: DlibNetwork, faces: NDArray[np.uint8], targets: NDArray[np.float32]
) -> None:
    """Change `network` (of a `DlibDesign`) in place to what dlib's weights make of it.

    Args:
        network: as built.
        source: dlib's network.
        faces: `[N,112,112,3]` RGB, a few thousand, not much distorted.
        targets: `[N,2D]` what the embeddings of `faces` should be.

    Raises:
        InputError: the two networks have not the same layers.
    """
    load_dlib_weights(network, source)
    measure_statistics(network, faces[:STATISTICS])
    network.get_layer(HEADS[0]).set_weights([source.dense, np.zeros(source.dense.shape[1], np.float32)])
    fit_head(network, faces, targets[:, source.dense.shape[1] :])


def go_on(network: keras.Model, earlier: Path, faces: NDArray[np.uint8], targets: NDArray[np.float32]) -> None:
    """Change `network` (of a `DlibDesign`) in place to an earlier one of the same form, its last layer fitted anew.

    The teachers' space is fitted to data (`fit_projection`), so its axes need not be those of the earlier training.

    Args:
        network: as built.
        earlier: the `embedder.keras` that a training left; what comes after its `embeddings` is passed over.
        faces: `[N,112,112,3]` RGB, a few thousand, not much distorted.
        targets: `[N,2D]` what the embeddings of `faces` should be.

    Raises:
        InputError: no such file, damaged, or of another form.
    """
    try:
        trained = keras.saving.load_model(earlier, compile=False)
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(trained.get_layer(layer.name).get_weights())
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{earlier} is no embedder to go on from ({error}); give the .keras file of one") from error
    fit_head(network, faces, targets[:, network.get_layer(HEADS[0]).units :])


def measure_statistics(network: keras.Model, faces: NDArray[np.uint8], batch: int = 32) -> None:
    """Give every batch normalisation the moments of its inputs for `faces` as averages, in place.

    Scale and centre change with them, so the network computes the same as before.
    """
    norms = [layer for layer in network.layers if layer.name.endswith("_norm")]
    inputs = keras.Model(network.input, [layer.input for layer in norms])
    sums = [np.zeros((2, layer.gamma.shape[0])) for layer in norms]
    counts = [0] * len(norms)
    for start in range(0, len(faces), batch):
        values = inputs(tf.constant(faces[start : start + batch], tf.float32), training=False)
        for i, value in enumerate(values):
            rows = tf.reshape(value, (-1, value.shape[-1]))
            sums[i] += np.stack([tf.reduce_sum(rows, 0), tf.reduce_sum(rows * rows, 0)]).astype(np.float64)
            counts[i] += len(rows)
    for layer, total, count in zip(norms, sums, counts, strict=True):
        mean = total[0] / count
        variance = np.maximum(total[1] / count - mean * mean, 1e-8)
        gain, centre, old_mean, old_variance = (np.asarray(w, np.float64) for w in layer.get_weights())
        slope = gain / np.sqrt(old_variance + layer.epsilon)
        layer.set_weights(
            [slope * np.sqrt(variance + layer.epsilon), centre + slope * (mean - old_mean), mean, variance]
        )


def fit_head(
    network: keras.Model, faces: NDArray[np.uint8], targets: NDArray[np.float32], ridge: float = 0.03, batch: int = 64
) -> None:
    """Fit the dense layer of the teachers' half by least squares to `targets` `[N,D]` for `faces`, in place.

    Args:
        ridge: weight of the kernel's squared norm, relative to the mean variance of the features.
    """
    features = keras.Model(network.input, network.get_layer(FEATURES).output)
    parts = [features(tf.constant(faces[i : i + batch], tf.float32)) for i in range(0, len(faces), batch)]
    x, y = np.concatenate([np.asarray(p, np.float64) for p in parts]), np.asarray(targets, np.float64)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    covariance = x.T @ x / len(x)
    size = len(covariance)
    kernel = np.linalg.solve(covariance + ridge * np.trace(covariance) / size * np.eye(size), x.T @ y / len(x))
    network.get_layer(HEADS[1]).set_weights([kernel, y_mean - x_mean @ kernel])
    given = x @ kernel + y_mean
    cosines = np.sum(given * (y + y_mean), axis=1) / np.linalg.norm(given, axis=1) / np.linalg.norm(y + y_mean, axis=1)
    log.info("the last layer was fitted to %d faces: mean cosine to the teachers %.3f", len(x), cosines.mean())


@dataclass(frozen=True, slots=True)
class Reduction:
    """`y = x @ kernel + bias` for the answers `x` `[N,2D]` of a network of `DlibDesign`."""

    kernel: NDArray[np.float32]
    """`[2D,dimension]`"""
    bias: NDArray[np.float32]
    """`[dimension]`"""


def fit_reduction(outputs: NDArray[np.float32], ratio: float, dimension: int, centring: float = CENTRING) -> Reduction:
    """The linear map that keeps most of the cosines between `outputs`, the halves newly weighed and the mean taken off.

    Args:
        outputs: `[N,2D]` answers of a network of `DlibDesign`.
        ratio: how much longer the teachers' half is made.
        dimension: of the result.
        centring: how much of the mean is taken off, 0…1.

    Example:
        >>> fit_reduction(np.eye(4, dtype=np.float32), 2.0, 2).kernel.shape
        (4, 2)
    """
    scale = np.repeat(np.array([1.0, ratio], np.float32), outputs.shape[1] // 2)
    weighed = outputs * scale
    mean = centring * weighed.mean(axis=0)
    projection = fit_projection(weighed - mean, dimension)
    return Reduction(np.ascontiguousarray(scale[:, None] * projection), np.asarray(-mean @ projection, np.float32))
