"""Running a network: the protocol that every backend speaks, and the one door to all of them.

A `Session` is a network made ready on a device. A `Request` is one inference in flight, with its own memory: the
caller writes straight into the input buffers, starts, does something else, waits, and reads the output buffers where
the backend left them. On the CPU nothing is copied on the way in; a backend on another device owns pinned or device
memory behind the same `Buffer`, and code that produces pixels there writes to `Buffer.address`.

Example:
    >>> session = open_session(Path("net.onnx"), device="cpu")           # doctest: +SKIP
    >>> request = session.request()                                      # doctest: +SKIP
    >>> request.input("images", (1, 384, 640, 3)).host()[...] = picture  # doctest: +SKIP
    >>> request.start(); request.wait()                                  # doctest: +SKIP
    >>> request.output("head8").host().shape                             # doctest: +SKIP
    (1, 48, 80, 15)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.devices import Backend, Device, choose
from engine.errors import InputError, MissingError
from engine.lazy import importing
from engine.modelfile import ModelFile

Precision = Literal["auto", "f32", "f16", "bf16", "int8"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a network."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    """None where any size goes."""

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of that shape fits."""
        return len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )


class Buffer(Protocol):
    """Memory that belongs to a request."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def device(self) -> str:
        """Whose memory `address` points into: `cpu` or a GPU's name."""
        ...

    @property
    def address(self) -> int:
        """Where the first byte lies, C-contiguous from there."""
        ...

    def host(self) -> NDArray[Any]:
        """An array over the memory itself on the CPU; on another device, its pinned host twin.

        Valid until the request is started (input) or its next `input` or `start` (output).
        """
        ...


@dataclass(frozen=True, slots=True)
class HostBuffer:
    """Memory of the CPU."""

    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def address(self) -> int:
        return self.array.ctypes.data

    def host(self) -> NDArray[Any]:
        return self.array


class HostMemory:
    """Input memory that grows to the largest shape seen and is reused for every smaller one."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._bytes = np.empty(0, np.uint8)

    def shaped(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """A C-contiguous array of that shape over the memory; the contents are what was left there."""
        size = int(np.prod(shape)) * self._dtype.itemsize
        if size > len(self._bytes):
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size].view(self._dtype).reshape(shape)


@dataclass(slots=True)
class Work:
    """What a session has done so far; tests count it, `bench` prints it."""

    requests: int = 0
    """Requests made: each has memory of its own."""
    inferences: int = 0
    items: int = 0
    """Rows of the first input over all inferences: pictures or faces."""
    copies: int = 0
    """Tensors that the backend had to copy to or from host memory."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, requests: int = 0, inferences: int = 0, items: int = 0, copies: int = 0) -> None:
        """Count, from any thread."""
        with self._lock:
            self.requests += requests
            self.inferences += inferences
            self.items += items
            self.copies += copies


class Request(Protocol):
    """One inference in flight. For one thread at a time; a session makes as many as are wanted."""

    def input(self, name: str, shape: tuple[int, ...]) -> Buffer:
        """The memory to write an input of that shape into, before every `start`.

        Raises:
            InputError: the network does not take that shape.
        """
        ...

    def start(self) -> None:
        """Begin; returns at once. The inputs must stay as they are until `wait`."""
        ...

    def wait(self) -> None:
        """Return when the outputs are there. A failure of the inference is raised here."""
        ...

    def output(self, name: str) -> Buffer:
        """An output of the last inference, after `wait`."""
        ...


class Session(Protocol):
    """A network made ready on one device. May be used from several threads, each with its own requests."""

    @property
    def model(self) -> ModelFile: ...
    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def backend(self) -> Backend: ...
    @property
    def device(self) -> Device: ...
    @property
    def precision(self) -> str:
        """The arithmetic that is really used: `f32`, `bf16` …"""
        ...

    @property
    def work(self) -> Work: ...
    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make ready for inputs of exactly these shapes, which runs faster where many will follow.

        Results may differ from those of an unprepared session in the last digits, as between any two backends. Takes
        up to a second; a second call with the same shapes does nothing.

        Raises:
            InputError: the network does not take these shapes.
        """
        ...

    def request(self) -> Request: ...
    def close(self) -> None:
        """Give the memory back. Requests of the session must not be used after this."""
        ...


class RequestPool:
    """Requests of one session, reused: as many exist as were ever in flight together."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._free: list[Request] = []
        self._lock = threading.Lock()

    def take(self) -> Request:
        """A request that nobody else uses."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return self._session.request()

    def give(self, request: Request) -> None:
        """Hand a request back, once its outputs have been read."""
        with self._lock:
            self._free.append(request)


def open_session(
    model: Path | str | ModelFile,
    device: Device = "auto",
    backend: Backend | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
    size: int = 640,
) -> Session:
    """Make a network ready to run.

    Args:
        model: an ONNX file.
        device: `auto` takes what `engine.devices.choose` says; `cpu` and `gpu` are taken or refused.
        backend: None takes the device's default; a named one is taken or refused.
        precision: `auto` leaves it to the file and the backend, and `Session.precision` tells; the others are taken or
            refused. `int8` is a matter of the file: see `ModelFile.integer`.
        threads: of the CPU; None takes all that this process may use.
        size: pixels of the longer side of the pictures that a detector will get, which a GPU's engine is built for.

    Raises:
        MissingError: the device, backend or precision is not to be had here.
        InputError: the file is not a network that the backend can run.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    choice = choose(device, backend)
    file = model if isinstance(model, ModelFile) else ModelFile.read(model)
    if choice.backend == "tensorrt":
        from engine.tensorrt_engines import open_engine

        return open_engine(file, precision, size)
    if precision == "f16":
        raise MissingError("precision f16: CPUs compute in f32, bf16 or int8 here; use --precision auto")
    if precision == "int8":
        if not file.integer:
            raise MissingError(
                f"{file.path}: precision int8: this network is in f32; `iznet train quantize-detector` makes an INT8 "
                "copy of a detector; or use --precision auto"
            )
        precision = "auto"
    if choice.backend == "openvino":
        with importing():
            from engine.openvino_session import OpenVINOSession

        return OpenVINOSession(file, precision, threads)
    from engine.onnx_session import OnnxSession

    return OnnxSession(file, precision, threads)


def checked_shape(file: ModelFile, spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape`, if the input takes it.

    Raises:
        InputError: it does not.
    """
    if not spec.accepts(shape):
        wanted = "×".join("any" if n is None else str(n) for n in spec.shape)
        raise InputError(
            f"{file.path}: its input {spec.name!r} takes {wanted}, not {'×'.join(map(str, shape))}; "
            "export the network with dynamic sizes"
        )
    return shape
