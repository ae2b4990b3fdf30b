"""The GPU through pycuda. See `engine.cuda_device`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cuda_device import DeviceMemory, PinnedMemory, Stream, Traffic
from engine.cuda_driver import GpuInfo, no_room
from engine.errors import MissingError

try:
    import pycuda
    import pycuda.driver as cuda
except ImportError as error:  # installed, but compiled for another CUDA, for example
    raise MissingError(f"pycuda cannot be loaded ({error}); install it again against the CUDA toolkit here") from error

_NON_BLOCKING = 1


class PycudaStream:
    """See `engine.cuda_device.Stream`."""

    def __init__(self) -> None:
        self.own: Any = cuda.Stream(_NON_BLOCKING)

    @property
    def handle(self) -> int:
        return int(self.own.handle)

    def synchronize(self) -> None:
        self.own.synchronize()

    def close(self) -> None:
        self.own = None  # pycuda destroys a stream with the object


class PycudaMemory:
    """See `engine.cuda_device.DeviceMemory`."""

    def __init__(self, size: int) -> None:
        try:
            self._own: Any = cuda.mem_alloc(size)
        except cuda.MemoryError as error:
            raise no_room(size) from error
        self.address = int(self._own)

    def free(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            own.free()


class PycudaPinned:
    """See `engine.cuda_device.PinnedMemory`."""

    def __init__(self, size: int) -> None:
        self.array: NDArray[Any] = cuda.pagelocked_empty(size, np.uint8)
        self._own: Any = self.array.base

    def free(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            self.array = np.empty(0, np.uint8)
            own.free()


class PycudaDevice:
    """See `engine.cuda_device.CudaDevice`."""

    def __init__(self, info: GpuInfo) -> None:
        cuda.init()
        self.info = info
        self.package = f"pycuda {pycuda.VERSION_TEXT}"
        self.traffic = Traffic()
        self._context = cuda.Device(0).retain_primary_context()

    @contextmanager
    def current(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            cuda.Context.pop()

    def stream(self) -> Stream:
        return PycudaStream()

    def allocate(self, size: int) -> DeviceMemory:
        return PycudaMemory(size)

    def pinned(self, size: int) -> PinnedMemory:
        return PycudaPinned(size)

    def copy_in(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        cuda.memcpy_htod_async(address, source, stream.own)
        self.traffic.add(up=source.nbytes)

    def copy_out(self, target: NDArray[Any], address: int, stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        cuda.memcpy_dtoh_async(target, address, stream.own)
        self.traffic.add(down=target.nbytes)

    def release(self) -> None:
        # pycuda lets go of a context only where it is current or on the thread that retained it, and says nothing
        # otherwise; letting go of a current one pops it too.
        self._context.push()
        self._context.detach()
