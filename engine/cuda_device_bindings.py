"""The GPU through NVIDIA's cuda-bindings, whose wheels need a driver and nothing else. See `engine.cuda_device`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cuda_device import DeviceMemory, PinnedMemory, Stream, Traffic
from engine.cuda_driver import GpuInfo, check, no_room
from engine.errors import MissingError

try:
    from cuda import bindings
    from cuda.bindings import driver as cuda
except ImportError as error:
    raise MissingError(f"cuda-bindings cannot be loaded ({error}); install it again") from error

_NON_BLOCKING, _OUT_OF_MEMORY = 1, 2


def _call(name: str, *arguments: Any) -> Any:
    """Call the driver: what it gives besides its result code, alone or as a tuple."""
    code, *values = getattr(cuda, name)(*arguments)
    check(int(code), name)
    return values[0] if len(values) == 1 else tuple(values)


class BindingsStream:
    """See `engine.cuda_device.Stream`."""

    def __init__(self) -> None:
        self._own = _call("cuStreamCreate", _NON_BLOCKING)
        self._open = True

    @property
    def handle(self) -> int:
        return int(self._own)

    def synchronize(self) -> None:
        _call("cuStreamSynchronize", self._own)

    def close(self) -> None:
        if self._open:
            self._open = False
            _call("cuStreamDestroy", self._own)


class BindingsMemory:
    """See `engine.cuda_device.DeviceMemory`."""

    def __init__(self, size: int) -> None:
        code, address = cuda.cuMemAlloc(size)
        if int(code) == _OUT_OF_MEMORY:
            raise no_room(size)
        check(int(code), "cuMemAlloc")
        self.address = int(address)
        self._held = True

    def free(self) -> None:
        if self._held:
            self._held = False
            _call("cuMemFree", self.address)


class BindingsPinned:
    """See `engine.cuda_device.PinnedMemory`."""

    def __init__(self, size: int) -> None:
        self._address = int(_call("cuMemHostAlloc", size, 0))
        self.array: NDArray[Any] = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._address))
        self._held = True

    def free(self) -> None:
        if self._held:
            self._held = False
            self.array = np.empty(0, np.uint8)
            _call("cuMemFreeHost", self._address)


class BindingsDevice:
    """See `engine.cuda_device.CudaDevice`."""

    def __init__(self, info: GpuInfo) -> None:
        _call("cuInit", 0)
        self.info = info
        self.package = f"cuda-bindings {bindings.__version__}"
        self.traffic = Traffic()
        self._device = _call("cuDeviceGet", 0)
        self._context = _call("cuDevicePrimaryCtxRetain", self._device)

    @contextmanager
    def current(self) -> Iterator[None]:
        _call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            _call("cuCtxPopCurrent")

    def stream(self) -> Stream:
        return BindingsStream()

    def allocate(self, size: int) -> DeviceMemory:
        return BindingsMemory(size)

    def pinned(self, size: int) -> PinnedMemory:
        return BindingsPinned(size)

    def copy_in(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        _call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, stream.handle)
        self.traffic.add(up=source.nbytes)

    def copy_out(self, target: NDArray[Any], address: int, stream: Stream) -> None:
        _call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, stream.handle)
        self.traffic.add(down=target.nbytes)

    def release(self) -> None:
        _call("cuDevicePrimaryCtxRelease", self._device)
