"""Channels that say what others say are left out, and nothing has to be learnt anew.

Between a ReLU and the one convolution that reads it, a channel can go if the others foretell it: what the convolution
made of it, it makes of them, by least squares (He et al., arXiv 1707.06168, section 3). A channel that its ReLU hardly
ever lets through is nearly the same everywhere and goes first; networks whose PReLUs became ReLUs while they learned
have many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from train.compiled_step import compiled_answers
from train.models.layers import FusedBatchNormalization, reader

HARM = 5e-4
"""How much of the variance of what a convolution makes may be lost."""
STEP = 16
"""Widths are multiples of this: processors compute so many channels at once."""
JITTER = 1e-6
"""Added to the diagonal of a covariance, relative to its mean variance, so that silent channels have an inverse."""


@dataclass(frozen=True, slots=True)
class Wide:
    """Layers with the same channels, from the convolution that makes them to the one that reads them."""

    maker: keras.Layer
    inner: tuple[keras.Layer, ...]
    """Normalisation and ReLU; then perhaps a depthwise convolution, and again both."""
    reader: keras.Layer
    norm: keras.Layer
    """Of what `reader` makes."""

    @property
    def everywhere(self) -> bool:
        """Whether a constant channel adds the same to each pixel that `reader` makes, at the borders too."""
        return tuple(self.reader.kernel_size) == (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Thinned:
    """A convolution without some of the channels that it read."""

    kept: NDArray[np.intp]
    """Of its channels, ascending."""
    kernel: NDArray[np.float32]
    """`[height,width,kept,filters]`."""
    shift: NDArray[np.float32]
    """`[filters]`: what the mean of its answer is smaller by."""

    @classmethod
    def of(
        cls,
        kernel: NDArray[np.float32],
        moments: NDArray[np.floating],
        mean: NDArray[np.floating] | None,
        harm: float = HARM,
        step: int = STEP,
    ) -> Self:
        """Leave out one channel after the other, always the one whose loss does least harm.

        Args:
            kernel: `[height,width,C,filters]`.
            moments: `[C,C]` mean products of the channels.
            mean: `[C]` of the channels, where a constant can be made up for; None: it cannot.
            harm: share of the answer's variance that may be lost.
            step: as many channels are kept as a multiple of this.

        Example:
            >>> same = Thinned.of(np.ones((1, 1, 2, 1), np.float32), np.ones((2, 2)), None, step=1)
            >>> same.kept.tolist(), same.kernel.round(2).ravel().tolist()
            ([1], [2.0])
        """
        count = len(moments)
        spread = moments.astype(np.float64) - (0 if mean is None else np.outer(mean, mean))
        precision = np.linalg.inv(spread + (JITTER * np.trace(spread) / count + 1e-30) * np.eye(count))
        weights = kernel.transpose(2, 0, 1, 3).reshape(count, -1).astype(np.float64)
        allowed = harm * float(np.einsum("cf,cd,df->", weights, spread, weights))
        alive, best, lost = np.ones(count, np.bool_), (np.ones(count, np.bool_), weights), 0.0
        for left in range(count - 1, 0, -1):
            # What the others do not foretell of a channel has the variance 1 / precision.
            losses = np.where(alive, np.square(weights).sum(axis=1) / np.where(alive, np.diag(precision), 1), np.inf)
            gone = int(np.argmin(losses))
            lost += losses[gone]
            if lost > allowed:
                break
            foretold = np.where(alive, -precision[gone] / precision[gone, gone], 0)
            foretold[gone] = -1
            weights = weights + np.outer(foretold, weights[gone])
            precision = precision - np.outer(precision[:, gone], precision[gone]) / precision[gone, gone]
            alive[gone] = False
            if left % step == 0:
                best = alive.copy(), weights
        alive, weights = best
        kept = np.flatnonzero(alive)
        height, width, _, filters = kernel.shape
        slim = weights[kept].reshape(len(kept), height, width, filters).transpose(1, 2, 0, 3).astype(np.float32)
        shift = np.zeros(filters)
        if mean is not None:
            shift = mean @ kernel.sum(axis=(0, 1)) - mean[kept] @ slim.sum(axis=(0, 1))
        return cls(kept, slim, shift.astype(np.float32))


def prune(network: keras.Model, pictures: NDArray[np.uint8], batch: int = 32) -> keras.Model:
    """A network that answers nearly as `network` does, without the channels that the others make up for.

    Args:
        network: layers between a convolution and the next, with fused normalisations and ReLUs, may become narrower.
        pictures: `[N,H,W,3]`, what it will be given, some hundred.
        batch: pictures at a time.

    Example:
        >>> pixels = keras.Input((2, 2, 3))
        >>> network = keras.Model(pixels, layers.Conv2D(8, 1)(pixels))
        >>> prune(network, np.zeros((1, 2, 2, 3), np.uint8)).layers[-1].filters
        8
    """
    rows = list(wides(network))
    if not rows:
        return network
    thinned = []
    for row, (moments, mean) in zip(rows, _moments(network, rows, pictures, batch), strict=True):
        thinned.append(Thinned.of(row.reader.get_weights()[0], moments, mean if row.everywhere else None))
    return _narrower(network, rows, thinned)


def wides(network: keras.Model) -> Iterator[Wide]:
    """Where `network` can become narrower."""
    for maker in network.layers:
        row = [maker]
        while len(row) < 8 and (after := reader(network, row[-1])) is not None:
            row.append(after)
        match row:
            case [
                layers.Conv2D(use_bias=False),
                FusedBatchNormalization(),
                layers.ReLU(),
                layers.DepthwiseConv2D(use_bias=False),
                FusedBatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(use_bias=False),
                FusedBatchNormalization(),
            ] | [
                layers.Conv2D(use_bias=False),
                FusedBatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(use_bias=False),
                FusedBatchNormalization(),
                *_,
            ]:
                last = 6 if isinstance(row[3], layers.DepthwiseConv2D) else 3
                yield Wide(maker, tuple(row[1:last]), row[last], row[last + 1])


def _moments(
    network: keras.Model, rows: list[Wide], pictures: NDArray[np.uint8], batch: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Mean products `[C,C]` and means `[C]` of what each one's reader is given, over all pixels of `pictures`."""
    outputs = []
    for row in rows:
        values = row.inner[-1].output
        pixels = ops.reshape(values, (-1, values.shape[-1]))
        extended = ops.concatenate([pixels, ops.ones_like(pixels[:, :1])], axis=1)
        outputs.append(ops.matmul(ops.transpose(pixels), extended))
    look = compiled_answers(keras.Model(network.input, outputs))
    sums = [np.zeros((output.shape[0], output.shape[1]), np.float64) for output in outputs]
    for start in range(0, len(pictures), batch):
        parts = look(pictures[start : start + batch])
        for total, part in zip(sums, parts if isinstance(parts, list | tuple) else [parts], strict=True):
            total += np.asarray(part)
    for row, total in zip(rows, sums, strict=True):
        _, height, width, _ = row.inner[-1].output.shape
        means = total / (height * width * len(pictures))
        yield means[:, :-1], means[:, -1]


def _narrower(network: keras.Model, rows: list[Wide], thinned: list[Thinned]) -> keras.Model:
    """`network` with the channels that are kept."""
    kept = {layer.name: thin.kept for row, thin in zip(rows, thinned, strict=True) for layer in (row.maker, *row.inner)}
    thin = {row.reader.name: thin for row, thin in zip(rows, thinned, strict=True)}
    norms = {row.norm.name: thin for row, thin in zip(rows, thinned, strict=True)}

    def build(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if "filters" in config and layer.name in kept:
            config["filters"] = len(kept[layer.name])
        return type(layer).from_config(config)

    narrow = keras.models.clone_model(network, clone_function=build)
    for layer in narrow.layers:
        if not layer.weights:
            continue
        weights = network.get_layer(layer.name).get_weights()
        if layer.name in thin:
            weights = [thin[layer.name].kernel]
        if layer.name in norms:
            gain, centre, mean, variance = weights
            weights = [gain, centre, mean - norms[layer.name].shift, variance]
        if layer.name in kept:
            axis = 2 if isinstance(layer, layers.DepthwiseConv2D) else -1
            weights = [np.take(weight, kept[layer.name], axis=axis) for weight in weights]
        layer.set_weights(weights)
    return narrow
