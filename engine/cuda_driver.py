"""The NVIDIA driver's own library, through ctypes: is there a GPU, which, streams that wait, graphs of what is on them.

What needs no package besides the driver stands here, so that a machine without a GPU says exactly what it lacks, and
so that it works whichever package holds the memory (see `engine.cuda_device`): pycuda has no graphs, and knows no
stream that it has not made.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from engine.errors import MissingError

LEAST_CUDA = 13
"""CUDA's major version that the TensorRT wheels of the extra `gpu` are made for."""
LEAST_DRIVER = "580"
"""The first driver that has it."""
LEAST_CAPABILITY = (7, 5)
"""What TensorRT 11 runs on: Turing (2018) and newer."""

_NO_DEVICE, _OUT_OF_MEMORY = 100, 2
_CURES = {
    _NO_DEVICE: "no GPU is visible; look with nvidia-smi, and at CUDA_VISIBLE_DEVICES; in a container use --gpus all",
    803: "the driver and its libraries are of different versions; restart the machine after an update of the driver",
    804: "this GPU cannot be used with a newer CUDA than its driver's; update the driver",
}
_MAJOR, _MINOR = 75, 76
_NO_TIMING = 2
_RELAXED = 2
"""Whoever allocates or frees meanwhile, on this thread or another, does not spoil the capture."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU and its driver."""

    name: str
    capability: tuple[int, int]
    """Its compute capability, such as (9, 0)."""
    cuda: int
    """Major version of the newest CUDA that the driver has."""


@cache
def library() -> Any:
    """The driver's library.

    Raises:
        MissingError: it is not here.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise MissingError(
            f"there is no NVIDIA driver here ({name} cannot be loaded); a GPU needs the driver {LEAST_DRIVER} or newer"
        ) from error


def probe() -> GpuInfo:
    """The first visible GPU (`CUDA_VISIBLE_DEVICES` says which), if networks can run on it.

    Raises:
        MissingError: they cannot, with the reason and the cure.

    Example:
        >>> probe()  # doctest: +SKIP
        GpuInfo(name='NVIDIA L4', capability=(8, 9), cuda=13)
    """
    driver = library()
    check(driver.cuInit(0), "cuInit")
    version, device, number = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    check(driver.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    check(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    name = ctypes.create_string_buffer(256)
    check(driver.cuDeviceGetName(name, 256, device), "cuDeviceGetName")
    capability = []
    for attribute in (_MAJOR, _MINOR):
        check(driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device), "cuDeviceGetAttribute")
        capability.append(number.value)
    info = GpuInfo(name.value.decode("utf-8", "replace"), (capability[0], capability[1]), version.value // 1000)
    if info.cuda < LEAST_CUDA:
        raise MissingError(
            f"the driver of the {info.name} has CUDA {version.value // 1000}.{version.value % 1000 // 10}, and "
            f"TensorRT wants {LEAST_CUDA}; update it to {LEAST_DRIVER} or newer"
        )
    if info.capability < LEAST_CAPABILITY:
        raise MissingError(
            f"the {info.name} has compute capability {info.capability[0]}.{info.capability[1]}, and TensorRT 11 wants "
            f"{LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]} (Turing) or newer"
        )
    return info


def check(code: int, call: str) -> None:
    """Turn a result of the driver into an exception.

    Raises:
        MissingError: there is no usable GPU, or no memory left on it.
        RuntimeError: any other failure.
    """
    if code == 0:
        return
    word = ctypes.c_char_p()
    library().cuGetErrorName(code, ctypes.byref(word))
    name = word.value.decode() if word.value else "an unknown error"
    if code == _OUT_OF_MEMORY:
        raise no_room()
    if code in _CURES or call == "cuInit":
        cure = _CURES.get(code, "look whether nvidia-smi works")
        raise MissingError(f"the GPU cannot be used ({call}: {code} {name}): {cure}")
    raise RuntimeError(f"{call} failed: {code} {name}")


def no_room(size: int | None = None) -> MissingError:
    """What to say where memory of the GPU runs out."""
    wanted = "" if size is None else f" for {-(-size // 2**20)} MiB more"
    return MissingError(
        f"the memory of the GPU has no room{wanted}; close other programs that use it, or choose a smaller --size"
    )


def follow(stream: int, other: int) -> None:
    """What is put on a stream from now on waits for what is on another one by now; returns at once.

    Wants the context current. Streams of ours do not wait for anybody by themselves, not even for the default one.

    Args:
        stream: handle of the one that waits.
        other: of the one that is waited for; 0 is the default stream, on which PyAV's decoders work.
    """
    if stream == other:
        return
    driver, event = library(), ctypes.c_void_p()
    check(driver.cuEventCreate(ctypes.byref(event), _NO_TIMING), "cuEventCreate")
    try:
        check(driver.cuEventRecord(event, ctypes.c_void_p(other)), "cuEventRecord")
        check(driver.cuStreamWaitEvent(ctypes.c_void_p(stream), event, 0), "cuStreamWaitEvent")
    finally:
        # What was put on the streams stays; the driver keeps the event until then.
        driver.cuEventDestroy_v2(event)


class CapturedGraph:
    """What was put on a stream once, to be put on it again in one call.

    Everything in it keeps its memory and its shapes; whoever frees one of them closes the graph first.

    Example:
        >>> graph = CapturedGraph(stream.handle, lambda: context.execute_async_v3(stream.handle))  # doctest: +SKIP
        >>> graph.launch(stream.handle)                                                            # doctest: +SKIP
    """

    def __init__(self, stream: int, enqueue: Callable[[], None]) -> None:
        """Capture what `enqueue` puts on the stream; nothing of it runs yet.

        Raises:
            RuntimeError: something in it cannot be captured.
        """
        driver = library()
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._ready: ctypes.c_void_p | None = None
        check(driver.cuStreamBeginCapture_v2(ctypes.c_void_p(stream), _RELAXED), "cuStreamBeginCapture")
        try:
            enqueue()
        except BaseException:
            # A stream that is left capturing refuses everything; what was captured is thrown away.
            if driver.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph)) == 0 and graph:
                driver.cuGraphDestroy(graph)
            raise
        check(driver.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph)), "cuStreamEndCapture")
        try:
            no_flags = ctypes.c_ulonglong(0)
            check(driver.cuGraphInstantiateWithFlags(ctypes.byref(ready), graph, no_flags), "cuGraphInstantiate")
        finally:
            driver.cuGraphDestroy(graph)
        self._ready = ready

    def launch(self, stream: int) -> None:
        """Put it on the stream."""
        if self._ready is None:
            raise RuntimeError("the graph is closed")
        check(library().cuGraphLaunch(self._ready, ctypes.c_void_p(stream)), "cuGraphLaunch")

    def close(self) -> None:
        """Give it up, once its last launch is done; a second call does nothing."""
        ready, self._ready = self._ready, None
        if ready is not None:
            check(library().cuGraphExecDestroy(ready), "cuGraphExecDestroy")
