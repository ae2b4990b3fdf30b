"""Reading the weights of YuNet out of libfacedetection's shared library.

The library (Shiqi Yu, 3-clause BSD) has its network inside, each tensor an array of floats under a name of its own; the
Python package `yuface` carries it ready-made for Linux.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError


def read_libfacedetection(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """The tensors of `shapes`, by name, of the library at `path`.

    It is loaded into this process, initialisers and all, and sizes are taken on trust: give one that you trust.

    Raises:
        InputError: it is missing, cannot be loaded on this machine, or lacks a tensor.

    Example:
        >>> read_libfacedetection(Path("libfacedetection.so"), {"backbone__model0_pw_bias": (16,)})  # doctest: +SKIP
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the libfacedetection.so of the Python package yuface")
    tensors = {}
    try:
        library = ctypes.CDLL(str(path.resolve()))
        for name, shape in shapes.items():
            floats = (ctypes.c_float * math.prod(shape)).in_dll(library, name)
            tensors[name] = np.array(floats, np.float32).reshape(shape)
            if not np.isfinite(tensors[name]).all():
                raise ValueError(f"{name} holds what is no number")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is no libfacedetection with YuNet's weights ({error}); give the libfacedetection.so of the Python "
            "package yuface"
        ) from error
    return tensors
