"""The detector of one grid: a backbone, and for every cell of 32 pixels two boxes of confidence, x, y, w, h.

13×13×2×5 over a picture of 416 pixels; the network is fully convolutional, so any multiple of 32 will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from engine.errors import UsageError
from train.data.grid import FACES, VALUES, Grid
from train.models.darknet import darknet53
from train.models.mobilenet import mobilenet
from train.models.shufflenet import shufflenet

Backbone = Callable[[keras.KerasTensor], keras.KerasTensor]

BACKBONES: dict[str, Backbone] = {"darknet53": darknet53, "mobilenet": mobilenet, "shufflenet": shufflenet}
PRIOR_CONFIDENCE = 0.1
LARGEST = 4.0
"""Logarithm of how many times larger or smaller than its anchor a box can be."""


@keras.saving.register_keras_serializable(package="iznet")
class GridBoxes(layers.Layer):  # type: ignore[misc]
    """From `[N,R,C,B·5]` numbers to boxes `[N,R,C,B,5]`: confidence as it is, x, y by a sigmoid, w, h = anchor · exp.

    The confidence is linear, as the last layer of You Only Look Once is (section 2.2): under a squared error a sigmoid
    would hardly learn where it begins, near 0. It can leave 0…1 a little; who decodes it clips it. x and y lie in
    0…1: a middle never leaves the cell that answers for it (arXiv 1612.08242, section 2).
    """

    def __init__(self, anchors: list[list[float]], **kwargs: Any) -> None:
        """Take the anchors' (width, height) in parts of the picture."""
        super().__init__(**kwargs)
        self.anchors = [[float(v) for v in anchor] for anchor in anchors]

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Turn the raw numbers into boxes."""
        shape = ops.shape(x)
        x = ops.reshape(x, (-1, shape[1], shape[2], len(self.anchors), VALUES))
        sizes = ops.exp(ops.clip(x[..., 3:], -LARGEST, LARGEST)) * np.array(self.anchors, np.float32)
        return ops.concatenate([x[..., :1], ops.sigmoid(x[..., 1:3]), sizes], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What Keras stores."""
        return {**super().get_config(), "anchors": self.anchors}


def confidence_prior(boxes: int) -> Callable[..., Any]:
    """A bias initialiser for `boxes` boxes of five numbers: confidence begins at `PRIOR_CONFIDENCE`, the rest at 0."""
    prior = np.zeros((boxes, VALUES), np.float32)
    prior[:, 0] = PRIOR_CONFIDENCE
    return lambda shape, dtype=None: ops.convert_to_tensor(prior.reshape(shape), dtype)


def grid_head(features: keras.KerasTensor, grid: Grid) -> keras.KerasTensor:
    """Boxes `[N,R,C,B,5]` from features `[N,R,C,F]`: one 1×1 convolution. Confidence begins at 0.1."""
    raw = layers.Conv2D(
        grid.boxes * VALUES,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=confidence_prior(grid.boxes),
        name="head",
    )(features)
    anchors = [[width / grid.picture, height / grid.picture] for width, height in grid.anchors]
    return GridBoxes(anchors, name="boxes")(raw)


def build_grid_detector(arch: str, backbone: Backbone | None = None, grid: Grid = FACES) -> keras.Model:
    """The network to train: `images` `[N,H,W,3]` RGB 0…255 → `[N,H/32,W/32,2,5]` (`train.data.grid`).

    Args:
        arch: one of `BACKBONES`, and part of the network's name.
        backbone: another one than `arch` names (for tests); it shrinks by 32.
        grid: cells and anchors.

    Raises:
        UsageError: no such architecture.
    """
    if backbone is None and arch not in BACKBONES:
        raise UsageError(f"--arch {arch}: no such detector; one of {', '.join(BACKBONES)}")
    images = keras.Input((None, None, 3), name="images")
    x = layers.Rescaling(1 / 64, offset=-2.0, name="normalise")(images)
    features = (backbone or BACKBONES[arch])(x)
    return keras.Model(images, grid_head(features, grid), name=f"iznet-detector-{arch}")
