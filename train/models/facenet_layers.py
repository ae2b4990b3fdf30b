"""What the two networks of FaceNet are built of: Maxout, L2 pooling, and a convolution with either normalisation."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf
from keras import layers

from train.models.layers import FusedBatchNormalization

Normalisation = Literal["local", "batch"]
"""`local`: as FaceNet's tables say, biases and response normalisation after two of the layers. `batch`: batch
normalisation after every convolution in place of both, as Ioffe & Szegedy (arXiv 1502.03167, section 4.2.1) did to the
same Inception network; it learns in hours what the other needs weeks for."""


@keras.saving.register_keras_serializable(package="iznet")
class Maxout(layers.Layer):  # type: ignore[misc]
    """A fully connected Maxout layer (Goodfellow et al., ICML 2013): the largest of `pieces` affine maps, unit by unit.

    hᵢ(x) = maxⱼ xᵀW[:, j, i] + b[j, i], from `[B,D]` to `[B,units]`. It is the layer's only activation, and what it
    learns is the activation function's shape: with two pieces it can be a rectifier, an absolute value, or neither.

    Example:
        >>> Maxout(8, pieces=2)(keras.ops.ones((4, 3))).shape
        TensorShape([4, 8])
    """

    def __init__(self, units: int, pieces: int = 2, **settings: Any) -> None:
        super().__init__(**settings)
        self.units, self.pieces = units, pieces

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make one matrix for all pieces; its variance is that of a rectifier's layer."""
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.pieces * self.units), initializer="he_normal"
        )
        self.bias = self.add_weight(name="bias", shape=(self.pieces * self.units,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """`[B,D]` → `[B,units]`."""
        pieces = tf.reshape(tf.matmul(inputs, self.kernel) + self.bias, (-1, self.pieces, self.units))
        return tf.reduce_max(pieces, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Of a batch."""
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """What the constructor was given."""
        return {**super().get_config(), "units": self.units, "pieces": self.pieces}


@keras.saving.register_keras_serializable(package="iznet")
class L2Pooling(layers.Layer):  # type: ignore[misc]
    """The Euclidean norm of each `size`×`size` neighbourhood of `[B,H,W,C]`, at stride 1; outside the map are zeros.

    Example:
        >>> float(L2Pooling(3)(keras.ops.ones((1, 3, 3, 1)))[0, 1, 1, 0])
        3.0
    """

    def __init__(self, size: int = 3, **settings: Any) -> None:
        super().__init__(**settings)
        self.size = size

    def call(self, inputs: Any) -> Any:
        """The same shape as `inputs`."""
        border = self.size // 2
        squares = tf.pad(tf.square(inputs), [[0, 0], [border, border], [border, border], [0, 0]])
        total = tf.nn.avg_pool2d(squares, self.size, 1, "VALID") * float(self.size**2)
        # The root's slope at 0 is infinite; where all are zero, nothing is to be learnt.
        return tf.where(total > 0, tf.sqrt(tf.where(total > 0, total, 1.0)), 0.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Of a batch."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the constructor was given."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="iznet")
class LocalResponseNormalization(layers.Layer):  # type: ignore[misc]
    """Each value divided by (2 + 10⁻⁴ Σ squares of the 5 nearest channels)^¾.

    FaceNet names neither form nor constants of its `norm` layers; these are those of Krizhevsky et al., NIPS 2012.

    Example:
        >>> LocalResponseNormalization()(keras.ops.ones((1, 2, 2, 8))).shape
        TensorShape([1, 2, 2, 8])
    """

    def call(self, inputs: Any) -> Any:
        """The same shape as `inputs`."""
        return tf.nn.local_response_normalization(inputs, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Of a batch."""
        return input_shape


def convolve(
    x: keras.KerasTensor, channels: int, kernel: int, name: str, normalisation: Normalisation, stride: int = 1
) -> keras.KerasTensor:
    """A convolution with zero padding and a rectifier; between them batch normalisation, where that is asked for."""
    local = normalisation == "local"
    x = layers.Conv2D(channels, kernel, stride, "same", use_bias=local, kernel_initializer="he_normal", name=name)(x)
    if not local:
        x = FusedBatchNormalization(momentum=0.95, epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def halve(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """The maximum of 3×3 neighbourhoods at stride 2: sides ⌈s/2⌉."""
    return layers.MaxPooling2D(3, 2, "same", name=name)(x)


def respond(x: keras.KerasTensor, name: str, normalisation: Normalisation) -> keras.KerasTensor:
    """Response normalisation, where batch normalisation does not make it needless."""
    return LocalResponseNormalization(name=name)(x) if normalisation == "local" else x
