"""Reading the weights of a network in TensorFlow.js's format.

A `.json` file lists the tensors (name, shape, type) in the order in which their little-endian bytes stand in the files
that it names (TensorFlow.js, "model and layers, save and load", `weightsManifest`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError

TYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


def read_tfjs_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """All tensors of the network whose `.json` is at `path`, by name.

    Raises:
        InputError: a file is missing or damaged, or its tensors are compressed.

    Example:
        >>> len(read_tfjs_weights(Path("mobilefacenet.json")))  # doctest: +SKIP
        139
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    try:
        for group in json.loads(path.read_text())["weightsManifest"]:
            data, at = b"".join((path.parent / name).read_bytes() for name in group["paths"]), 0
            for entry in group["weights"]:
                kind, count = TYPES[entry["dtype"]], math.prod(map(_size, entry["shape"]))
                if "quantization" in entry:
                    raise ValueError(f"{entry['name']} is compressed")
                tensor = np.frombuffer(data, kind, count, at).reshape(entry["shape"])
                if not np.isfinite(tensor).all():
                    raise ValueError(f"{entry['name']} holds what is no number")
                tensors[entry["name"]] = tensor.astype(np.float32)
                at += tensor.nbytes
            if at != len(data):
                raise ValueError(f"{len(data) - at} bytes are left over")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); give the .json of a network, its .bin beside it") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not a network that can be read ({error}); get a fresh copy of it") from error
    return tensors


def _size(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no size")
    return number
