"""Two embedders as one: they look at a face together, and one linear map makes an embedding of what both see in it.

Networks that began with different weights err on different faces, so together they err less than the better of them (an
ensemble; Hansen and Salamon, PAMI 1990). What each counts is not said by hand but fitted: by least squares to the
answers that both were taught (stacked regressions; Breiman, Machine Learning 24, 1996), for faces as they are and as
videos show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from engine.embedder import unit
from engine.errors import InputError
from train.compiled_step import compiled_answers
from train.data.faces import FACE, FaceSet, Split
from train.data.views import Strength, degrade
from train.embedder import embed
from train.embedder_data import Targets, some_rows
from train.embedder_eval import Embed, figures_of
from train.embedder_memory import MEAN_OFF
from train.loop import Say
from train.models.layers import HEAD
from train.saved_network import saved_network
from train.teachers import Teachers

FITTED = 8192
"""Faces that the map is fitted to, each as it is and spoilt."""
SPOILT = Strength(shrink=0.6, blur=0.4, noise=0.4, jpeg=0.6)
"""What videos do to faces."""
SPOILT_WEIGHT = 2.0
"""How much a spoilt face counts against one as it is."""
RIDGE = 3e-3
"""Weight of the map's squared norm, relative to the mean variance of what it maps."""


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """From the features of two networks to an embedding: the direction of `[x, y] @ kernel + bias`."""

    kernel: NDArray[np.float32]
    """`[F₁+F₂,D]`."""
    bias: NDArray[np.float32]
    """`[D]`."""

    @classmethod
    def fit(
        cls,
        features: NDArray[np.floating],
        targets: NDArray[np.floating],
        weights: NDArray[np.floating],
        dimension: int,
        ridge: float = RIDGE,
    ) -> Joint:
        """The answers that come nearest to `targets`, in their principal components.

        `MEAN_OFF` of the mean answer is taken off, so that strangers' cosines are about 0.

        Args:
            features: `[N,F]`, those of different networks of about the same size, as `ridge` treats them alike.
            targets: `[N,T]` unit vectors.
            weights: `[N]`: how much each row counts.
            dimension: of the embedding, at most T.
            ridge: keeps the map small, relative to the mean variance of the features.
        """
        share = (weights / weights.sum())[:, None]
        x, y = features.astype(np.float64), targets.astype(np.float64)
        x_mean, y_mean = (share * x).sum(axis=0), (share * y).sum(axis=0)
        x, y = x - x_mean, y - y_mean
        covariance = (share * x).T @ x
        size = len(covariance)
        kernel = np.linalg.solve(covariance + ridge * np.trace(covariance) / size * np.eye(size), (share * x).T @ y)
        answers = x @ kernel
        _, vectors = np.linalg.eigh((share * answers).T @ answers)
        components = vectors[:, ::-1][:, :dimension]
        mean = y_mean - x_mean @ kernel - MEAN_OFF * y_mean
        return cls((kernel @ components).astype(np.float32), (mean @ components).astype(np.float32))

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Unit vectors `[N,D]`."""
        return unit(np.asarray(features @ self.kernel + self.bias, np.float32))


def open_embedder(path: Path) -> keras.Model:
    """The embedder of an `embedder.keras`.

    Raises:
        InputError: no such file, damaged, or no embedder.
    """
    with saved_network(path, "an embedder; give the embedder.keras of a training") as network:
        network.get_layer(HEAD)
        if network.input_shape[1:] != (FACE, FACE, 3):
            raise ValueError(f"it takes pictures of the shape {network.input_shape[1:]}")
    return network


def join(
    first: keras.Model,
    second: keras.Model,
    split: Split,
    teachers: Teachers,
    known: Embed | None = None,
    *,
    dimension: int = 128,
    say: Say = print,
) -> keras.Model:
    """The two embedders as one.

    Args:
        first: of an `embedder.keras` (`open_embedder`).
        second: of another one.
        split: the map is fitted to faces of its `learn`; how well people are told apart is measured on its `dev` and
            `group_dev`.
        teachers: what the map is fitted to.
        known: what one of them was to remember, if it was trained to; as in `Targets.fit`.
        dimension: of the embedding.
        say: is told how each network does alone, and both.

    Raises:
        InputError: one of them was to remember something and nobody says what, or the other way round.
    """
    networks = first, second
    memory = 0 if known is None else known(np.zeros((1, FACE, FACE, 3), np.uint8)).shape[1]
    if max(network.output_shape[-1] for network in networks) != dimension + memory:
        raise InputError(
            "--remember: neither network was trained with this file"
            if memory
            else f"an answer of one network is longer than {dimension}: give the --remember that it was trained with"
        )
    learn = split.learn.select(some_rows(len(split.learn), FITTED))
    say(f"asking the teachers about {len(learn)} faces")
    targets = Targets.fit(teachers, learn, dimension, known).bank
    looks = [compiled_answers(body(network)) for network in networks]
    say("looking at them, as they are and spoilt")
    faces = np.concatenate([learn.centre(), spoilt(learn)])
    seen = [embed(look, faces) for look in looks]
    sizes = [float(np.sqrt(np.square(x).mean())) for x in seen]

    def of_equal_size(parts: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [x / np.float32(size) for x, size in zip(parts, sizes, strict=True)]

    def see(faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return of_equal_size([embed(look, faces) for look in looks])

    seen, wanted = of_equal_size(seen), np.concatenate([targets, targets])
    weights = np.repeat([1.0, SPOILT_WEIGHT], len(learn))
    ways = [
        (what, see(look(split.dev)), see(look(split.group_dev)))
        for what, look in (("as they are", FaceSet.centre), ("spoilt", spoilt))
    ]
    for name, which in (("first", slice(0, 1)), ("second", slice(1, 2)), ("both", slice(None))):
        joint = Joint.fit(np.concatenate(seen[which], axis=1), wanted, weights, dimension)
        for what, *sets in ways:
            dev, group = (joint(np.concatenate(features[which], axis=1)) for features in sets)
            figures = figures_of(dev, split.dev.people, group, split.group_dev.people)
            accepted = figures["dev_tar_1e-3"], figures["group_dev_tar_1e-2"]
            say(f"{name}, faces {what}: dev people {100 * accepted[0]:.2f} %, group {100 * accepted[1]:.2f} %")
    return build(*networks, joint, (sizes[0], sizes[1]))  # the last one maps both


def spoilt(faces: FaceSet) -> NDArray[np.uint8]:
    """`[N,112,112,3]`: `faces` as a camera and a codec may leave them (`SPOILT`), always in the same way."""
    rng = np.random.default_rng(7)
    return np.stack([degrade(rng, face, SPOILT) for face in faces.centre()])


def body(network: keras.Model) -> keras.Model:
    """The part of an embedder that its last layer maps: pixels in, features `[N,F]` out."""
    return keras.Model(network.input, network.get_layer(HEAD).input)


def build(first: keras.Model, second: keras.Model, joint: Joint, sizes: tuple[float, float]) -> keras.Model:
    """The network: float RGB 0…255 `[N,112,112,3]` in, unit vectors `[N,D]` out; `joint` maps features / `sizes`."""
    faces = keras.Input(first.input.shape[1:], name="faces")
    bodies = [body(network) for network in (first, second)]
    both = [
        keras.Model(part.input, part.output, name=name)(faces)
        for name, part in zip(("first", "second"), bodies, strict=True)
    ]
    dense = layers.Dense(joint.kernel.shape[1], name="join_dense")
    embeddings = layers.UnitNormalization(name="join_embeddings")(dense(layers.Concatenate(name="join_features")(both)))
    scale = np.repeat(np.asarray(sizes, np.float32), [part.output.shape[-1] for part in bodies])
    dense.set_weights([joint.kernel / scale[:, None], joint.bias])
    return keras.Model(faces, embeddings, name="embedder")
