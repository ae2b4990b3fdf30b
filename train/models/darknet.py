"""Darknet-53 (YOLOv3, arXiv 1804.02767, Table 1) without its classifier."""

from __future__ import annotations

import keras
from keras import layers

from train.models.layers import FusedBatchNormalization

STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
"""(channels, residual blocks) of the five halvings: 52 convolutions with the first; the 53rd was the classifier."""
FIRST = 32


def _conv(
    x: keras.KerasTensor, channels: int, kernel: int, name: str, stride: int = 1, gamma: float = 1.0
) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    start = keras.initializers.Constant(gamma)
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-3, gamma_initializer=start, name=f"{name}_bn")(x)
    return layers.LeakyReLU(negative_slope=0.1, name=f"{name}_leaky")(x)


def darknet53(
    x: keras.KerasTensor, stages: tuple[tuple[int, int], ...] = STAGES, first: int = FIRST
) -> keras.KerasTensor:
    """Features `[N,H/32,W/32,1024]` of normalised pictures `[N,H,W,3]`, sides multiples of 32.

    Residual blocks begin at a quarter of their strength, so that the deep network starts nearly as a plain one.

    Args:
        x: the pictures.
        stages: channels and blocks after each halving.
        first: channels of the first convolution.
    """
    x = _conv(x, first, 3, "first")
    for number, (channels, blocks) in enumerate(stages, 1):
        x = _conv(x, channels, 3, f"stage{number}_down", stride=2)
        for block in range(1, blocks + 1):
            name = f"stage{number}_block{block}"
            y = _conv(x, channels // 2, 1, f"{name}_a")
            y = _conv(y, channels, 3, f"{name}_b", gamma=0.25)
            x = layers.Add(name=f"{name}_add")([x, y])
    return x
