"""The GPU as networks see it: one context, streams, memory on both sides and copies between them.

Two packages serve it: pycuda, which has to be compiled against a CUDA toolkit, and NVIDIA's cuda-bindings (what
cuda-core is made of), whose wheels want a driver alone. Both use the device's primary context, which TensorRT's own
calls and PyAV's decoders share. It is retained once a process and is current only between `current()`'s two ends:
a context that stays pushed on a thread, or is made anew for every network, is how such programs crash.

Every call on a stream or on memory wants the context current on the calling thread.
"""

from __future__ import annotations

import importlib.util
import threading
import weakref
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from engine import cuda_driver
from engine.cuda_driver import GpuInfo
from engine.errors import MissingError
from engine.wording import install


class Stream(Protocol):
    """A queue of work that the GPU does in order. Independent of the default stream."""

    @property
    def handle(self) -> int:
        """What CUDA and TensorRT know it by."""
        ...

    def synchronize(self) -> None:
        """Return when everything on it is done. A failure of the work is raised here."""
        ...

    def close(self) -> None:
        """Give it up; nothing may be on it. A second call does nothing."""
        ...


class DeviceMemory(Protocol):
    """Bytes on the GPU."""

    @property
    def address(self) -> int: ...
    def free(self) -> None:
        """Give them back; no work that uses them may be left. A second call does nothing."""
        ...


class PinnedMemory(Protocol):
    """Bytes of the host that the GPU reads and writes by itself, while the CPU does something else."""

    @property
    def array(self) -> NDArray[Any]:
        """uint8 `[N]` over the memory itself; not to be used after `free`."""
        ...

    def free(self) -> None: ...


class Traffic:
    """What was copied between the host and a GPU so far, bytes; counted where the copy is asked for, from any thread.

    Example:
        >>> traffic = Traffic()
        >>> traffic.add(down=60)
        >>> traffic.up, traffic.down
        (0, 60)
    """

    def __init__(self) -> None:
        self.up = 0
        """To the GPU."""
        self.down = 0
        """From the GPU."""
        self._lock = threading.Lock()

    def add(self, *, up: int = 0, down: int = 0) -> None:
        """Count."""
        with self._lock:
            self.up += up
            self.down += down


class CudaDevice(Protocol):
    """One GPU, for every thread of the process."""

    @property
    def info(self) -> GpuInfo: ...
    @property
    def traffic(self) -> Traffic:
        """Of `copy_in` and `copy_out`."""
        ...

    @property
    def package(self) -> str:
        """The Python package that serves it, and its version."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the context current on the calling thread; at the end what was current before is so again."""
        ...

    def stream(self) -> Stream: ...
    def allocate(self, size: int) -> DeviceMemory:
        """So many bytes on the GPU.

        Raises:
            MissingError: there is no room.
        """
        ...

    def pinned(self, size: int) -> PinnedMemory:
        """So many bytes of the host, locked in place."""
        ...

    def copy_in(self, address: int, source: NDArray[Any], stream: Stream) -> None:
        """Put a copy from pinned memory (C-contiguous) to the GPU on the stream; both stay as they are until done."""
        ...

    def copy_out(self, target: NDArray[Any], address: int, stream: Stream) -> None:
        """Put a copy from the GPU to pinned memory (C-contiguous) on the stream; unreadable until it is done."""
        ...

    def release(self) -> None:
        """Let go of the context: the process' last word to the GPU."""
        ...


PACKAGES = {"pycuda": "pycuda", "cuda-bindings": "cuda.bindings"}
"""What can serve the GPU and its module, the preferred one first."""
_lock = threading.Lock()
_opened: CudaDevice | None = None
_release: weakref.finalize[[], _End] | None = None


def package() -> str:
    """The package that will serve the GPU. Loads none.

    Raises:
        MissingError: none is installed.
    """
    for name, module in PACKAGES.items():
        if _installed(module):
            return name
    raise MissingError(
        f"neither pycuda nor cuda-bindings is installed; {install('gpu-wheels')}, or with [gpu] where there is a CUDA "
        "toolkit"
    )


def open_device() -> CudaDevice:
    """The process' GPU; the first call retains its primary context, and the process' end lets go of it.

    Raises:
        MissingError: there is none that networks can run on, with the reason and the cure.
    """
    global _opened, _release
    with _lock:
        if _opened is None:
            info = cuda_driver.probe()
            device: CudaDevice
            if package() == "pycuda":
                from engine.cuda_device_pycuda import PycudaDevice

                device = PycudaDevice(info)
            else:
                from engine.cuda_device_bindings import BindingsDevice

                device = BindingsDevice(info)
            # Finalizers run in the reverse order of their making: those of sessions, made later, come before this.
            _release = weakref.finalize(_end, device.release)
            _opened = device
        return _opened


def close_device() -> None:
    """Let go of the GPU before the process ends; every session on it has to be closed. It may be opened again."""
    global _opened, _release
    with _lock:
        if _release is not None:
            _release()
        _opened = _release = None


class _End:
    """Lives as long as the process."""


_end = _End()


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a module in a package that is not there
        return False
