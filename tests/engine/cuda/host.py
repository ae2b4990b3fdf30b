"""Building and calling the host library, and pictures for it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engine.cuda.loading import Function, Size
from engine.cuda.pictures import Picture, Plane
from stream.colours import rgb_matrix
from stream.planes import PixelLayout, is_full_range, matrix_of

ROOT = Path(__file__).resolve().parents[3]
MATRICES = {"bt709": 1, "bt601": 5, "bt2020": 9}
_NAMES = {"linux": "libiznet_cuda_host.so", "darwin": "libiznet_cuda_host.so"}


def cmake() -> str | None:
    """The one of this environment, else the system's."""
    own = Path(sys.executable).with_name("cmake")
    return str(own) if own.is_file() else shutil.which("cmake")


def missing_tools() -> str:
    """Why the host library cannot be built here, or nothing."""
    if sys.platform not in _NAMES:
        return f"the host library of the CUDA kernels is for POSIX, not {sys.platform}"
    if cmake() is None:
        return "no cmake here, which builds the host library of the CUDA kernels"
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        return "no C++ compiler here, which the host library of the CUDA kernels needs"
    return ""


def build(name: str, *options: str) -> Path:
    """Build the host library in a folder of its own under build/, once at a time and only what has changed."""
    import fcntl

    folder = ROOT / "build" / f"cuda-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        configure = [str(cmake()), "-S", str(ROOT), "-B", str(folder), "-DIZNET_CUDA=OFF", *options]
        for command in (configure, [str(cmake()), "--build", str(folder)]):
            done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / _NAMES[sys.platform]


class HostModule:
    """The host library behind the interface of `engine.cuda.loading.Module`."""

    def __init__(self, library: Path, *, descending: bool = False) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.iznet_launch.restype = ctypes.c_char_p
        self.library.iznet_kernel.restype = ctypes.c_char_p
        self.library.iznet_layout.restype = ctypes.c_long
        self.library.iznet_half_bits.argtypes = [ctypes.c_float]
        self.library.iznet_half_bits.restype = ctypes.c_uint16
        self.descending = descending
        self.launches: list[str] = []

    def function(self, name: str, size: int) -> Function:
        return _HostFunction(self, name)


@dataclass
class _HostFunction:
    module: HostModule
    name: str

    def launch(self, grid: Size, block: Size, parameters: bytes, stream: int) -> None:
        three = ctypes.c_uint * 3
        # On the heap, so that a sanitizer sees what is read beyond the struct.
        struct = ctypes.create_string_buffer(parameters, len(parameters))
        error = self.module.library.iznet_launch(
            self.name.encode(),
            struct,
            ctypes.c_size_t(len(parameters)),
            three(*grid),
            three(*block),
            int(self.module.descending),
        )
        if error is not None:
            raise RuntimeError(f"{self.name}: {error.decode()}")
        self.module.launches.append(self.name)


def frame(
    pixel_format: str, width: int, height: int, matrix: str = "bt709", full_range: bool = False, seed: int | None = 0
) -> av.VideoFrame:
    """A frame of that format: noise, or with `seed=None` slow waves, which survive any scaling."""
    made = av.VideoFrame(width, height, pixel_format)
    made.colorspace, made.color_range = MATRICES[matrix], 2 if full_range else 1
    layout = PixelLayout.of(pixel_format)
    rng = np.random.default_rng(seed)
    for k, (view, component) in enumerate(zip(layout.views(made), layout.components, strict=True)):
        if seed is None:
            y, x = np.mgrid[: view.shape[0], : view.shape[1]].astype(np.float64)
            x, y = (x + 0.5) * 2**component.shift_x, (y + 0.5) * 2**component.shift_y
            wave = 0.5 + 0.3 * np.sin(x / (31 + 5 * k) + k) * np.cos(y / (37 - 4 * k))
        else:
            wave = rng.random(view.shape)
        low, high = (0, 255) if full_range else (16, 235) if k == 0 else (16, 240)
        samples = np.rint((low + (high - low) * wave) * 2 ** (layout.bits - 8)).astype(view.dtype)
        view[...] = samples << layout.shift
    return made


def picture_of(made: av.VideoFrame) -> Picture:
    """What the kernels are told about a frame: where the host has its samples. The frame has to outlive it."""
    layout = PixelLayout.of(made.format.name)
    matrix = rgb_matrix(layout.name, matrix_of(made), is_full_range(made))
    planes = [
        plane_of(view, component.shift_x, component.shift_y)
        for view, component in zip(layout.views(made), layout.components, strict=True)
    ]
    if layout.colour == "gray":
        planes *= 3
    return Picture(made.width, made.height, (planes[0], planes[1], planes[2]), matrix, 1 if layout.bits == 8 else 2)


def plane_of(view: NDArray[Any], shift_x: int = 0, shift_y: int = 0) -> Plane:
    height, width = view.shape
    return Plane(view.ctypes.data, view.strides[0], width, height, view.strides[1] // view.itemsize, shift_x, shift_y)


def address(array: NDArray[Any]) -> int:
    """Where an array starts; the kernels want it dense."""
    assert array.flags.c_contiguous
    return array.ctypes.data


def nvcc() -> str | None:
    """The CUDA compiler, where CMakeLists.txt looks for it."""
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
