"""The production face detector: one stage, anchor-free, four levels, box + score + five landmarks a cell.

A plain convolutional network of the YOLO family: dense 3×3 convolutions with few channels (they run near the
processor's peak, depthwise ones do not), a top-down feature pyramid (arXiv 1612.03144), and one light head for all
levels. The level of stride 64 sees the whole picture, for faces that fill it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from engine.errors import UsageError
from train.architectures import YUNET
from train.models.layers import EXACT, FusedBatchNormalization
from train.models.yunet import build_yunet

STRIDES = (8, 16, 32, 64)
PRIOR_SCORE = 0.01
VALUES = 15
"""Numbers a cell: score, left, top, right, bottom, five (dx, dy)."""


@dataclass(frozen=True, slots=True)
class Width:
    """Channels and depth of one network size."""

    stem: tuple[int, int]
    stages: tuple[int, int, int, int]
    """Channels at strides 8, 16, 32, 64."""
    blocks: tuple[int, int, int, int]
    neck: int


ARCHITECTURES = {
    "small": Width(stem=(16, 24), stages=(48, 64, 96, 128), blocks=(2, 2, 2, 1), neck=48),
    "nano": Width(stem=(12, 24), stages=(32, 64, 96, 96), blocks=(2, 2, 1, 1), neck=32),
}


def _conv(x: keras.KerasTensor, channels: int, kernel: int, name: str, stride: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _block(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Bottleneck: 1×1 to half the channels, 3×3 back, added to the input."""
    y = _conv(x, channels // 2, 1, f"{name}_a")
    y = _conv(y, channels, 3, f"{name}_b")
    return layers.Add(name=f"{name}_add")([x, y])


def build_detector(arch: str = "small") -> keras.Model:
    """The network to train: `images` `[N,H,W,3]` RGB 0…255 → dict `head{s}` `[N,H/s,W/s,15]`.

    Score is a logit here (`with_probabilities` is what gets exported); distances (≥ 0, but where YuNet's
    form draws a box beside the cell) and points are in strides. H and W are multiples of 64.

    Raises:
        UsageError: no such architecture.
    """
    if arch == YUNET:
        return build_yunet(STRIDES, f"iznet-detector-{arch}")
    if arch not in ARCHITECTURES:
        raise UsageError(f"--arch {arch}: no such detector; one of {', '.join((*ARCHITECTURES, YUNET))}")
    width = ARCHITECTURES[arch]
    images = keras.Input((None, None, 3), name="images")
    x = layers.Rescaling(1 / 64, offset=-2.0, dtype=EXACT, name="normalise")(images)
    x = _conv(x, width.stem[0], 3, "stem1", 2)
    x = _conv(x, width.stem[1], 3, "stem2", 2)
    features = []
    for stride, channels, blocks in zip(STRIDES, width.stages, width.blocks, strict=True):
        x = _conv(x, channels, 3, f"s{stride}_down", 2)
        for number in range(blocks):
            x = _block(x, channels, f"s{stride}_block{number + 1}")
        features.append(x)
    merged: dict[int, keras.KerasTensor] = {}
    above = None
    for stride, feature in zip(reversed(STRIDES), reversed(features), strict=True):
        y = _conv(feature, width.neck, 1, f"s{stride}_lateral")
        if above is not None:
            up = layers.UpSampling2D(2, interpolation="nearest", name=f"s{stride}_up")(above)
            y = layers.Add(name=f"s{stride}_merge")([y, up])
        merged[stride] = above = y
    outputs = {}
    for stride in STRIDES:
        y = _conv(merged[stride], width.neck, 3, f"s{stride}_head")
        prior = keras.initializers.Constant(float(ops.convert_to_numpy(ops.log(PRIOR_SCORE / (1 - PRIOR_SCORE)))))
        small = keras.initializers.RandomNormal(stddev=0.03)
        exact: dict[str, Any] = {"kernel_initializer": small, "dtype": EXACT}
        score = layers.Conv2D(1, 1, bias_initializer=prior, name=f"s{stride}_score", **exact)(y)
        box = layers.Conv2D(4, 1, bias_initializer="ones", activation="softplus", name=f"s{stride}_box", **exact)(y)
        points = layers.Conv2D(10, 1, name=f"s{stride}_points", **exact)(y)
        outputs[f"head{stride}"] = layers.Concatenate(dtype=EXACT, name=f"head{stride}")([score, box, points])
    return keras.Model(images, outputs, name=f"iznet-detector-{arch}")


def with_probabilities(heads: Mapping[str, Any]) -> dict[str, Any]:
    """The network's answers with the sigmoid applied to the scores: what `engine` gets."""
    return {name: ops.concatenate([ops.sigmoid(y[..., :1]), y[..., 1:]], axis=-1) for name, y in heads.items()}


def multiply_adds(model: keras.Model, height: int = 384, width: int = 640) -> int:
    """Multiply–adds of all convolutions for one picture of the given size."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            scale = _stride_of(layer.name)
            total += (height // scale) * (width // scale) * math.prod(layer.kernel.shape)
    return total


def _stride_of(name: str) -> int:
    """Output stride of a layer, from its name."""
    if name.startswith("stem"):
        return 1 << int(name[4])
    return int(name[1 : name.index("_")])
