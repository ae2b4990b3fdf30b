"""The shipped embedder: a compact residual network, of MobileFaceNet's size and cost but without depthwise layers.

Depthwise convolutions save arithmetic, not time, when training on a processor: a half-width MobileFaceNet of 59 M
multiply-adds trains at 25 faces a second on one core, a network like this of 72 M at 115; this one has 48 M.

It halves the picture five times (112 → 56 → 28 → 14 → 7 → 4 px) and spends most of its arithmetic on 14 and 7 px. The
end is nearly that of ArcFace's best variant (Deng et al., CVPR 2019, "option E"): normalise, flatten, one dense layer
that knows where in the face each feature is. The normalisation after it is left out: it would give every output the
same variance, and the targets' principal components do not have that.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from train.models.layers import EXACT, HEAD, FusedBatchNormalization


@dataclass(frozen=True, slots=True)
class EmbedderDesign:
    """The size of an embedder.

    Example:
        >>> EmbedderDesign().signature
        'residual-s24-24x0-48x1-96x2-192x1-e128'
    """

    stem: int = 24
    """Channels of the first convolution."""
    channels: tuple[int, ...] = (24, 48, 96, 192)
    """Channels of each stage; each halves the picture."""
    blocks: tuple[int, ...] = (0, 1, 2, 1)
    """Residual blocks of each stage."""
    dimension: int = 128
    """Length of the embedding."""

    @property
    def signature(self) -> str:
        """A name that differs wherever the weights would not fit."""
        stages = "-".join(f"{c}x{b}" for c, b in zip(self.channels, self.blocks, strict=True))
        return f"residual-s{self.stem}-{stages}-e{self.dimension}"

    def build(self) -> keras.Model:
        """The embedder: float RGB 0…255 `[N,112,112,3]` in, unit vectors `[N,dimension]` out."""
        return build_embedder(self)


def _convolve(x: keras.KerasTensor, channels: int, stride: int, name: str, *, relu: bool) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 3, stride, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(
        x
    )
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-4, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def build_embedder(design: EmbedderDesign = EmbedderDesign(), side: int = 112) -> keras.Model:
    """The network: float RGB 0…255 `[N,side,side,3]` in, unit vectors `[N,dimension]` out. Pre-processing is inside."""
    faces = x = keras.Input((side, side, 3), name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype=EXACT, name="scale")(x)
    x = _convolve(x, design.stem, 2, "stem", relu=True)
    for stage, (channels, blocks) in enumerate(zip(design.channels, design.blocks, strict=True), 1):
        x = _convolve(x, channels, 2, f"stage{stage}", relu=True)
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            y = _convolve(x, channels, 1, f"{name}a", relu=True)
            y = _convolve(y, channels, 1, f"{name}b", relu=False)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    x = FusedBatchNormalization(momentum=0.97, epsilon=1e-4, name="head_norm")(x)
    x = layers.Flatten(name="head_flatten")(x)
    x = layers.Dense(design.dimension, dtype=EXACT, name=HEAD)(x)
    return keras.Model(faces, layers.UnitNormalization(dtype=EXACT, name="embeddings")(x), name="embedder")
