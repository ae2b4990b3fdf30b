"""NN1, the Zeiler & Fergus network with 1×1 convolutions of FaceNet (Schroff et al., CVPR 2015, Table 1).

Its fully connected layers are Maxout layers (Goodfellow et al., "Maxout Networks", ICML 2013): a unit is the largest of
k = 2 affine maps of its inputs and has no other activation; the table writes `maxout p=2`. `1×32×128` is 4,096 units.

Parameters, as the table prints them and as this network has them on 220×220 pixels. The table counts weights and, as
far as its rounding shows, biases; row by row it agrees with this network after rounding:

| layer | size out | kernel, stride | printed | here |
|---|---|---|---:|---:|
| conv1 | 110×110×64 | 7×7×3, 2 | 9K | 9,472 |
| pool1, rnorm1 | 55×55×64 | 3×3, 2 | 0 | 0 |
| conv2a | 55×55×64 | 1×1×64, 1 | 4K | 4,160 |
| conv2 | 55×55×192 | 3×3×64, 1 | 111K | 110,784 |
| rnorm2, pool2 | 28×28×192 | 3×3, 2 | 0 | 0 |
| conv3a | 28×28×192 | 1×1×192, 1 | 37K | 37,056 |
| conv3 | 28×28×384 | 3×3×192, 1 | 664K | 663,936 |
| pool3 | 14×14×384 | 3×3, 2 | 0 | 0 |
| conv4a | 14×14×384 | 1×1×384, 1 | 148K | 147,840 |
| conv4 | 14×14×256 | 3×3×384, 1 | 885K | 884,992 |
| conv5a | 14×14×256 | 1×1×256, 1 | 66K | 65,792 |
| conv5 | 14×14×256 | 3×3×256, 1 | 590K | 590,080 |
| conv6a | 14×14×256 | 1×1×256, 1 | 66K | 65,792 |
| conv6 | 14×14×256 | 3×3×256, 1 | 590K | 590,080 |
| pool4, concat | 7×7×256 | 3×3, 2 | 0 | 0 |
| fc1 | 32×128 | maxout, p=2 | 103M | 102,768,640 |
| fc2 | 32×128 | maxout, p=2 | 34M | 33,562,624 |
| fc7128 | 128 | | 524K | 524,416 |
| L2 | 128 | | 0 | 0 |
| total | | | 140M | 140,025,664 |

On another input side only fc1 changes: its inputs are the ⌈side / 32⌉² places of pool4.
"""

from __future__ import annotations

import keras
from keras import layers

from train.models.facenet_layers import Maxout, Normalisation, convolve, halve, respond

SIDE = 220
"""The input's side in the paper, pixels."""
DIMENSION = 128


def build_nn1(side: int = SIDE, normalisation: Normalisation = "local", dimension: int = DIMENSION) -> keras.Model:
    """NN1: float RGB 0…255 `[N,side,side,3]` in, unit vectors `[N,dimension]` out.

    Args:
        side: pixels; 220 in the paper.
        normalisation: as printed, or with batch normalisation; see `Normalisation`.
        dimension: of the embedding.
    """

    def conv(x: keras.KerasTensor, channels: int, kernel: int, name: str, stride: int = 1) -> keras.KerasTensor:
        return convolve(x, channels, kernel, name, normalisation, stride)

    faces = keras.Input((side, side, 3), name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(faces)
    x = halve(conv(x, 64, 7, "conv1", stride=2), "pool1")
    x = respond(x, "rnorm1", normalisation)
    x = conv(conv(x, 64, 1, "conv2a"), 192, 3, "conv2")
    x = halve(respond(x, "rnorm2", normalisation), "pool2")
    x = halve(conv(conv(x, 192, 1, "conv3a"), 384, 3, "conv3"), "pool3")
    x = conv(conv(x, 384, 1, "conv4a"), 256, 3, "conv4")
    x = conv(conv(x, 256, 1, "conv5a"), 256, 3, "conv5")
    x = halve(conv(conv(x, 256, 1, "conv6a"), 256, 3, "conv6"), "pool4")
    x = layers.Flatten(name="concat")(x)
    x = Maxout(32 * 128, pieces=2, name="fc1")(x)
    x = Maxout(32 * 128, pieces=2, name="fc2")(x)
    x = layers.Dense(dimension, name="fc7128")(x)
    return keras.Model(faces, layers.UnitNormalization(name="embeddings")(x), name="nn1")
