"""From a trained one-grid detector to the ONNX that `engine` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.data.grid import FACES, Grid
from train.export import export_onnx

USUAL_LANDMARKS = ((0.28, 0.34), (0.72, 0.34), (0.5, 0.54), (0.32, 0.71), (0.68, 0.71))
"""Eyes, nose and corners of the mouth in parts of the box: the middle of 1,884 faces, made symmetric.

The network finds boxes alone. With these a face can still be aligned, by its box; the metadata says so
(`iznet.landmarks` is `usual`).
"""


def engine_heads(boxes: Any, grid: Grid = FACES) -> Any:
    """Boxes `[N,R,C,B,5]` as the engine reads them, `[N,R,C,15·B]`.

    For each box its confidence, clipped to 0…1, the distances from the cell's centre to the four edges and the
    landmarks' offsets from it, in strides (`engine.decoding.candidates`).
    """
    offset = boxes[..., 1:3] - 0.5
    half = boxes[..., 3:5] * (grid.picture / grid.cell / 2)
    places = np.array(USUAL_LANDMARKS, np.float32) * 2 - 1
    points = [offset + half * place for place in places]
    rows = tf.concat([tf.clip_by_value(boxes[..., :1], 0.0, 1.0), half - offset, half + offset, *points], axis=-1)
    shape = tf.shape(boxes)
    return tf.reshape(rows, [-1, shape[1], shape[2], grid.boxes * rows.shape[-1]])


def export_grid_detector(
    model: keras.Model, folder: Path, *, threshold: float = 0.3, example: NDArray[np.uint8] | None = None
) -> str:
    """Write `detector.onnx` and `detector.sha256` into `folder`; returns the checksum.

    Args:
        model: as `build_grid_detector` makes it.
        folder: made where it is missing.
        threshold: default score threshold, stored in the metadata; the write-up's is 0.3.
        example: uint8 `[N,H,W,3]` on which the exported network must agree; noise where None.

    Raises:
        InputError: the exported network answers otherwise than the original.
        OutputError: `folder` cannot be written.
    """
    if example is None:
        example = np.random.default_rng(0).integers(0, 256, (2, 128, 192, 3), np.uint8)
    name = f"head{FACES.cell}"
    return export_onnx(
        lambda pixels: engine_heads(model(pixels, training=False)),
        folder / "detector.onnx",
        input_name="images",
        input_shape=(None, None, None, 3),
        output_names=[name],
        metadata={
            "iznet.kind": "detector",
            "iznet.name": model.name,
            "iznet.strides": str(FACES.cell),
            "iznet.threshold": f"{threshold:g}",
            "iznet.landmarks": "usual",
        },
        example=example,
    )
