"""Channels of about the same size: integers have one scale for all of them.

ReLUs let positive factors through: what a channel is divided by before one, the next convolution can multiply it by,
and what the network answers stays the same (cross-layer equalisation; Nagel et al., arXiv 1906.04721, section 4.1). A
MobileFaceNet as it was learned answers in integers with a mean cosine of 0.08 to what it answers in floats, since on
some faces a few channels are hundreds of times as large as the others; made calm and equalised it answers with 0.987.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import ops
from keras.activations import linear
from numpy.typing import NDArray

from train.compiled_step import compiled_answers
from train.models.layers import FusedBatchNormalization

LEAST = 1e-2
"""Smallest variance of a channel, relative to the median of its layer."""


def calm(network: keras.Model) -> None:
    """Give the normalisations of `network` variances that are not much smaller than their neighbours', in place.

    A channel that was silent on all that was learned from has nearly no variance; the one face on which it says
    something is multiplied by hundreds, and so is every channel after it.

    Example:
        >>> pixels = keras.Input((2, 2, 3))
        >>> network = keras.Model(pixels, FusedBatchNormalization(name="norm")(pixels))
        >>> network.get_layer("norm").set_weights([np.ones(3), np.zeros(3), np.zeros(3), np.array([1.0, 2.0, 1e-6])])
        >>> calm(network)
        >>> network.get_layer("norm").get_weights()[3].astype(float).round(3).tolist()
        [1.0, 2.0, 0.01]
    """
    for layer in network.layers:
        if isinstance(layer, FusedBatchNormalization):
            gain, centre, mean, variance = layer.get_weights()
            layer.set_weights([gain, centre, mean, np.maximum(variance, LEAST * np.median(variance))])


def equalize(network: keras.Model, pictures: NDArray[np.uint8], batch: int = 64) -> None:
    """Scale channels between a normalisation, a ReLU and the one convolution after it, in place.

    In front of a depthwise convolution, whose filters have scales of their own, all channels come out as large as each
    other; in front of another one a channel and the weights that it meets share what there is.

    Args:
        network: what it answers stays the same.
        pictures: `[N,H,W,3]`, what it will be given, some hundred.
        batch: pictures at a time.
    """
    chains = list(_chains(network))
    inner = keras.Model(network.input, [ops.max(relu.output, axis=(1, 2)) for _, relu, _ in chains])
    batches = (pictures[i : i + batch] for i in range(0, len(pictures), batch))
    for (norm, _, convolution), sizes in zip(chains, _largest(inner, batches), strict=True):
        (kernel,) = convolution.get_weights()
        if isinstance(convolution, keras.layers.DepthwiseConv2D):
            factors = sizes
        else:
            factors = np.sqrt(sizes / np.maximum(np.abs(kernel).max((0, 1, 3)), 1e-6))
        factors = factors / np.exp(np.log(factors).mean())
        gain, centre, mean, variance = norm.get_weights()
        norm.set_weights([gain / factors, centre / factors, mean, variance])
        convolution.set_weights([kernel * factors[:, None]])


def equalize_pairs(network: keras.Model, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Scale channels between a 1×1 convolution and the depthwise one that alone reads it, in place: nothing stands
    between them, so all channels can be as large as each other.

    Args:
        network: what it answers, in which none of those first convolutions has a part of its own, stays the same.
        pictures: `[N,H,W,3]` each, what it will be given, some dozens.
    """
    pairs = list(_pairs(network))
    if not pairs:
        return
    inner = keras.Model(network.input, [ops.max(ops.abs(first.output), axis=(1, 2)) for first, _ in pairs])
    for (first, reader), sizes in zip(pairs, _largest(inner, pictures), strict=True):
        factors = sizes / sizes.max()
        kernel, *bias = first.get_weights()
        first.set_weights([kernel / factors, *(b / factors for b in bias)])
        kernel, *bias = reader.get_weights()
        reader.set_weights([kernel * factors[:, None], *bias])


def _pairs(network: keras.Model) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """1×1 convolution and depthwise one where nothing else sees what goes between them."""
    for first in network.layers:
        if type(first) is keras.layers.Conv2D and first.kernel_size == (1, 1) and first.activation is linear:
            match _readers(network, first.output):
                case [keras.layers.DepthwiseConv2D() as reader]:
                    yield first, reader


def _readers(network: keras.Model, tensor: keras.KerasTensor) -> list[keras.Layer]:
    return [layer for layer in network.layers if any(x is tensor for x in keras.tree.flatten(layer.input))]


def _chains(network: keras.Model) -> Iterator[tuple[keras.Layer, keras.Layer, keras.Layer]]:
    """Normalisation, ReLU and convolution (depthwise or not) where nothing else sees what goes between them."""

    for norm in network.layers:
        if not isinstance(norm, FusedBatchNormalization):
            continue
        match _readers(network, norm.output):
            case [keras.layers.ReLU() as relu]:
                match _readers(network, relu.output):
                    case [keras.layers.Conv2D() | keras.layers.DepthwiseConv2D() as convolution]:
                        if not convolution.use_bias:
                            yield norm, relu, convolution


def _largest(inner: keras.Model, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
    """For each output `[N,C]` the largest value of each channel; of silent ones a thousandth of the largest of all."""
    answer = compiled_answers(inner)
    parts = [answer(pictures) for pictures in batches]
    for outputs in zip(*(part if isinstance(part, list | tuple) else [part] for part in parts), strict=True):
        sizes = np.concatenate([np.asarray(o) for o in outputs]).max(axis=0)
        yield np.maximum(sizes, max(1e-3 * float(sizes.max()), 1e-6))
