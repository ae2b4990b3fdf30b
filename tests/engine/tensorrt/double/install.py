"""Putting the pretended GPU in the place of a real one, for one test or for a process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine import cuda_device, cuda_driver, device_vision, tensorrt_library
from engine.errors import MissingError
from tests.engine.tensorrt.double import cuda, trt
from tests.engine.tensorrt.double.kernels import Kernels
from tests.engine.tensorrt.double.machine import Machine

_BOUND = ("engine.cuda_device_pycuda", "engine.cuda_device_bindings")
"""Modules that hold on to the package that they were imported with."""


@contextmanager
def installed(machine: Machine, package: str, caches: Path, kernels: Path | None = None) -> Iterator[Machine]:
    """The machine instead of a GPU: TensorRT, the driver's library, and `package` to serve it.

    Args:
        machine: the GPU.
        package: what serves it.
        caches: where engines are kept.
        kernels: the host library of the kernels; None is an installation without kernels.
    """
    packages: dict[str, Callable[[Machine], dict[str, Any]]] = {"pycuda": cuda.pycuda, "cuda-bindings": cuda.bindings}
    hidden = {module.split(".")[0]: None for name, module in cuda_device.PACKAGES.items() if name != package}
    modules = {**hidden, **packages[package](machine), "tensorrt": trt.tensorrt(machine)}
    library = cuda.DriverLibrary(machine, Kernels(machine, kernels) if kernels is not None else None)

    def fatbin() -> Path:
        if kernels is None:
            raise MissingError("this installation has no CUDA kernels")
        return kernels

    for name in _BOUND:
        sys.modules.pop(name, None)
    tensorrt_library.logger.cache_clear()
    try:
        with (
            _swapped(modules),
            patch.dict("os.environ", {"XDG_CACHE_HOME": str(caches)}),
            patch.object(cuda_driver, "library", lambda: library),
            patch.object(device_vision, "fatbin", fatbin),
        ):
            try:
                yield machine
            finally:
                cuda_device.close_device()
    finally:
        for name in _BOUND:
            sys.modules.pop(name, None)
        tensorrt_library.logger.cache_clear()


@contextmanager
def _swapped(modules: dict[str, Any]) -> Iterator[None]:
    """These modules and no others: what is imported meanwhile stays, as some packages cannot be imported twice."""
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(before)
