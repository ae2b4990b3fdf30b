"""What the tests of integers share: networks written as ONNX in floats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.export import export_onnx


def write_floats(
    network: Any, path: Path, faces: NDArray[np.uint8], facts: Mapping[str, str], tolerance: float = 1e-3
) -> Path:
    """Export `network`, which takes pictures of the size of `faces` and gives `embeddings`, to `path`."""
    export_onnx(
        network,
        path,
        input_name="faces",
        input_shape=(None, *faces.shape[1:]),
        output_names=["embeddings"],
        metadata=facts,
        example=faces[:4],
        tolerance=tolerance,
    )
    return path
