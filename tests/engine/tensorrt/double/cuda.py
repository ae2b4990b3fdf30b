"""pycuda, cuda-bindings and the driver's library on top of the pretended machine: what of them is called."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.engine.tensorrt.double.kernels import Kernels
from tests.engine.tensorrt.double.machine import Context, CudaFailure, Event, Guarded, Machine
from tests.engine.tensorrt.double.module import module

_NAMES = {1: b"CUDA_ERROR_INVALID_VALUE", 2: b"CUDA_ERROR_OUT_OF_MEMORY", 100: b"CUDA_ERROR_NO_DEVICE"}


def pycuda(machine: Machine) -> dict[str, ModuleType]:
    """The package pycuda, as modules by name."""

    class Error(Exception):
        pass

    class MemoryError_(Error):
        pass

    class PrimaryContext:
        def __init__(self, own: Context) -> None:
            self._own = own

        def push(self) -> None:
            machine.push(self._own)

        @staticmethod
        def pop() -> None:
            machine.pop()

        def detach(self) -> None:
            # As pycuda does it: neither current nor on the thread that retained it, it is left as it is.
            if machine.stack() and machine.stack()[-1] is self._own:
                machine.pop()
                machine.release()
            elif machine.retained_by == threading.get_ident():
                machine.release()

    class Device:
        def __init__(self, number: int) -> None:
            assert number == 0

        def retain_primary_context(self) -> PrimaryContext:
            return PrimaryContext(machine.retain())

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            assert flags == 1, "a stream that waits for the default stream"
            self._own = machine.new_stream()
            self.handle = self._own.handle
            # No method: the traceback of its failure would keep the stream, as one out of C++ does not.
            self.synchronize = partial(machine.synchronize, self.handle)

        def __del__(self) -> None:
            if hasattr(self, "_own"):
                machine.close_stream(self.handle)

    class DeviceAllocation:
        def __init__(self, size: int) -> None:
            self._address = machine.allocate(size, device=True).address

        def __int__(self) -> int:
            return self._address

        def free(self) -> None:
            machine.free(self._address)

    class HostAllocation:
        def __init__(self, address: int, data: NDArray[np.uint8]) -> None:
            self._address = address
            self.__array_interface__ = data.__array_interface__
            self._data = data

        def free(self) -> None:
            machine.free(self._address)

    def mem_alloc(size: int) -> DeviceAllocation:
        try:
            return DeviceAllocation(size)
        except CudaFailure as failure:
            raise (MemoryError_ if failure.code == 2 else Error)(failure.name) from failure

    def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> NDArray[Any]:
        assert dtype == np.uint8
        memory = machine.allocate(shape, device=False)
        array = memory.data.view(_PagelockedArray)
        array.memory = memory
        array.allocation = HostAllocation(memory.address, memory.data)
        return array

    driver = module(
        "pycuda.driver",
        Error=Error,
        MemoryError=MemoryError_,
        Context=PrimaryContext,
        Device=Device,
        Stream=Stream,
        init=lambda flags=0: None,
        mem_alloc=mem_alloc,
        pagelocked_empty=pagelocked_empty,
        memcpy_htod_async=lambda dest, src, stream=None: machine.copy_in(dest, src, stream.handle),
        memcpy_dtoh_async=lambda dest, src, stream=None: machine.copy_out(dest, src, stream.handle),
    )
    return {"pycuda": module("pycuda", VERSION_TEXT="2026.1", driver=driver, __path__=[]), "pycuda.driver": driver}


class _PagelockedArray(Guarded):
    """Its `base` is the allocation, as with pycuda."""

    allocation: Any = None

    @property
    def base(self) -> Any:
        return self.allocation if self.allocation is not None else super().base


def bindings(machine: Machine) -> dict[str, ModuleType]:
    """The package cuda.bindings, as modules by name: functions that give (code, value …)."""

    def coded(call: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        def checked(*arguments: Any) -> tuple[Any, ...]:
            try:
                value = call(*arguments)
            except CudaFailure as failure:
                return failure.code, 0
            return (0,) if value is None else (0, value)

        return checked

    driver = module(
        "cuda.bindings.driver",
        cuInit=coded(lambda flags: None),
        cuDeviceGet=coded(lambda number: number),
        cuDevicePrimaryCtxRetain=coded(lambda device: machine.retain()),
        cuDevicePrimaryCtxRelease=coded(lambda device: machine.release()),
        cuCtxPushCurrent=coded(machine.push),
        cuCtxPopCurrent=coded(machine.pop),
        cuStreamCreate=coded(lambda flags: machine.new_stream().handle),
        cuStreamSynchronize=coded(machine.synchronize),
        cuStreamDestroy=coded(machine.close_stream),
        cuMemAlloc=coded(lambda size: machine.allocate(size, device=True).address),
        cuMemFree=coded(machine.free),
        cuMemHostAlloc=coded(lambda size, flags: machine.allocate(size, device=False).address),
        cuMemFreeHost=coded(machine.free),
        cuMemcpyHtoDAsync=coded(lambda there, here, size, stream: machine.copy_in(there, (here, size), stream)),
        cuMemcpyDtoHAsync=coded(lambda here, there, size, stream: machine.copy_out((here, size), there, stream)),
    )
    own = module("cuda.bindings", __version__="13.5.0", driver=driver, __path__=[])
    return {
        "cuda": module("cuda", bindings=own, __path__=[]),
        "cuda.bindings": own,
        "cuda.bindings.driver": driver,
    }


class DriverLibrary:
    """`libcuda`, as `ctypes` sees it."""

    def __init__(self, machine: Machine, kernels: Kernels | None = None) -> None:
        self._machine = machine
        self._kernels = kernels
        self._events: dict[int, Event] = {}

    def cuEventCreate(self, event: Any, flags: int) -> int:
        assert flags == 2, "an event that takes the time"

        def create() -> None:
            made = self._machine.new_event()
            self._events[made.handle] = made
            event._obj.value = made.handle

        return self._coded(create)

    def cuEventRecord(self, event: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        return self._coded(lambda: self._machine.record(self._events[_int(event)], _int(stream)))

    def cuStreamWaitEvent(self, stream: ctypes.c_void_p, event: ctypes.c_void_p, flags: int) -> int:
        return self._coded(lambda: self._machine.wait_for(_int(stream), self._events[_int(event)]))

    def cuEventDestroy_v2(self, event: ctypes.c_void_p) -> int:
        return self._coded(lambda: self._machine.close_event(self._events.pop(_int(event))))

    def cuModuleLoadData(self, module: Any, image: bytes) -> int:
        def load() -> None:
            self._machine.need_context("kernels were loaded")
            self._machine.modules += 1
            module._obj.value = 1

        return self._coded(load)

    def cuModuleGetFunction(self, function: Any, module: ctypes.c_void_p, name: bytes) -> int:
        assert self._kernels is not None
        handle = 0x100 + len(self._kernels.names)
        self._kernels.names[handle] = name.decode()
        function._obj.value = handle
        return 0

    def cuLaunchKernel(self, function: ctypes.c_void_p, *rest: Any) -> int:
        *sizes, shared, stream, parameters, extra = rest
        assert (shared, extra) == (0, None)
        kernels = self._kernels
        assert kernels is not None
        grid, block = tuple(sizes[:3]), tuple(sizes[3:])
        name = kernels.names[_int(function)]
        return self._coded(lambda: kernels.launch(name, grid, block, parameters[0], _int(stream)))

    def cuModuleUnload(self, module: ctypes.c_void_p) -> int:
        def unload() -> None:
            self._machine.need_context("kernels were unloaded")
            self._machine.modules -= 1

        return self._coded(unload)

    def cuInit(self, flags: int) -> int:
        return self._machine.init_result

    def cuGetErrorName(self, code: int, name: Any) -> int:
        name._obj.value = _NAMES.get(code, b"CUDA_ERROR_UNKNOWN")
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self._machine.cuda
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = self._machine.name.encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = self._machine.capability[{75: 0, 76: 1}[attribute]]
        return 0

    def cuStreamBeginCapture_v2(self, stream: ctypes.c_void_p, mode: int) -> int:
        assert mode in (0, 1, 2)
        return self._coded(lambda: self._machine.begin_capture(_int(stream)))

    def cuStreamEndCapture(self, stream: ctypes.c_void_p, graph: Any) -> int:
        def end() -> None:
            graph._obj.value = self._machine.end_capture(_int(stream))

        return self._coded(end)

    def cuGraphInstantiateWithFlags(self, ready: Any, graph: ctypes.c_void_p, flags: ctypes.c_ulonglong) -> int:
        def instantiate() -> None:
            ready._obj.value = self._machine.instantiate(_int(graph))

        return self._coded(instantiate)

    def cuGraphDestroy(self, graph: ctypes.c_void_p) -> int:
        del self._machine.graphs[_int(graph)]
        return 0

    def cuGraphLaunch(self, ready: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        return self._coded(lambda: self._machine.launch(_int(ready), _int(stream)))

    def cuGraphExecDestroy(self, ready: ctypes.c_void_p) -> int:
        return self._coded(lambda: self._machine.destroy_executable(_int(ready)))

    def _coded(self, call: Callable[[], None]) -> int:
        try:
            call()
        except CudaFailure as failure:
            return failure.code
        return 0


def _int(pointer: ctypes.c_void_p) -> int:
    return int(pointer.value or 0)
