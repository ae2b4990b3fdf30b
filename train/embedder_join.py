"""Two embedders as one network: they look at a face together, and their answers become one embedding.

Networks that began with different weights err on different faces, so their mean errs less than the better of them (an
ensemble; Hansen and Salamon, PAMI 1990). The two embeddings stand side by side, the second one longer or shorter, and
principal components bring them to the usual length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from engine.embedder import unit
from train.compiled_step import compiled_answers
from train.data.faces import FACE, FaceSet, Split
from train.data.views import Strength, degrade
from train.embedder import embed
from train.embedder_data import FITTED, some_rows
from train.embedder_eval import figures_of
from train.embedder_memory import MEAN_OFF
from train.embedder_recipe import whiten
from train.loop import Say
from train.models.layers import HEAD
from train.saved_network import saved_network

WEIGHTS = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4)
"""Lengths of the second embedding, the first one being 1, of which the best is taken."""
SPOILT = Strength(shrink=0.6, blur=0.4, noise=0.4, jpeg=0.6)
"""What videos do to faces: networks that are alike on good pictures need not be so on these."""

Answers = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Embeddings of the same faces by both networks."""


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Two unit embeddings `x` `[N,D₁]`, `y` `[N,D₂]` to one: the direction of `[x, weight · y] @ kernel + bias`."""

    weight: float
    kernel: NDArray[np.float32]
    """`[D₁+D₂,D]`."""
    bias: NDArray[np.float32]
    """`[D]`."""

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.float32], weight: float, dimension: int) -> Joint:
        """By the principal components of faces of many people, `MEAN_OFF` of their mean taken off."""
        both = np.concatenate([x, weight * y], axis=1).astype(np.float64)
        mean = both.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov(both, rowvar=False))
        kernel = vectors[:, ::-1][:, :dimension]
        return cls(weight, kernel.astype(np.float32), (-MEAN_OFF * mean @ kernel).astype(np.float32))

    def __call__(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors `[N,D]`."""
        return unit(np.concatenate([x, self.weight * y], axis=1) @ self.kernel + self.bias)


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


def join(first: Path, second: Path, split: Split, dimension: int = 128, say: Say = print) -> keras.Model:
    """The two embedders as one, the weight of the second chosen on the people kept aside.

    Args:
        first: an `embedder.keras`, whose answers are whitened within the named people, once more if they were before.
        second: another one, whose answers stay as they are.
        split: the principal components are those of its `learn`, the weight is chosen on its `dev` and `group_dev`: the
            sum of both acceptances, at FAR 1e-3 and 1e-2, of the faces as they are and spoilt, is to be as large as
            can be.
        dimension: of the embedding.
        say: is told how each weight does.

    Raises:
        InputError: one of the files is no embedder.
    """
    one, other = open_embedder(first), open_embedder(second)
    whiten(one, split.learn)
    look, look_too = compiled_answers(one), compiled_answers(other)

    def answers(faces: NDArray[np.uint8]) -> Answers:
        return embed(look, faces), embed(look_too, faces)

    x, y = answers(split.learn.select(some_rows(len(split.learn), FITTED)).centre())
    ways = [(answers(split.dev.centre()), answers(split.group_dev.centre()))]
    ways.append((answers(spoilt(split.dev)), answers(spoilt(split.group_dev))))

    def judge(joint: Joint) -> float:
        total = 0.0
        for (dev, group), what in zip(ways, ("as they are", "spoilt"), strict=True):
            figures = figures_of(joint(*dev), split.dev.people, joint(*group), split.group_dev.people)
            accepted = figures["dev_tar_1e-3"], figures["group_dev_tar_1e-2"]
            rates = f"dev people {100 * accepted[0]:.2f} %, group {100 * accepted[1]:.2f} %"
            say(f"second × {joint.weight:g}, faces {what}: {rates}")
            total += sum(accepted)
        return total

    return build(one, other, max((Joint.fit(x, y, weight, dimension) for weight in WEIGHTS), key=judge))


def spoilt(faces: FaceSet) -> NDArray[np.uint8]:
    """`[N,112,112,3]`: `faces` as a camera and a codec may leave them (`SPOILT`), always in the same way."""
    rng = np.random.default_rng(7)
    return np.stack([degrade(rng, face, SPOILT) for face in faces.centre()])


def build(first: keras.Model, second: keras.Model, joint: Joint) -> keras.Model:
    """The network: float RGB 0…255 `[N,112,112,3]` in, unit vectors `[N,D]` out."""
    faces = keras.Input(first.input.shape[1:], name="faces")
    x, y = (
        keras.Model(network.input, network.output, name=name)(faces)
        for network, name in ((first, "first"), (second, "second"))
    )
    dense = layers.Dense(joint.kernel.shape[1], name="join_dense")
    both = layers.Concatenate(name="join_answers")([x, layers.Rescaling(joint.weight, name="join_weight")(y)])
    embeddings = layers.UnitNormalization(name="join_embeddings")(dense(both))
    dense.set_weights([joint.kernel, joint.bias])
    return keras.Model(faces, embeddings, name="embedder")
