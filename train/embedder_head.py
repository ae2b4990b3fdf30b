"""The last step of the embedder's recipe: weigh the directions of the embedding by how much they vary within a person.

A student that is still far from its teachers errs more in some directions than in others. Whitening by the covariance
within persons (WCCN, Hatch et al., Interspeech 2006) makes those directions count less. It is a linear map, so it is
folded into the last dense layer and costs nothing at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from engine.errors import InputError
from train.embedder import embed
from train.models.layers import HEAD


@dataclass(frozen=True, slots=True)
class Whitening:
    """`y = (x - offset) @ matrix` for the raw outputs `x` `[N,D]` of the last layer."""

    offset: NDArray[np.float64]
    """`[D]`: the mean over all faces."""
    matrix: NDArray[np.float64]
    """`[D,D]`, symmetric."""


def raw_outputs(network: keras.Model, faces: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """The outputs `[N,D]` of the last dense layer, before they are brought to unit length."""
    head = keras.Model(network.input, network.get_layer(HEAD).output)
    return embed(head, faces, batch)


def repeated(people: tuple[str, ...]) -> NDArray[np.bool_]:
    """`[N]`: which faces have a name that another one has too; those without a name (`""`) have none.

    Example:
        >>> repeated(("yuri", "", "yena", "", "yuri")).tolist()
        [True, False, False, False, True]
    """
    names, place, count = np.unique(np.array(people), return_inverse=True, return_counts=True)
    return np.asarray((count[place] > 1) & (names[place] != ""))


def check_whitening(people: tuple[str, ...], dimension: int) -> None:
    """Whether a whitening of so many dimensions can be fitted to faces of these people: before a long training.

    Raises:
        InputError: they are too few.
    """
    use = repeated(people)
    faces, several = int(use.sum()), len({name for name, used in zip(people, use, strict=True) if used})
    if faces - several < dimension:
        raise InputError(
            f"{faces} faces of {several} people who have several are too few to whiten {dimension} dimensions; "
            f"give {dimension} more faces than people"
        )


def fit_whitening(outputs: NDArray[np.floating], people: tuple[str, ...], shrink: float = 0.5) -> Whitening:
    """Fit on `outputs` `[N,D]` of faces with a name; people with one face and faces without a name are passed over.

    Args:
        outputs: as `raw_outputs` gives them.
        people: who each one is; empty where nobody knows.
        shrink: 0 uses the covariance as it was estimated, 1 a multiple of the identity (only the mean is removed).

    Raises:
        InputError: as `check_whitening`.
    """
    use = repeated(people)
    check_whitening(people, outputs.shape[1])
    x = np.asarray(outputs[use], np.float64)
    present, place, count = np.unique(np.array(people)[use], return_inverse=True, return_counts=True)
    means = np.zeros((len(present), x.shape[1]))
    np.add.at(means, place, x)
    rest = x - (means / count[:, None])[place]
    within = rest.T @ rest / (len(x) - len(present))
    size = within.shape[0]
    values, vectors = np.linalg.eigh((1 - shrink) * within + shrink * np.eye(size) * np.trace(within) / size)
    return Whitening(x.mean(axis=0), (vectors / np.sqrt(values)) @ vectors.T)


def fold_in(network: keras.Model, whitening: Whitening) -> None:
    """Change the last dense layer of `network` in place, so that its outputs come out whitened."""
    layer = network.get_layer(HEAD)
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    layer.set_weights([kernel @ whitening.matrix, (bias - whitening.offset) @ whitening.matrix])


def mirrored(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function that embeds every face twice, as it is and mirrored, and answers with the direction of the sum.

    It halves the part of the error that differs between the two, at twice the arithmetic.
    """
    head = keras.Model(network.input, network.get_layer(HEAD).output)
    width = network.input.shape[2]

    def call(pixels: tf.Tensor) -> tf.Tensor:
        other = tf.gather(pixels, tf.range(width - 1, -1, -1), axis=2)
        return tf.math.l2_normalize(head(pixels) + head(other), axis=-1)

    return call
