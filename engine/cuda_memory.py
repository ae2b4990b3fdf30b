"""Memory of a GPU that is used again and again, with a pinned twin on the host where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cuda_device import CudaDevice, DeviceMemory, PinnedMemory

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GpuBuffer:
    """An array in a GPU's memory. See `engine.runtime.Buffer`."""

    shape: Shape
    dtype: np.dtype[Any]
    device: str
    address: int
    _host: Callable[[], NDArray[Any]]

    def host(self) -> NDArray[Any]:
        """The pinned twin. A network's input whose twin was asked for is copied to the GPU at `start`; one that was not
        is taken to have been written at `address`, on the request's stream."""
        return self._host()


class TwinMemory:
    """Memory that grows to the largest shape seen and is reused for every smaller one; the twin likewise, but only
    where something is copied. Wants the context current."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self.shape: Shape = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._there: DeviceMemory | None = None
        self._size = 0
        self._here: PinnedMemory | None = None

    @property
    def address(self) -> int:
        """On the GPU."""
        assert self._there is not None
        return self._there.address

    @property
    def twin(self) -> NDArray[Any]:
        """An array of the shape over pinned memory, which is made where there is none yet."""
        size = max(1, self.nbytes)
        if self._here is None or size > len(self._here.array):
            here, self._here = self._here, None
            if here is not None:
                here.free()
            self._here = self._device.pinned(size)
        twin: NDArray[Any] = self._here.array[: self.nbytes].view(self.dtype).reshape(self.shape)
        return twin

    @property
    def nbytes(self) -> int:
        """Of the shape."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def shaped(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Make room for a shape. Nothing that uses the memory may be on its way."""
        self.shape, self.dtype = shape, dtype
        size = max(1, self.nbytes)
        if self._there is None or size > self._size:
            self.free()
            self._there, self._size = self._device.allocate(size), size

    def buffer(self) -> GpuBuffer:
        """What others may know of it, as it is shaped now."""
        return GpuBuffer(self.shape, self.dtype, self._device.info.name, self.address, self._host)

    def free(self) -> None:
        """Give everything back; a second call does nothing."""
        there, self._there = self._there, None
        here, self._here = self._here, None
        with ExitStack() as both:
            for memory in (there, here):
                if memory is not None:
                    both.callback(memory.free)

    def _host(self) -> NDArray[Any]:
        with self._device.current():
            return self.twin
