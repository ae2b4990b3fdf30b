"""Networks on OpenVINO: the CPU's default."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from engine.devices import Backend, Device
from engine.errors import InputError, MissingError
from engine.modelfile import ModelFile
from engine.runtime import Buffer, HostBuffer, HostMemory, Precision, TensorSpec, Work, checked_shape

try:
    import openvino as ov
except ImportError as error:  # installed, but a library that it needs is not
    raise MissingError(f"openvino cannot be loaded ({error}); use --backend onnxruntime") from error


@cache
def _core() -> Any:
    """One for the process: it holds the loaded plugins."""
    return ov.Core()


class OpenVINOSession:
    """A network compiled for the CPU by OpenVINO. See `engine.runtime.Session`."""

    backend: Backend = "openvino"
    device: Device = "cpu"

    def __init__(self, model: ModelFile, precision: Precision = "auto", threads: int | None = None) -> None:
        core = _core()
        properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise MissingError("precision bf16: this CPU has no bfloat16 arithmetic; use f32 or auto")
        if precision != "auto":
            properties["INFERENCE_PRECISION_HINT"] = precision
        try:
            self._compiled = core.compile_model(core.read_model(model.path), "CPU", properties)
        except RuntimeError as error:
            raise InputError(f"{model.path}: OpenVINO cannot run this network: {_first_line(error)}") from error
        self.model = model
        self.inputs = tuple(_spec(port) for port in self._compiled.inputs)
        self.outputs = tuple(_spec(port) for port in self._compiled.outputs)
        self.precision = _PRECISIONS.get(
            hint := str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()), hint
        )
        self.work = Work()

    def request(self) -> OpenVINORequest:
        if self._compiled is None:
            raise RuntimeError(f"the session of {self.model.name} is closed")
        self.work.add(requests=1)
        return OpenVINORequest(self, self._compiled.create_infer_request())

    def close(self) -> None:
        self._compiled = None


class OpenVINORequest:
    """One inference in flight. OpenVINO reads the input memory in place and lends its own output memory."""

    def __init__(self, session: OpenVINOSession, request: Any) -> None:
        self._session = session
        self._request = request
        self._specs = {spec.name: spec for spec in session.inputs}
        self._memory = {spec.name: HostMemory(spec.dtype) for spec in session.inputs}
        self._tensors: dict[str, Any] = {}

    def input(self, name: str, shape: tuple[int, ...]) -> Buffer:
        array = self._memory[name].shaped(checked_shape(self._session.model, self._specs[name], shape))
        held = self._tensors.get(name)
        if held is None or held[0].ctypes.data != array.ctypes.data or held[0].shape != array.shape:
            tensor = ov.Tensor(array, shared_memory=True)
            self._request.set_tensor(name, tensor)
            self._tensors[name] = (array, tensor)
        return HostBuffer(array)

    def start(self) -> None:
        first = self._session.inputs[0].name
        self._session.work.add(inferences=1, items=self._tensors[first][0].shape[0])
        self._request.start_async()

    def wait(self) -> None:
        self._request.wait()

    def output(self, name: str) -> Buffer:
        return HostBuffer(self._request.get_tensor(name).data)


_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def _spec(port: Any) -> TensorSpec:
    shape = tuple(None if d.is_dynamic else int(d.get_length()) for d in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()), shape)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
