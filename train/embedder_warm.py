"""Beginning the distillation with dlib's network instead of with random weights.

The convolutions are dlib's, the averages of the batch normalisations are measured, and the last layer is fitted by
least squares to the teachers' answers, so that the first step already starts from embeddings in the teachers' space.
"""

from __future__ import annotations

import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.data.dlib_network import read_dlib_network
from train.embedder_head import HEAD
from train.models.dlib_resnet import load_dlib_weights

log = logging.getLogger(__name__)

FEATURES = "head_pool"
"""The layer whose outputs the last dense layer maps."""
STATISTICS = 256
"""Faces that the averages are measured on."""


def warm_start(network: keras.Model, weights: Path, faces: NDArray[np.uint8], targets: NDArray[np.float32]) -> None:
    """Change `network` (of a `DlibDesign`) in place to what dlib's `weights` make of it.

    Args:
        network: as built.
        weights: `dlib_face_recognition_resnet_model_v1.dat`.
        faces: `[N,112,112,3]` RGB, a few thousand, not much distorted.
        targets: `[N,D]` what the embeddings of `faces` should be.

    Raises:
        InputError: the file is missing, damaged or of another network.
    """
    load_dlib_weights(network, read_dlib_network(weights))
    measure_statistics(network, faces[:STATISTICS])
    fit_head(network, faces, targets)


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
    """Fit the last dense layer by least squares to `targets` `[N,D]` for `faces`, in place.

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
    network.get_layer(HEAD).set_weights([kernel, y_mean - x_mean @ kernel])
    given = x @ kernel + y_mean
    cosines = np.sum(given * targets, axis=1) / np.linalg.norm(given, axis=1)
    log.info("the last layer was fitted to %d faces: mean cosine to the teachers %.3f", len(x), cosines.mean())
