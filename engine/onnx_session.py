"""Networks on ONNX Runtime: the CPU's second backend, and the reference that the others are held against."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from engine.devices import Backend, Device
from engine.errors import InputError, MissingError
from engine.modelfile import ModelFile
from engine.runtime import Buffer, HostBuffer, HostMemory, Precision, TensorSpec, Work, checked_shape

try:
    import onnxruntime as ort
except ImportError as error:  # installed, but a library that it needs is not
    raise MissingError(f"onnxruntime cannot be loaded ({error}); use --backend openvino") from error

_PROVIDER = "CPUExecutionProvider"
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxSession:
    """A network on ONNX Runtime's CPU provider. See `engine.runtime.Session`."""

    backend: Backend = "onnxruntime"
    device: Device = "cpu"

    def __init__(self, model: ModelFile, precision: Precision = "auto", threads: int | None = None) -> None:
        if precision not in ("auto", "f32"):
            raise MissingError(f"precision {precision}: ONNX Runtime computes in f32 on the CPU; use f32 or auto")
        options = ort.SessionOptions()
        options.log_severity_level = 3  # warnings about a network's details help nobody on the command line
        # Workers that spin while they wait take the CPU from the decoder and the encoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(str(model.path), options, providers=[_PROVIDER])
        except Exception as error:  # the binding's exceptions have no public base class but this
            raise InputError(f"{model.path}: ONNX Runtime cannot run this network: {error}") from error
        if self._session.get_providers() != [_PROVIDER]:
            raise MissingError(f"onnxruntime took {self._session.get_providers()} instead of {_PROVIDER}")
        self.model = model
        self.precision = "int8" if model.integer else "f32"
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
        self.work = Work()
        # ONNX Runtime has no asynchronous call that takes bound memory; one thread gives `start` its meaning.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"onnx-{model.name}")

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        # ONNX Runtime has nothing to gain from it; what does not fit is refused all the same.
        for spec in self.inputs:
            checked_shape(self.model, spec, shapes[spec.name])

    def request(self) -> OnnxRequest:
        if self._session is None:
            raise RuntimeError(f"the session of {self.model.name} is closed")
        self.work.add(requests=1)
        return OnnxRequest(self, self._session, self._worker)

    def close(self) -> None:
        self._worker.shutdown()
        self._session = None


class OnnxRequest:
    """One inference in flight. Inputs are read in place, outputs lie where ONNX Runtime put them."""

    def __init__(self, session: OnnxSession, runner: Any, worker: ThreadPoolExecutor) -> None:
        self._session = session
        self._runner = runner
        self._worker = worker
        self._binding = runner.io_binding()
        self._specs = {spec.name: spec for spec in session.inputs}
        self._memory = {spec.name: HostMemory(spec.dtype) for spec in session.inputs}
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._running: Future[None] | None = None
        self._outputs: dict[str, Any] = {}

    def input(self, name: str, shape: tuple[int, ...]) -> Buffer:
        array = self._memory[name].shaped(checked_shape(self._session.model, self._specs[name], shape))
        self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._arrays[name] = array
        return HostBuffer(array)

    def start(self) -> None:
        self._session.work.add(inferences=1, items=self._arrays[self._session.inputs[0].name].shape[0])
        for spec in self._session.outputs:
            self._binding.bind_output(spec.name, "cpu")
        self._running = self._worker.submit(self._runner.run_with_iobinding, self._binding)

    def wait(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None
            names = (spec.name for spec in self._session.outputs)
            self._outputs = dict(zip(names, self._binding.get_outputs(), strict=True))

    def output(self, name: str) -> Buffer:
        value = self._outputs[name]
        array = value.numpy()
        if array.ctypes.data != value.data_ptr():  # older releases copy
            self._session.work.add(copies=1)
        return HostBuffer(array)


def _spec(value: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) else None for n in value.shape)
    return TensorSpec(value.name, np.dtype(_DTYPES.get(value.type, np.float32)), shape)
