"""MobileNet (arXiv 1704.04861, Table 1) without its classifier: depthwise separable convolutions."""

from __future__ import annotations

import keras
from keras import layers

from train.models.layers import FusedBatchNormalization

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""(channels, stride) of the thirteen depthwise separable convolutions."""
FIRST = 32


def _normal(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def mobilenet(
    x: keras.KerasTensor, blocks: tuple[tuple[int, int], ...] = BLOCKS, first: int = FIRST
) -> keras.KerasTensor:
    """Features `[N,H/32,W/32,1024]` of normalised pictures `[N,H,W,3]`, sides multiples of 32.

    Args:
        x: the pictures.
        blocks: channels and stride of each depthwise separable convolution.
        first: channels of the first convolution.
    """
    he = "he_normal"
    x = layers.Conv2D(first, 3, 2, padding="same", use_bias=False, kernel_initializer=he, name="first_conv")(x)
    x = _normal(x, "first")
    for number, (channels, stride) in enumerate(blocks, 1):
        x = layers.DepthwiseConv2D(
            3, stride, padding="same", use_bias=False, depthwise_initializer=he, name=f"block{number}_depthwise"
        )(x)
        x = _normal(x, f"block{number}_a")
        x = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=he, name=f"block{number}_pointwise")(x)
        x = _normal(x, f"block{number}_b")
    return x
