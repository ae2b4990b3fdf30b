"""Two embedders as one network: they look at a face together, and their answers become one embedding.

Networks that learned from different teachers err on different faces, so their mean errs less than the better of them
(an ensemble; Hansen and Salamon, PAMI 1990). The two embeddings stand side by side, the second one longer or shorter,
and principal components bring them to the usual length.

Two networks of one form use the same first levels, those of the first network: they cost most and have the least to say
about whose face it is. The second network's last layer is fitted anew to what it answered with its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from train.data.faces import FaceSet, Split
from train.embedder import embed
from train.embedder_data import FITTED, some_rows
from train.embedder_eval import figures_of
from train.embedder_head import raw_outputs
from train.embedder_recipe import whiten
from train.embedder_warm import fit_head, take_layers
from train.loop import Say
from train.saved_network import saved_network

WEIGHTS = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4)
"""Lengths of the second embedding, the first one being 1, of which the best is taken."""
MEAN_OFF = 0.85
"""Share of the mean that is taken off, so that strangers' cosines are about 0."""
SHARED = ("stem", "level1")
"""Beginnings of the names of the layers that both use: a third of the arithmetic. With the second level too it would be
half of it, but then less is recognised."""
INPUT = "faces"
BEFORE_FIRST_LEVEL = "frame_border"
NARROW = r"stem_pool|level\d+_block\d+_relu"
"""Layers that everything goes through, where two networks can part."""

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
        joined = np.concatenate([x, self.weight * y], axis=1) @ self.kernel + self.bias
        return np.asarray(joined / np.linalg.norm(joined, axis=1, keepdims=True), np.float32)


def open_embedder(path: Path) -> keras.Model:
    """The embedder of an `embedder.keras`.

    Raises:
        InputError: no such file, damaged, or no embedder.
    """
    with saved_network(path, "an embedder; give the embedder.keras of a training") as network:
        if not isinstance(network.layers[-1], layers.UnitNormalization):
            raise ValueError("its answers are not unit vectors")
    return network


def of_one_form(first: keras.Model, second: keras.Model) -> bool:
    """Whether both see the same part of a face and have the same layers in the levels that can be shared."""

    def form(network: keras.Model) -> list[object]:
        names = [layer.name for layer in network.layers]
        if BEFORE_FIRST_LEVEL not in names:
            return []
        shared = [layer.name for layer in network.layers if layer.name.startswith(SHARED)]
        return [network.get_layer(name).get_config() for name in ("frame_crop", BEFORE_FIRST_LEVEL)] + [
            (name, [w.shape for w in network.get_layer(name).weights]) for name in shared
        ]

    return bool(form(first)) and form(first) == form(second)


def join(first: Path, second: Path, split: Split, dimension: int = 128, say: Say = print) -> keras.Model:
    """The two embedders as one, the weight of the second chosen on the people kept aside.

    Args:
        first: an `embedder.keras`.
        second: another one, whose answers are whitened within the named people.
        split: everything is fitted on its `learn`, the weight is chosen on its `dev` and `group_dev`: the sum of
            both acceptances, at FAR 1e-3 and 1e-2, is to be as large as can be.
        dimension: of the embedding.
        say: is told how each weight does.

    Raises:
        InputError: one of the files is no embedder.
    """
    one, other = open_embedder(first), open_embedder(second)
    some = split.learn.select(some_rows(len(split.learn), FITTED))
    if of_one_form(one, other):
        share(one, other, some.centre())
    whiten(other, split.learn)

    def answers(faces: FaceSet) -> Answers:
        return embed(one, faces.centre()), embed(other, faces.centre())

    x, y = answers(some)
    dev, group = answers(split.dev), answers(split.group_dev)

    def judge(joint: Joint) -> float:
        figures = figures_of(joint(*dev), split.dev.people, joint(*group), split.group_dev.people)
        accepted = figures["dev_tar_1e-3"], figures["group_dev_tar_1e-2"]
        say(f"second × {joint.weight:g}: dev people {100 * accepted[0]:.2f} %, group {100 * accepted[1]:.2f} %")
        return sum(accepted)

    return build(one, other, max((Joint.fit(x, y, weight, dimension) for weight in WEIGHTS), key=judge))


def share(first: keras.Model, second: keras.Model, faces: NDArray[np.uint8]) -> None:
    """Give `second` the `SHARED` layers of `first`, in place, and fit its last layer to what it answered to `faces`.

    Raises:
        ValueError: the two have not the same layers there.
    """
    wanted = raw_outputs(second, faces)
    take_layers(second, first, lambda name: name.startswith(SHARED))
    fit_head(second, faces, wanted)


def build(first: keras.Model, second: keras.Model, joint: Joint) -> keras.Model:
    """The network: float RGB 0…255 `[N,112,112,3]` in, unit vectors `[N,D]` out."""
    cut = shared_until(first, second)
    rest = keras.Model(second.get_layer(cut).output, second.output, name="second")
    if cut == INPUT:
        pixels = keras.Input(first.input.shape[1:], name=INPUT)
        x, y = keras.Model(first.input, first.output, name="first")(pixels), rest(pixels)
    else:
        pixels, x, y = first.input, first.output, rest(first.get_layer(cut).output)
    answers = [x, layers.Rescaling(joint.weight, name="join_weight")(y)]
    dense = layers.Dense(joint.kernel.shape[1], name="join_dense")
    x = dense(layers.Concatenate(name="join_answers")(answers))
    dense.set_weights([joint.kernel, joint.bias])
    return keras.Model(pixels, layers.UnitNormalization(name="join_embeddings")(x), name="embedder")


def shared_until(first: keras.Model, second: keras.Model) -> str:
    """The last layer up to which both compute the same: the end of a block, what stands before the first level, or the
    input.

    Example:
        >>> shared_until(network, network)  # doctest: +SKIP
        'level5_block1_relu'
    """
    if not of_one_form(first, second):
        return INPUT
    cut = BEFORE_FIRST_LEVEL
    for layer in second.layers:
        if layer.weights and not _same(first, layer):
            break
        if re.fullmatch(NARROW, layer.name):
            cut = layer.name
    return cut


def _same(first: keras.Model, layer: keras.Layer) -> bool:
    mine = first.get_layer(layer.name).get_weights()
    return all(np.array_equal(a, b) for a, b in zip(mine, layer.get_weights(), strict=True))
