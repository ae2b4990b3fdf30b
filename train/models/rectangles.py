"""The network of the rectangles task: three 5×5 convolutions of 128 filters, and a fully connected 90 = 3×3×2×5."""

from __future__ import annotations

import keras
from keras import layers

from train.data.grid import VALUES
from train.data.rectangles import PLOTS, SIDE
from train.models.grid_detector import GridBoxes, confidence_prior
from train.models.layers import EXACT, FusedBatchNormalization


def build_rectangles_network(filters: int = 128) -> keras.Model:
    """`plots` `[N,15,15,1]` → boxes `[N,3,3,2,5]` (`train.data.grid`).

    Each convolution is followed by batch normalisation and a leaky ReLU of slope 0.1.

    Args:
        filters: of each convolution; fewer for tests.
    """
    plots = keras.Input((SIDE, SIDE, 1), name="plots")
    x = plots
    for number in (1, 2, 3):
        x = layers.Conv2D(
            filters, 5, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{number}"
        )(x)
        x = FusedBatchNormalization(momentum=0.97, epsilon=1e-3, name=f"bn{number}")(x)
        x = layers.LeakyReLU(negative_slope=0.1, name=f"leaky{number}")(x)
    cells = SIDE // PLOTS.cell
    numbers = cells * cells * PLOTS.boxes * VALUES
    # 28,800 inputs move an output together: made small, they move it as gently as the filters move theirs.
    x = layers.Rescaling(0.01, dtype=EXACT, name="gently")(layers.Flatten()(x))
    start = keras.initializers.RandomNormal(stddev=0.1)
    x = layers.Dense(
        numbers,
        kernel_initializer=start,
        bias_initializer=confidence_prior(numbers // VALUES),
        dtype=EXACT,
        name="raw",
    )(x)
    x = layers.Reshape((cells, cells, PLOTS.boxes * VALUES), dtype=EXACT)(x)
    anchors = [[width / SIDE, height / SIDE] for width, height in PLOTS.anchors]
    return keras.Model(plots, GridBoxes(anchors, dtype=EXACT, name="boxes")(x), name="iznet-rectangles")
