"""The tests of `tests/gpu/test_cuda_kernels.py`, rehearsed without a GPU: the host plays both sides."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.cuda.kernels import Form, Kernels
from engine.cuda_device import Traffic
from engine.cuda_driver import GpuInfo
from tests.engine.cuda.host import HostModule
from tests.gpu import test_cuda_kernels as real


class Bytes:
    """Memory, of both sides at once."""

    def __init__(self, size: int) -> None:
        self.array: NDArray[Any] = np.full(size, 0xA5, np.uint8)
        self.address = self.array.ctypes.data

    def free(self) -> None:
        self.array.fill(0x5A)


class Queue:
    """A stream on which everything is done at once."""

    handle = 7

    def synchronize(self) -> None: ...
    def close(self) -> None: ...


class Pretended:
    """The host as a `CudaDevice`."""

    info = GpuInfo("host", (0, 0), 0)
    package = "numpy"
    traffic = Traffic()

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def stream(self) -> Queue:
        return Queue()

    def allocate(self, size: int) -> Bytes:
        return Bytes(size)

    def pinned(self, size: int) -> Bytes:
        return Bytes(size)

    def copy_in(self, address: int, source: NDArray[Any], stream: object) -> None:
        np.ctypeslib.as_array((ctypes.c_uint8 * source.nbytes).from_address(address))[:] = source

    def copy_out(self, target: NDArray[Any], address: int, stream: object) -> None:
        target[:] = np.ctypeslib.as_array((ctypes.c_uint8 * target.nbytes).from_address(address))

    def release(self) -> None: ...


@pytest.fixture
def gpu(host_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[real.Gpu]:
    monkeypatch.setattr(real, "SIZES", [(96, 65, 64, 0), (50, 33, 64, 3)])
    monkeypatch.setattr(real, "FACES", 3)
    monkeypatch.setattr(real, "PEOPLE", 301)
    made = real.Gpu(Pretended(), Kernels(HostModule(host_library, descending=True)))
    yield made
    made.close()


@pytest.mark.parametrize(("kind", "form"), [("nv12", "bytes"), ("p010", "f16"), ("yuv420p", "f32")])
def test_pixels(kind: str, form: Form, gpu: real.Gpu, kernels: Kernels) -> None:
    real.test_letterbox(kind, form, gpu, kernels)
    real.test_warp(kind, form, gpu, kernels)


@pytest.mark.parametrize("kind", ["nv12", "p010", "yuv420p"])
def test_cells_and_marks(kind: str, gpu: real.Gpu, kernels: Kernels) -> None:
    real.test_cells(kind, gpu, kernels)
    real.test_draw(kind, gpu, kernels)


def test_vectors(gpu: real.Gpu, kernels: Kernels) -> None:
    real.test_decode(gpu, kernels)
    real.test_sharpness(gpu, kernels)
    real.test_normalise_and_nearest(132, gpu, kernels)


def test_a_difference_would_show(gpu: real.Gpu, kernels: Kernels) -> None:
    """With a copy that lags behind by a byte the comparison fails."""

    class Late(Pretended):
        def copy_out(self, target: NDArray[Any], address: int, stream: object) -> None:
            super().copy_out(target, address + 1, stream)

    gpu.device = Late()
    with pytest.raises(AssertionError):
        real.test_letterbox("nv12", "bytes", gpu, kernels)
