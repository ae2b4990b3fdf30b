"""Where the compiled kernels are, and the small interface through which they are run."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from engine import cuda_driver
from engine.errors import MissingError
from engine.wording import install

Size = tuple[int, int, int]
FATBIN = "iznet.fatbin"
_UNFIT = {
    200: "the file is damaged",
    209: "no code for this GPU is among them",
    222: "the driver is older than they are",
}


class Function(Protocol):
    """A kernel that is ready to run. Every kernel takes one struct, by value."""

    def launch(self, grid: Size, block: Size, parameters: bytes, stream: int) -> None:
        """Queue it on the stream of that handle; returns at once.

        Args:
            grid: blocks along x, y and z.
            block: threads of a block, likewise.
            parameters: the struct.
            stream: 0 is the default stream.
        """
        ...


class Module(Protocol):
    """The kernels, loaded into the context that was current then."""

    def function(self, name: str, size: int) -> Function:
        """The kernel of that name, whose struct has `size` bytes."""
        ...


def fatbin(folders: Iterable[str] | None = None) -> Path:
    """The compiled kernels of this installation.

    Args:
        folders: to look in; None takes the package's own. An editable installation has two: sources and build.

    Raises:
        MissingError: it was built without nvcc.
    """
    from engine import cuda

    for folder in cuda.__path__ if folders is None else folders:
        if (file := Path(folder) / FATBIN).is_file():
            return file
    raise MissingError(
        "this installation has no CUDA kernels, as there was no working nvcc when it was built; install a CUDA toolkit "
        f"(12.8 or newer) with a C++ compiler, then run: {install()}"
    )


class DriverModule:
    """The kernels through NVIDIA's driver, whichever package holds the memory (see `engine.cuda_device`).

    Example:
        >>> with device.current():                                  # doctest: +SKIP
        ...     kernels = Kernels(DriverModule(fatbin().read_bytes()))
    """

    def __init__(self, image: bytes) -> None:
        """Load a fatbin into the current context.

        Raises:
            MissingError: there is no driver, or the kernels cannot run on this GPU.
        """
        driver = cuda_driver.library()
        self._module: ctypes.c_void_p | None = ctypes.c_void_p()
        code = driver.cuModuleLoadData(ctypes.byref(self._module), image)
        if code in _UNFIT:
            raise MissingError(
                f"the CUDA kernels cannot run here: {_UNFIT[code]}; they need a GPU of compute capability 7.5 or newer "
                "and a driver as new as the CUDA toolkit that built them; update the driver, or use --device cpu"
            )
        cuda_driver.check(code, "cuModuleLoadData")

    def function(self, name: str, size: int) -> Function:
        """The kernel of that name, whose struct has `size` bytes."""
        function = ctypes.c_void_p()
        code = cuda_driver.library().cuModuleGetFunction(ctypes.byref(function), self._module, name.encode())
        cuda_driver.check(code, f"cuModuleGetFunction of {name}")
        return _DriverFunction(function, size)

    def close(self) -> None:
        """Unload them, with the context current and no launch left; a second call does nothing."""
        module, self._module = self._module, None
        if module is not None:
            cuda_driver.check(cuda_driver.library().cuModuleUnload(module), "cuModuleUnload")


class _DriverFunction:
    def __init__(self, function: ctypes.c_void_p, size: int) -> None:
        self._function = function
        self._size = size

    def launch(self, grid: Size, block: Size, parameters: bytes, stream: int) -> None:
        if len(parameters) != self._size:
            raise ValueError(f"the kernel takes {self._size} bytes, got {len(parameters)}")
        # The driver copies the struct before it returns.
        struct = ctypes.create_string_buffer(parameters, self._size)
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(struct))
        code = cuda_driver.library().cuLaunchKernel(
            self._function, *grid, *block, 0, ctypes.c_void_p(stream), pointers, None
        )
        cuda_driver.check(code, "cuLaunchKernel")
