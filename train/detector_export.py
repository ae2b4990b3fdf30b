"""From a trained detector to the files that ship: ONNX with its facts inside, checksum, Keras weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from train.export import export_onnx
from train.models.detector import STRIDES, with_probabilities
from train.output import replaced

COARSE = 192
"""Size of the second look for faces that fill the picture, `engine.coarse`: of 64 to 416 px the one that found most
close-ups cut from the training pictures (0.975 instead of 0.867 of 240)."""


def export_detector(
    model: keras.Model, folder: Path, *, threshold: float, example: NDArray[np.uint8] | None = None
) -> str:
    """Write `detector.onnx`, `detector.sha256` and `detector.keras` into `folder`; returns the checksum.

    Args:
        model: as `build_detector` makes it, with the (averaged) weights to ship.
        folder: made where it is missing.
        threshold: default score threshold, stored in the metadata.
        example: uint8 `[N,H,W,3]` on which the exported network must agree; noise where None.

    Raises:
        InputError: the exported network answers otherwise than the original.
        OutputError: `folder` cannot be written.
    """

    def heads(pixels: Any) -> list[Any]:
        answer = with_probabilities(model(pixels, training=False))
        return [answer[f"head{s}"] for s in STRIDES]

    if example is None:
        example = np.random.default_rng(0).integers(0, 256, (2, 128, 192, 3), np.uint8)
    digest = export_onnx(
        heads,
        folder / "detector.onnx",
        input_name="images",
        input_shape=(None, None, None, 3),
        output_names=[f"head{s}" for s in STRIDES],
        metadata={
            "iznet.kind": "detector",
            "iznet.name": model.name,
            "iznet.strides": ",".join(str(s) for s in STRIDES),
            "iznet.threshold": f"{threshold:g}",
            "iznet.coarse": str(COARSE),
        },
        example=example,
    )
    with replaced(folder / "detector.keras") as temporary:
        model.save(temporary)
    return digest
