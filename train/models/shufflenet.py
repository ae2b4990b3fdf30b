"""ShuffleNet V2 (arXiv 1807.11164, Table 5, 1×) without its classifier: half the channels pass each unit untouched."""

from __future__ import annotations

import keras
from keras import layers, ops

from train.models.layers import FusedBatchNormalization

STAGES = ((116, 4), (232, 8), (464, 4))
"""(channels, units) at strides 8, 16, 32."""
FIRST, LAST = 24, 1024


@keras.saving.register_keras_serializable(package="iznet")
class ChannelShuffle(layers.Layer):  # type: ignore[misc]
    """Interleaves the two halves of the channels of `[N,H,W,C]`, so that both go on through what follows."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Channel 2i of the result is channel i, channel 2i + 1 is channel C/2 + i."""
        left, right = ops.split(x, 2, axis=-1)
        shape = ops.shape(x)
        return ops.reshape(ops.stack([left, right], axis=-1), shape)


def _pointwise(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _depthwise(x: keras.KerasTensor, stride: int, name: str) -> keras.KerasTensor:
    x = layers.DepthwiseConv2D(
        3, stride, padding="same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return FusedBatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)


def _branch(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    x = _pointwise(x, channels, f"{name}_a")
    return _pointwise(_depthwise(x, stride, f"{name}_depthwise"), channels, f"{name}_b")


def _unit(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    """Stride 1: one half passes, the other is convolved. Stride 2: both halves are made from the whole."""
    if stride == 1:
        kept, x = ops.split(x, 2, axis=-1)
    else:
        kept = _pointwise(_depthwise(x, 2, f"{name}_side_depthwise"), channels // 2, f"{name}_side")
    y = layers.Concatenate(name=f"{name}_join")([kept, _branch(x, channels // 2, stride, name)])
    return ChannelShuffle(name=f"{name}_shuffle")(y)


def shufflenet(
    x: keras.KerasTensor, stages: tuple[tuple[int, int], ...] = STAGES, first: int = FIRST, last: int = LAST
) -> keras.KerasTensor:
    """Features `[N,H/32,W/32,1024]` of normalised pictures `[N,H,W,3]`, sides multiples of 32.

    Args:
        x: the pictures.
        stages: channels and units at each stride; channels are even.
        first: channels of the first convolution.
        last: channels of the last convolution.
    """
    x = layers.Conv2D(first, 3, 2, padding="same", use_bias=False, kernel_initializer="he_normal", name="first_conv")(x)
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-3, name="first_bn")(x)
    x = layers.ReLU(name="first_relu")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="first_pool")(x)
    for number, (channels, units) in enumerate(stages, 2):
        for unit in range(1, units + 1):
            x = _unit(x, channels, 2 if unit == 1 else 1, f"stage{number}_unit{unit}")
    return _pointwise(x, last, "last")
