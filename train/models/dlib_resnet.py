"""The residual network of dlib's face recognition, as a Keras network that can start from dlib's own weights.

29 convolutions: a 7×7 one and a pooling, then five levels of residual blocks of two 3×3 convolutions each (He et al.,
CVPR 2016, with half the layers of ResNet-34 and fewer filters). Where a level halves the picture its first block goes
without padding, the shortcut is average-pooled and its missing channels are zeros; where the two then differ in size,
the smaller one is padded with zeros below and to the right. At the end the mean over the picture and one dense layer.

dlib has an affine map after every convolution, the remains of a batch normalisation. Here it is a batch normalisation
again, whose averages say "mean 0, variance 1" until `measure_statistics` puts the real ones in.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.dlib_network import DlibNetwork
from train.data.faces import FACE
from train.models.layers import EXACT, HEAD, FusedBatchNormalization

EPSILON = 1e-4
MEAN = (122.78199768066406, 117.0009994506836, 104.2979965209961)
"""Mean red, green and blue of dlib's training pictures."""


@dataclass(frozen=True, slots=True)
class DlibDesign:
    """The form of the network, and the part of an aligned face that it sees.

    The network knows where in the picture a feature lies, so the part must be the one it has always seen: dlib's
    template has the same scale as a square of 103 px in the 112×112 template, 16 px lower (fitted to eyes, nose and
    mouth, then 3 px by trial on people kept aside). What lies below the template's border is black.

    Example:
        >>> DlibDesign().signature
        'dlib-32x3-64x4-128x3-256x3-256x1-head128'
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 256)
    """Of each level; all but the first halve the picture in their first block."""
    blocks: tuple[int, ...] = (3, 4, 3, 3, 1)
    """Residual blocks of each level."""
    dimension: int = 128
    """Length of the embedding."""
    side: int = 150
    """Side of the picture that the first convolution gets, in pixels."""
    top: int = 24
    """First row of the template that is seen."""
    left: int = 5
    """First column of the template that is seen."""
    width: int = 103
    """Columns of the template that are seen; as many rows, if there were so many."""

    @property
    def signature(self) -> str:
        """A name that differs wherever the weights would not fit."""
        levels = "-".join(f"{c}x{b}" for c, b in zip(self.channels, self.blocks, strict=True))
        return f"dlib-{levels}-head{self.dimension}"

    def build(self) -> keras.Model:
        """The embedder: float RGB 0…255 `[N,112,112,3]` in, unit vectors `[N,dimension]` out."""
        faces = keras.Input((FACE, FACE, 3), name="faces")
        x = layers.Dense(self.dimension, dtype=EXACT, name=HEAD)(_body(self._frame(faces), self))
        return keras.Model(faces, layers.UnitNormalization(dtype=EXACT, name="embeddings")(x), name="embedder")

    def _frame(self, x: keras.KerasTensor) -> keras.KerasTensor:
        sides = (self.left, FACE - self.left - self.width)
        x = layers.Cropping2D(((self.top, 0), sides), dtype=EXACT, name="frame_crop")(x)
        rows = min(self.side, round((FACE - self.top) * self.side / self.width))
        return Stretch(rows, self.side, dtype=EXACT, name="frame_stretch")(x)


def interpolation(old: int, new: int) -> NDArray[np.float32]:
    """`[new,old]`: takes `old` samples to `new` ones by linear interpolation between pixels' centres.

    Example:
        >>> interpolation(2, 4).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    distances = np.abs(centres[:, None] - np.arange(old))
    return (1 - distances).clip(0).astype(np.float32)


@keras.saving.register_keras_serializable(package="iznet")
class Stretch(layers.Layer):  # type: ignore[misc]
    """Bilinear interpolation of `[N,H,W,C]` to `[N,side,side,C]`, where the picture has `rows` rows and zeros follow.

    Two products with fixed matrices, plane by plane. Runtimes' own interpolation, of channels that come last, takes 1.5
    to 5 times as long; OpenVINO spent an eighth of the whole embedder on it.
    """

    def __init__(self, rows: int, side: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.rows, self.side = rows, side

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """First across, while there are fewer rows; then down."""
        down = np.pad(interpolation(x.shape[1], self.rows), ((0, self.side - self.rows), (0, 0)))
        across = interpolation(x.shape[2], self.side).T
        planes = keras.ops.matmul(down, keras.ops.matmul(keras.ops.transpose(x, (0, 3, 1, 2)), across))
        return keras.ops.transpose(planes, (0, 2, 3, 1))

    def get_config(self) -> dict[str, object]:
        """What Keras saves."""
        return {**super().get_config(), "rows": self.rows, "side": self.side}


def _convolve(
    x: keras.KerasTensor, channels: int, size: int, stride: int, name: str, *, relu: bool
) -> keras.KerasTensor:
    padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(
        channels, size, stride, padding, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    x = FusedBatchNormalization(momentum=0.97, epsilon=EPSILON, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _pad(x: keras.KerasTensor, rows: int, channels: int, name: str) -> keras.KerasTensor:
    """`x` with zeros below, to the right and in further channels, up to so many rows, columns and channels."""
    missing = rows - x.shape[1]
    if missing:
        x = layers.ZeroPadding2D(((0, missing), (0, missing)), name=f"{name}_border")(x)
    if channels > x.shape[-1]:
        x = Widen(channels, name=f"{name}_widen")(x)
    return x


@keras.saving.register_keras_serializable(package="iznet")
class Widen(layers.Layer):  # type: ignore[misc]
    """Appends channels of zeros to `[N,H,W,C]` until there are `channels` of them."""

    def __init__(self, channels: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Pad the last axis."""
        return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.channels - x.shape[-1])))

    def get_config(self) -> dict[str, object]:
        """What Keras saves."""
        return {**super().get_config(), "channels": self.channels}


def _block(x: keras.KerasTensor, channels: int, name: str, *, halve: bool) -> keras.KerasTensor:
    y = _convolve(x, channels, 3, 2 if halve else 1, f"{name}a", relu=True)
    y = _convolve(y, channels, 3, 1, f"{name}b", relu=False)
    if halve:
        x = layers.AveragePooling2D(2, 2, name=f"{name}_pool")(x)
        rows = max(x.shape[1], y.shape[1])
        x, y = _pad(x, rows, channels, f"{name}_short"), _pad(y, rows, channels, f"{name}_long")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _body(x: keras.KerasTensor, design: DlibDesign) -> keras.KerasTensor:
    x = layers.Rescaling(1 / 256, offset=[-mean / 256 for mean in MEAN], dtype=EXACT, name="scale")(x)
    x = _convolve(x, design.channels[0], 7, 2, "stem", relu=True)
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for level, (channels, blocks) in enumerate(zip(design.channels, design.blocks, strict=True), 1):
        for block in range(1, blocks + 1):
            x = _block(x, channels, f"level{level}_block{block}", halve=level > 1 and block == 1)
    return layers.GlobalAveragePooling2D(dtype=EXACT, name="head_pool")(x)


def build_dlib_resnet(source: DlibNetwork) -> keras.Model:
    """dlib's own network: float RGB 0…255 `[N,150,150,3]` in, descriptors `[N,128]` of any length out."""
    design = DlibDesign()
    chips = keras.Input((design.side, design.side, 3), name="chips")
    dense = layers.Dense(design.dimension, use_bias=False, name=HEAD)
    network = keras.Model(chips, dense(_body(chips, design)), name="dlib")
    load_dlib_weights(network, source)
    dense.set_weights([source.dense])
    return network


def load_dlib_weights(network: keras.Model, source: DlibNetwork) -> None:
    """Put dlib's convolutions and affine maps into a network of `DlibDesign`, in place; the dense layer stays.

    Raises:
        InputError: the two have not the same layers.
    """
    convolutions = [layer for layer in network.layers if layer.name.endswith("_conv")]
    norms = [layer for layer in network.layers if layer.name.endswith("_norm")]
    ours = [(layer.kernel.shape, layer.strides[0]) for layer in convolutions]
    if ours != [(c.kernel.shape, c.stride) for c in source.convolutions] or source.mean != MEAN:
        raise InputError(
            "dlib's network in this file has other layers or another mean than the one to be started from it"
        )
    for layer, norm, c in zip(convolutions, norms, source.convolutions, strict=True):
        layer.set_weights([c.kernel])
        norm.set_weights([c.gain, c.shift, -c.bias, np.full_like(c.gain, 1 - EPSILON)])
