"""Beginning the distillation with a network that has learned elsewhere instead of with random weights.

The convolutions are that network's, the averages of the batch normalisations are measured, and the last layer is fitted
by least squares, so that the first step already starts from good embeddings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from train.embedder import embed
from train.mixing import mixed
from train.models.layers import HEAD, measure_statistics
from train.saved_network import saved_network

log = logging.getLogger(__name__)

FEATURES = "head_pool"
"""The layer whose outputs the last dense layer maps."""
STATISTICS = 256
"""Faces that the averages are measured on."""


def warm_start(
    network: keras.Model,
    load: Callable[[keras.Model], None],
    faces: NDArray[np.uint8],
    targets: NDArray[np.float32],
) -> None:
    """Change `network` in place to what weights that were learned elsewhere make of it.

    Args:
        network: as built.
        load: puts the weights into it, all but those of the last layer.
        faces: `[N,112,112,3]` RGB, a few thousand, not much distorted.
        targets: `[N,D]` what the embeddings of `faces` should be.

    Raises:
        InputError: the two networks have not the same layers.
    """
    load(network)
    measure_statistics(network, (faces[i : i + 32] for i in range(0, len(faces[:STATISTICS]), 32)))
    fit_head(network, faces, targets)


def go_on(network: keras.Model, earlier: Path, faces: NDArray[np.uint8], targets: NDArray[np.float32]) -> None:
    """Change `network` in place to an earlier one of the same form, its last layer fitted anew.

    The teachers' space is fitted to data (`fit_projection`), so its axes need not be those of the earlier training.

    Args:
        network: as built.
        earlier: the `embedder.keras` that a training left.
        faces: `[N,112,112,3]` RGB, a few thousand, not much distorted.
        targets: `[N,D]` what the embeddings of `faces` should be.

    Raises:
        InputError: no such file, damaged, or of another form.
    """
    take_body(network, earlier)
    fit_head(network, faces, targets)


def take_body(network: keras.Model, earlier: Path) -> None:
    """Give `network` in place the weights of an earlier one of the same form, but for the last layer.

    Where the earlier one has ReLUs (`with_relus`) the slopes of PReLUs become 0.

    Raises:
        InputError: no such file, damaged, or of another form.
    """
    with saved_network(earlier, "an embedder of the form of this one; give the .keras file of one") as trained:
        straight = not any(isinstance(layer, keras.layers.PReLU) for layer in trained.layers)
        for layer in network.layers:
            if straight and isinstance(layer, keras.layers.PReLU):
                layer.set_weights([np.zeros(layer.alpha.shape)])
            elif layer.weights and layer.name != HEAD:
                layer.set_weights(trained.get_layer(layer.name).get_weights())


def mix(
    network: keras.Model, earlier: Path, share: float, faces: NDArray[np.uint8], targets: NDArray[np.float32]
) -> None:
    """Move `network` in place towards the one that its training began with (`mixed`), and fit its last layer anew.

    Args:
        network: trained.
        earlier: the `embedder.keras` that it began with.
        share: what of `network` stays, 0…1; the rest is `earlier`.
        faces: as for `go_on`.
        targets: likewise.

    Raises:
        InputError: no such file, damaged, or of another form.
    """
    with saved_network(earlier, "an embedder of the form of this one; give the .keras file of one") as before:
        for layer in network.layers:
            if layer.weights and layer.name != HEAD:
                layer.set_weights(mixed(layer.get_weights(), before.get_layer(layer.name).get_weights(), share))
    fit_head(network, faces, targets)


def fit_head(
    network: keras.Model, faces: NDArray[np.uint8], targets: NDArray[np.float32], ridge: float = 0.03, batch: int = 64
) -> None:
    """Fit the last dense layer by least squares to `targets` `[N,D]` for `faces`, in place.

    Args:
        ridge: weight of the kernel's squared norm, relative to the mean variance of the features.
    """
    features = keras.Model(network.input, network.get_layer(FEATURES).output)
    x, y = np.asarray(embed(features, faces, batch), np.float64), np.asarray(targets, np.float64)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    covariance = x.T @ x / len(x)
    size = len(covariance)
    kernel = np.linalg.solve(covariance + ridge * np.trace(covariance) / size * np.eye(size), x.T @ y / len(x))
    network.get_layer(HEAD).set_weights([kernel, y_mean - x_mean @ kernel])
    given = x @ kernel + y_mean
    cosines = np.sum(given * (y + y_mean), axis=1) / np.linalg.norm(given, axis=1) / np.linalg.norm(y + y_mean, axis=1)
    log.info("the last layer was fitted to %d faces: mean cosine to the targets %.3f", len(x), cosines.mean())
