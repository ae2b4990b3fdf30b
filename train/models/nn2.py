"""NN2, the Inception network of FaceNet (Schroff et al., CVPR 2015, Table 2).

An Inception module puts side by side: 1×1 convolutions; 3×3 and 5×5 convolutions, each after a 1×1 reduction; and a 3×3
pooling, followed by a 1×1 projection (`p`) in most. `L2` marks the modules that pool by the Euclidean norm instead of
the maximum; `,2` a stride of 2.

Parameters, as the table prints them and as this network has them (weights and biases, for any input side):

| layer | size out at 224 | #1×1 | 3×3 reduce | #3×3 | 5×5 reduce | #5×5 | pool | printed | here |
|---|---|---:|---:|---:|---:|---:|---|---:|---:|
| conv1 (7×7, 2) | 112×112×64 | | | | | | | 9K | 9,472 |
| max pool + norm | 56×56×64 | | | | | | m 3×3, 2 | | 0 |
| inception (2) | 56×56×192 | | 64 | 192 | | | | 115K | 114,944 |
| norm + max pool | 28×28×192 | | | | | | m 3×3, 2 | | 0 |
| inception (3a) | 28×28×256 | 64 | 96 | 128 | 16 | 32 | m, 32p | 164K | 163,696 |
| inception (3b) | 28×28×320 | 64 | 96 | 128 | 32 | 64 | L2, 64p | 228K | 227,776 |
| inception (3c) | 14×14×640 | 0 | 128 | 256,2 | 32 | 64,2 | m 3×3,2 | 398K | 397,792 |
| inception (4a) | 14×14×640 | 256 | 96 | 192 | 32 | 64 | L2, 128p | 545K | 545,536 |
| inception (4b) | 14×14×640 | 224 | 112 | 224 | 32 | 64 | L2, 128p | 595K | 595,216 |
| inception (4c) | 14×14×640 | 192 | 128 | 256 | 32 | 64 | L2, 128p | 654K | 654,112 |
| inception (4d) | 14×14×640 | 160 | 144 | 288 | 32 | 64 | L2, 128p | 722K | 722,224 |
| inception (4e) | 7×7×1024 | 0 | 160 | 256,2 | 64 | 128,2 | m 3×3,2 | 717K | 717,408 |
| inception (5a) | 7×7×1024 | 384 | 192 | 384 | 48 | 128 | L2, 128p | 1.6M | 1,588,464 |
| inception (5b) | 7×7×1024 | 384 | 192 | 384 | 48 | 128 | m, 128p | 1.6M | 1,588,464 |
| avg pool | 1×1×1024 | | | | | | | | 0 |
| fully conn | 128 | | | | | | | 131K | 131,200 |
| L2 normalization | 128 | | | | | | | | 0 |
| total | | | | | | | | 7.5M | 7,456,304 |

Row by row the two agree after rounding, but for 4a: its weights without biases, 544,768, round to what is printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from train.models.facenet_layers import L2Pooling, Normalisation, convolve, halve, respond

SIDE = 224
"""The input's side in the paper, pixels."""
DIMENSION = 128


@dataclass(frozen=True, slots=True)
class Inception:
    """One row of the table: channels of each path, 0 where there is none."""

    name: str
    single: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: Literal["max", "L2"]
    projection: int
    """Channels after the pooling; 0: none, the pooled map itself."""
    stride: int = 1


MODULES = (
    Inception("3a", 64, 96, 128, 16, 32, "max", 32),
    Inception("3b", 64, 96, 128, 32, 64, "L2", 64),
    Inception("3c", 0, 128, 256, 32, 64, "max", 0, stride=2),
    Inception("4a", 256, 96, 192, 32, 64, "L2", 128),
    Inception("4b", 224, 112, 224, 32, 64, "L2", 128),
    Inception("4c", 192, 128, 256, 32, 64, "L2", 128),
    Inception("4d", 160, 144, 288, 32, 64, "L2", 128),
    Inception("4e", 0, 160, 256, 64, 128, "max", 0, stride=2),
    Inception("5a", 384, 192, 384, 48, 128, "L2", 128),
    Inception("5b", 384, 192, 384, 48, 128, "max", 128),
)


def _module(x: keras.KerasTensor, m: Inception, normalisation: Normalisation) -> keras.KerasTensor:
    def conv(x: keras.KerasTensor, channels: int, kernel: int, path: str, stride: int = 1) -> keras.KerasTensor:
        return convolve(x, channels, kernel, f"inception_{m.name}_{path}", normalisation, stride)

    paths = [conv(x, m.single, 1, "1x1")] if m.single else []
    paths.append(conv(conv(x, m.reduce3, 1, "3x3_reduce"), m.three, 3, "3x3", m.stride))
    paths.append(conv(conv(x, m.reduce5, 1, "5x5_reduce"), m.five, 5, "5x5", m.stride))
    name = f"inception_{m.name}_pool"
    pooled = L2Pooling(3, name=name)(x) if m.pool == "L2" else layers.MaxPooling2D(3, m.stride, "same", name=name)(x)
    paths.append(conv(pooled, m.projection, 1, "pool_projection") if m.projection else pooled)
    return layers.Concatenate(name=f"inception_{m.name}")(paths)


def build_nn2(side: int = SIDE, normalisation: Normalisation = "local", dimension: int = DIMENSION) -> keras.Model:
    """NN2: float RGB 0…255 `[N,side,side,3]` in, unit vectors `[N,dimension]` out.

    Args:
        side: pixels; 224 in the paper.
        normalisation: as printed, or with batch normalisation; see `Normalisation`.
        dimension: of the embedding.
    """
    faces = keras.Input((side, side, 3), name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(faces)
    x = halve(convolve(x, 64, 7, "conv1", normalisation, 2), "pool1")
    x = respond(x, "norm1", normalisation)
    x = convolve(x, 64, 1, "inception_2_3x3_reduce", normalisation)
    x = convolve(x, 192, 3, "inception_2_3x3", normalisation)
    x = halve(respond(x, "norm2", normalisation), "pool2")
    for module in MODULES:
        x = _module(x, module, normalisation)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(dimension, name="fully_connected")(x)
    return keras.Model(faces, layers.UnitNormalization(name="embeddings")(x), name="nn2")
