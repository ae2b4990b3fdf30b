"""Networks on OpenVINO: the CPU's default."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.devices import Backend, Device
from engine.errors import InputError, MissingError
from engine.modelfile import ModelFile
from engine.openvino_cache import OpenVINOCache, Shapes, Specs
from engine.quiet_openvino import core, ov
from engine.runtime import Buffer, HostBuffer, HostMemory, Precision, TensorSpec, Work, checked_shape


def has_bf16() -> bool:
    """Whether the CPU has bfloat16 arithmetic, which OpenVINO then uses for networks in f32."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVINOSession:
    """A network compiled for the CPU by OpenVINO. See `engine.runtime.Session`."""

    backend: Backend = "openvino"
    device: Device = "cpu"

    def __init__(self, model: ModelFile, precision: Precision = "auto", threads: int | None = None) -> None:
        # Bound to one CPU, a thread would wait there for decoder and encoder while another CPU has time.
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        if precision == "bf16" and not has_bf16():
            raise MissingError("precision bf16: this CPU has no bfloat16 arithmetic; use f32 or auto")
        if precision == "auto" and model.integer:
            properties["INFERENCE_PRECISION_HINT"] = "f32"  # what is left to floats is not worth turning round to bf16
        elif precision != "auto":
            properties["INFERENCE_PRECISION_HINT"] = precision
        self._properties = properties
        self.model = model
        self._cache = OpenVINOCache(model, properties, ov.__version__)
        self._network: Any = None
        """As the file has it; read when it has to be, which is not where all that is wanted of it is kept."""
        self._closed = False
        self.inputs, self.outputs = self._cache.specs() or self._read_specs()
        hint = core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string() if precision == "auto" else precision
        self.precision = "int8" if model.integer else _PRECISIONS.get(hint, hint)
        self.work = Work()
        self.exact_only = model.integer
        """Whether every shape is compiled for itself: with sizes left open, OpenVINO computes integer networks wrongly
        (scores of a detector off by half, where ONNX Runtime and fixed sizes agree)."""
        self._compiled: dict[Shapes | None, Any] = {}
        """By the shapes that each is for; None for any. Made when first wanted: a pipeline wants one alone."""
        self._lock = threading.Lock()

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        # With every size known, OpenVINO fuses and lays out more: a third less work for a small detector.
        self._ready(tuple(checked_shape(self.model, spec, shapes[spec.name]) for spec in self.inputs), keeping=True)

    def made_for(self, shapes: Shapes) -> Shapes | None:
        """Which of the compiled networks runs inputs of these shapes: one for them alone, or (None) for any."""
        return shapes if self.exact_only or shapes in self._compiled else None

    def infer_request(self, made_for: Shapes | None) -> Any:
        """OpenVINO's own request of the network compiled for these shapes, or for any."""
        return self._ready(made_for).create_infer_request()

    def _ready(self, shapes: Shapes | None, keeping: bool = False) -> Any:
        """The network made ready for these shapes, or for any; `keeping` leaves it on disk for the next process."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the session of {self.model.name} is closed")
            if shapes not in self._compiled:
                compiled = self._imported(shapes) if keeping and shapes else None
                if compiled is None:
                    compiled = self._compile(shapes)
                    if keeping and shapes:
                        self._cache.save(shapes, self.inputs, self.outputs, compiled.export_model().getvalue())
                self._compiled[shapes] = compiled
            return self._compiled[shapes]

    def _imported(self, shapes: Shapes) -> Any:
        """As an earlier process has compiled it; None if there is no such, or it was for another CPU."""
        blob = self._cache.load(shapes)
        try:
            return blob and core.import_model(blob, "CPU", self._properties)
        except RuntimeError:
            return None

    def _compile(self, shapes: Shapes | None) -> Any:
        named = {} if shapes is None else {s.name: list(n) for s, n in zip(self.inputs, shapes, strict=True)}
        try:
            network = self._read().clone()
            if named:
                network.reshape(named)
            return core.compile_model(network, "CPU", self._properties)
        except RuntimeError as error:
            at = f" at { {name: tuple(shape) for name, shape in named.items()} }" if named else ""
            raise InputError(
                f"{self.model.path}: OpenVINO cannot run this network{at}: {_first_line(error)}"
            ) from error

    def _read(self) -> Any:
        if self._network is None:
            self._network = core.read_model(self.model.path)
        return self._network

    def _read_specs(self) -> tuple[Specs, Specs]:
        try:
            network = self._read()
            return tuple(map(_spec, network.inputs)), tuple(map(_spec, network.outputs))
        except RuntimeError as error:
            raise InputError(f"{self.model.path}: OpenVINO cannot run this network: {_first_line(error)}") from error

    def request(self) -> OpenVINORequest:
        if self._closed:
            raise RuntimeError(f"the session of {self.model.name} is closed")
        self.work.add(requests=1)
        return OpenVINORequest(self)

    def close(self) -> None:
        self._closed = True
        self._network = None
        self._compiled.clear()


class OpenVINORequest:
    """One inference in flight. OpenVINO reads the input memory in place and lends its own output memory."""

    def __init__(self, session: OpenVINOSession) -> None:
        self._session = session
        self._requests: dict[Shapes | None, Any] = {}
        self._current: Any = None
        self._specs = {spec.name: spec for spec in session.inputs}
        self._memory = {spec.name: HostMemory(spec.dtype) for spec in session.inputs}
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}

    def input(self, name: str, shape: tuple[int, ...]) -> Buffer:
        array = self._memory[name].shaped(checked_shape(self._session.model, self._specs[name], shape))
        self._arrays[name] = array
        return HostBuffer(array)

    def start(self) -> None:
        arrays = [self._arrays[spec.name] for spec in self._session.inputs]
        self._current = self._for(tuple(array.shape for array in arrays))
        for spec, array in zip(self._session.inputs, arrays, strict=True):
            self._current.set_tensor(spec.name, ov.Tensor(array, shared_memory=True))
        self._session.work.add(inferences=1, items=arrays[0].shape[0])
        self._current.start_async()

    def wait(self) -> None:
        self._current.wait()

    def output(self, name: str) -> Buffer:
        return HostBuffer(self._current.get_tensor(name).data)

    def _for(self, shapes: Shapes) -> Any:
        key = self._session.made_for(shapes)
        if key not in self._requests:
            self._requests[key] = self._session.infer_request(key)
        return self._requests[key]


_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def _spec(port: Any) -> TensorSpec:
    shape = tuple(None if d.is_dynamic else int(d.get_length()) for d in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()), shape)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
