"""What can run here, and what `auto` takes."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Literal, get_args

from engine.errors import MissingError, UsageError
from engine.wording import install

Device = Literal["auto", "cpu", "gpu"]
Backend = Literal["openvino", "onnxruntime", "tensorrt"]

_CPU_BACKENDS: tuple[Backend, ...] = ("openvino", "onnxruntime")
_MODULES: dict[Backend, str] = {"openvino": "openvino", "onnxruntime": "onnxruntime", "tensorrt": "tensorrt"}
_CURES: dict[Backend, str] = {
    "openvino": "pip install openvino, or use --backend onnxruntime",
    "onnxruntime": "pip install onnxruntime, or use --backend openvino",
    "tensorrt": install("gpu-wheels"),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a network."""

    device: Device
    backend: Backend
    available: bool
    reason: str
    """Its version where it can be used, else why it cannot."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken, and why."""

    device: Device
    backend: Backend
    reason: str


def options() -> list[Option]:
    """Every way to run a network that this version knows, the preferred one of each device first. Loads no backend."""
    found = []
    for backend in _CPU_BACKENDS:
        there = _installed(backend)
        found.append(Option("cpu", backend, there, _version(backend) if there else f"not installed: {_CURES[backend]}"))
    try:
        return [*found, Option("gpu", "tensorrt", True, f"{_version('tensorrt')} on {gpu()}")]
    except MissingError as error:
        return [*found, Option("gpu", "tensorrt", False, str(error))]


def gpu() -> str:
    """The GPU that networks can run on, what serves it, and whether pictures can be there as well, in words. Asks the
    driver and loads no backend.

    Raises:
        MissingError: there is none, or something is missing, with the reason and the cure.
    """
    from engine import cuda_device, cuda_driver, tensorrt_library
    from engine.cuda import loading

    info = cuda_driver.probe()
    if not _installed("tensorrt"):
        raise MissingError(f"the {info.name} waits for TensorRT, which is not installed; {_CURES['tensorrt']}")
    version = _version("tensorrt")
    if version[0].isdigit():
        tensorrt_library.check_version(version)
    found = f"{info.name} (compute capability {'.'.join(map(str, info.capability))}) through {cuda_device.package()}"
    try:
        loading.fatbin()
    except MissingError:
        return f"{found}, without the CUDA kernels: pictures are the CPU's (docs/gpu.md says how to get them)"
    return found


def choose(device: Device = "auto", backend: Backend | None = None) -> Choice:
    """Where a network will run.

    `auto` takes a GPU where everything that it needs is here, else the CPU; without a named backend the CPU takes
    OpenVINO where it is installed, else ONNX Runtime. What is named is taken or refused, never replaced.

    Raises:
        UsageError: no such device or backend, or a backend that does not run on the device.
        MissingError: it is not here; the message says what to do.
    """
    if device not in get_args(Device):
        raise UsageError(f"{device!r} is no device; choose one of {', '.join(get_args(Device))}")
    if backend is not None and backend not in get_args(Backend):
        raise UsageError(f"{backend!r} is no backend; choose one of {', '.join(get_args(Backend))}")
    if device == "gpu" and backend in _CPU_BACKENDS:
        raise UsageError(f"--backend {backend} runs on the CPU here; use --device cpu with it")
    if device == "cpu" and backend == "tensorrt":
        raise UsageError("--backend tensorrt runs on a GPU; use --device gpu with it, or --backend openvino on the CPU")
    if device == "gpu" or backend == "tensorrt":
        asked = "--device gpu" if device == "gpu" else "--backend tensorrt"
        try:
            return Choice("gpu", "tensorrt", f"{asked.split()[1]} was asked for; {gpu()}")
        except MissingError as error:
            cures = ["use --device cpu"] * (device == "gpu") + ["leave --backend out"] * (backend is not None)
            raise MissingError(f"{asked}: {error}; or {' and '.join(cures)}") from error
    if backend is not None:
        if not _installed(backend):
            raise MissingError(f"--backend {backend}: not installed; {_CURES[backend]}")
        return Choice("cpu", backend, f"{backend} was asked for")
    where = "the CPU was asked for"
    if device == "auto":
        try:
            return Choice("gpu", "tensorrt", gpu())
        except MissingError as error:
            where = f"no GPU: {error}"
    for candidate in _CPU_BACKENDS:
        if _installed(candidate):
            missing = _CPU_BACKENDS[: _CPU_BACKENDS.index(candidate)]
            why = f"{', '.join(missing)} is not installed" if missing else f"{candidate} is the CPU's default"
            return Choice("cpu", candidate, f"{where}; {why}")
    raise MissingError("no CPU backend is installed; pip install openvino")


def available_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_beside_video() -> int:
    """Threads for a network that runs while a video is decoded and encoded: half of the CPUs.

    With a thread on every CPU each inference waits for the slowest of them: measured on two cores under libx264, two
    threads take 1 to 3 % more CPU time in all than one and finish no sooner.
    """
    return max(1, available_cpus() // 2)


def _installed(backend: Backend) -> bool:
    return importlib.util.find_spec(_MODULES[backend]) is not None


def _version(backend: Backend) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(_MODULES[backend])
    except PackageNotFoundError:  # a build of another name, such as onnxruntime-gpu, which offers the same module
        return "installed"
