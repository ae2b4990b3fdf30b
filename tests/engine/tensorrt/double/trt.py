"""TensorRT 11 on top of the pretended machine: what of it is called, with ONNX Runtime as the arithmetic."""

from __future__ import annotations

import enum
import hashlib
import json
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto

from tests.engine.tensorrt.double.machine import Machine, Memory, Op
from tests.engine.tensorrt.double.module import module

MAGIC = b"ftrt"
_LAYERS = 4
Shape = tuple[int, ...]


class DataType(enum.Enum):
    FLOAT = TensorProto.FLOAT
    HALF = TensorProto.FLOAT16
    INT8 = TensorProto.INT8
    INT32 = TensorProto.INT32
    INT64 = TensorProto.INT64
    BOOL = TensorProto.BOOL
    UINT8 = TensorProto.UINT8


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class BuilderFlag(enum.Enum):
    TF32 = 0


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None:
        self.ready = True

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None:
        self.ready = True


class Dims(tuple[int, ...]):
    """Not a tuple in TensorRT, but a sequence."""


class HostMemory(bytes):
    """Bytes that TensorRT owns."""


def nptype(trt_type: DataType) -> type[Any]:
    found: type[Any] = onnx.helper.tensor_dtype_to_np_dtype(trt_type.value).type
    return found


def arithmetic(network: onnx.ModelProto) -> str:
    """What a network computes in, by its own types."""
    if any(node.op_type == "QuantizeLinear" for node in network.graph.node):
        return "int8"
    halves = any(value.data_type == TensorProto.FLOAT16 for value in network.graph.initializer)
    return "f16" if halves else "f32"


def tensorrt(machine: Machine) -> ModuleType:
    """The package tensorrt."""

    def says(logger: ILogger, text: str) -> None:
        logger.log(ILogger.Severity.ERROR, text)

    class TimingCache:
        def __init__(self, known: set[str]) -> None:
            self.known = known

        def serialize(self) -> HostMemory:
            return HostMemory(json.dumps({"gpu": machine.name, "known": sorted(self.known)}).encode())

    class Input:
        def __init__(self, value: Any) -> None:
            self.name = value.name
            self.shape = Dims(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim)

    class Network:
        def __init__(self) -> None:
            self.model: onnx.ModelProto | None = None

        @property
        def num_inputs(self) -> int:
            assert self.model is not None
            return len(self.model.graph.input)

        def get_input(self, index: int) -> Input:
            assert self.model is not None
            return Input(self.model.graph.input[index])

    class Error:
        def __init__(self, text: str) -> None:
            self._text = text

        def desc(self) -> str:
            return self._text

    class OnnxParser:
        def __init__(self, network: Network, logger: ILogger) -> None:
            self._network = network
            self._errors: list[str] = []

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> Error:
            return Error(self._errors[index])

        def parse(self, model: bytes, path: str | None = None) -> bool:
            network = onnx.load_from_string(model)
            constants = {value.name: value for value in network.graph.initializer}
            for node in network.graph.node:
                if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                    zero = onnx.numpy_helper.to_array(constants[node.input[2]])
                    if zero.dtype != np.int8 or zero.any():
                        self._errors.append(f"{node.name or node.op_type}: quantisation is symmetric and int8 here")
                elif node.domain not in ("", "ai.onnx"):
                    self._errors.append(f"{node.op_type}: no such operator")
            try:
                options = ort.SessionOptions()
                options.log_severity_level = 4
                ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            except Exception as error:
                self._errors.append(str(error))
            self._network.model = network
            return not self._errors

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, tuple[Shape, Shape, Shape]] = {}

        def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
            self.shapes[input] = (tuple(min), tuple(opt), tuple(max))

    class Config:
        def __init__(self) -> None:
            self.builder_optimization_level = 3
            self.max_aux_streams = 4
            self.progress_monitor: Any = None
            self.flags = {BuilderFlag.TF32}
            self.profiles: list[Profile] = []
            self.pools: dict[MemoryPoolType, int] = {}
            self.timing: TimingCache | None = None

        def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
            self.pools[pool] = pool_size

        def clear_flag(self, flag: BuilderFlag) -> None:
            self.flags.discard(flag)

        def add_optimization_profile(self, profile: Profile) -> int:
            self.profiles.append(profile)
            return len(self.profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            cache = TimingCache(set())
            if serialized_timing_cache:
                try:
                    values = json.loads(serialized_timing_cache)
                except ValueError:
                    return None
                cache.known = set(values["known"])
                cache.gpu = values["gpu"]  # type: ignore[attr-defined]
            return cache

        def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
            if getattr(cache, "gpu", machine.name) != machine.name and not ignore_mismatch:
                return False
            self.timing = cache
            return True

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            machine.need_context("a builder was made")
            assert getattr(logger, "ready", False), "ILogger.__init__ was not called"
            self._logger = logger

        def create_network(self, flags: int = 0) -> Network:
            return Network()

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> HostMemory | None:
            machine.need_context("an engine was built")
            assert network.model is not None
            machine.builds += 1
            for value in network.model.graph.input:
                shape = Input(value).shape
                if -1 in shape and not all(value.name in profile.shapes for profile in config.profiles):
                    says(self._logger, f"{value.name}: dynamic, but in no profile")
                    return None
            monitor = config.progress_monitor
            assert monitor is None or monitor.ready, "IProgressMonitor.__init__ was not called"
            source = network.model.SerializeToString(deterministic=True)
            digest = hashlib.sha256(source).hexdigest()
            known = config.timing is not None and digest in config.timing.known
            if not self._work(monitor, 0 if known else _LAYERS):
                return None
            if config.timing is not None:
                config.timing.known.add(digest)
            header = {
                "tensorrt": machine.tensorrt,
                "gpu": machine.name,
                "profiles": [profile.shapes for profile in config.profiles],
                "aux": config.max_aux_streams,
                "tf32": BuilderFlag.TF32 in config.flags,
                "level": config.builder_optimization_level,
            }
            return HostMemory(sealed(header, source))

        def _work(self, monitor: Any, layers: int) -> bool:
            """Two phases, one with others inside, reported from a thread of the builder's own, as TensorRT may."""
            going = [True]

            def run() -> None:
                monitor.phase_start("Building", None, _LAYERS)
                for step in range(_LAYERS):
                    monitor.phase_start("Timing", "Building", 1)
                    machine.layers_timed += step < layers
                    going[0] = going[0] and monitor.step_complete("Timing", 0)
                    monitor.phase_finish("Timing")
                    going[0] = going[0] and monitor.step_complete("Building", step)
                    if not going[0]:
                        break
                monitor.phase_finish("Building")

            worker = threading.Thread(target=run)
            worker.start()
            worker.join()
            return going[0]

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            machine.need_context("a runtime was made")
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            machine.need_context("an engine was loaded")
            opened = unsealed(serialized_engine)
            if opened is None:
                raise machine.violation("a plan that is cut short or damaged was given to TensorRT")
            header, source = opened
            for name, here in (("tensorrt", machine.tensorrt), ("gpu", machine.name)):
                if header[name] != here:
                    raise machine.violation(f"a foreign plan was given to TensorRT: of {header[name]}, here is {here}")
            engine = CudaEngine(header, source)
            machine.loaded.append(engine)
            return engine

    class CudaEngine:
        def __init__(self, header: dict[str, Any], source: bytes) -> None:
            self.header = header
            network = onnx.load_from_string(source)
            self.arithmetic = arithmetic(network)
            options = ort.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = 1
            self.runner = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            self.values = {value.name: value for value in [*network.graph.input, *network.graph.output]}
            self.inputs = [value.name for value in network.graph.input]
            self.outputs = [value.name for value in network.graph.output]
            self.contexts = 0

        @property
        def num_io_tensors(self) -> int:
            return len(self.values)

        def get_tensor_name(self, index: int) -> str:
            return str(list(self.values)[index])

        def get_tensor_mode(self, name: str) -> TensorIOMode:
            return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

        def get_tensor_shape(self, name: str) -> Dims:
            return Input(self.values[name]).shape

        def get_tensor_dtype(self, name: str) -> DataType:
            return DataType(self.values[name].type.tensor_type.elem_type)

        def dtype(self, name: str) -> np.dtype[Any]:
            return np.dtype(nptype(self.get_tensor_dtype(name)))

        def create_execution_context(self) -> ExecutionContext:
            machine.need_context("an execution context was made")
            self.contexts += 1
            return ExecutionContext(self, None if self.contexts > 1 else 0)

    class ExecutionContext:
        def __init__(self, engine: CudaEngine, profile: int | None) -> None:
            self._engine = engine
            self._profile = profile
            self._shapes: dict[str, Shape] = {}
            self._addresses: dict[str, int] = {}
            self._computed: dict[tuple[tuple[str, Shape], ...], dict[str, Shape]] = {}
            self._ran: set[tuple[tuple[str, Shape], ...]] = set()
            self._inside = threading.Lock()

        def __del__(self) -> None:
            machine.need_context("an execution context was given up")

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            machine.stream(stream_handle, "a profile was chosen")
            if not 0 <= profile_index < len(self._engine.header["profiles"]):
                raise machine.violation(f"there is no profile {profile_index}")
            self._profile = profile_index
            self._shapes.clear()
            return True

        def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
            machine.need_context("a shape was set")
            if name not in self._engine.inputs:
                raise machine.violation(f"{name!r} is no input")
            if self._profile is None:
                raise machine.violation("an engine's second context was used without a profile: it has none by itself")
            least, _, most = self._engine.header["profiles"][self._profile][name]
            inside = len(shape) == len(least) and all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
            if not inside:
                raise machine.violation(f"{name} {tuple(shape)} is outside profile {self._profile}: {least} … {most}")
            self._shapes[name] = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> Dims:
            if name in self._shapes:
                return Dims(self._shapes[name])
            if set(self._shapes) != set(self._engine.inputs):
                return Dims(Input(self._engine.values[name]).shape)
            return Dims(self._output_shapes()[name])

        def _now(self) -> tuple[tuple[str, Shape], ...]:
            return tuple(sorted(self._shapes.items()))

        def _output_shapes(self) -> dict[str, Shape]:
            """Known by computing: TensorRT works them out."""
            if self._now() not in self._computed:
                zeros = {name: np.zeros(shape, self._engine.dtype(name)) for name, shape in self._shapes.items()}
                found = self._engine.runner.run(self._engine.outputs, zeros)
                self._computed[self._now()] = {n: a.shape for n, a in zip(self._engine.outputs, found, strict=True)}
            return self._computed[self._now()]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            machine.need_context("an address was set")
            if name not in self._engine.values:
                raise machine.violation(f"{name!r} is no tensor of the network")
            machine.memory_at(memory, f"the address of {name}", device=True)
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            if not self._inside.acquire(blocking=False):
                raise machine.violation("an execution context was used by two threads at once")
            try:
                self._execute(stream_handle)
            finally:
                self._inside.release()
            return True

        def _execute(self, handle: int) -> None:
            stream = machine.stream(handle, "a network was started")
            engine = self._engine
            if unset := [name for name in engine.values if name not in self._addresses]:
                raise machine.violation(f"a network was started without the address of {', '.join(unset)}")
            if unset := [name for name in engine.inputs if name not in self._shapes]:
                raise machine.violation(f"a network was started without the shape of {', '.join(unset)}")
            if stream.capture is not None and self._now() not in self._ran:
                raise machine.violation("a network was captured that had not run with these shapes before")
            shapes = self._shapes | self._output_shapes()
            memory = {n: machine.memory_at(a, f"the memory of {n}", device=True) for n, a in self._addresses.items()}
            sizes = {name: int(np.prod(shape)) * engine.dtype(name).itemsize for name, shape in shapes.items()}
            for name, size in sizes.items():
                if len(memory[name].data) < size:
                    raise machine.violation(f"{name} has {memory[name]} and needs {size} bytes: a wrong dtype or shape")

            def run() -> None:
                given = {name: self._taken(name, memory[name], sizes[name], shapes[name]) for name in engine.inputs}
                for name, array in zip(engine.outputs, engine.runner.run(engine.outputs, given), strict=True):
                    data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
                    memory[name].data[: len(data)] = data
                    memory[name].written, memory[name].rows = len(data), False

            op = Op(
                "network",
                run,
                tuple(memory[name] for name in engine.inputs),
                tuple(memory[name] for name in engine.outputs),
                self,
            )
            op.state = self._state()  # type: ignore[attr-defined]
            machine.enqueue(handle, op)
            self._ran.add(self._now())

        def _taken(self, name: str, memory: Memory, size: int, shape: Shape) -> NDArray[Any]:
            if memory.written != size:
                raise machine.violation(f"{name} wants {size} bytes, and {memory.written} were written: a wrong dtype?")
            return memory.data[:size].view(self._engine.dtype(name)).reshape(shape)

        def _state(self) -> Any:
            return self._now(), tuple(sorted(self._addresses.items()))

        def check_unchanged(self, op: Op) -> None:
            """A captured network runs with the shapes and addresses of its capture, and no others."""
            if op.state != self._state():  # type: ignore[attr-defined]
                raise machine.violation("a graph was launched after its execution context was given other shapes")

    return module(
        "tensorrt",
        __version__=machine.tensorrt,
        DataType=DataType,
        TensorIOMode=TensorIOMode,
        MemoryPoolType=MemoryPoolType,
        BuilderFlag=BuilderFlag,
        ILogger=ILogger,
        IProgressMonitor=IProgressMonitor,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        nptype=nptype,
    )


def sealed(header: dict[str, Any], source: bytes) -> bytes:
    """A plan: what it is, the network, and a seal that breaks with a single bit."""
    text = json.dumps(header).encode()
    body = MAGIC + len(text).to_bytes(4, "little") + text + source
    return body + hashlib.sha256(body).digest()


def unsealed(plan: bytes) -> tuple[dict[str, Any], bytes] | None:
    """What a plan holds; None where it is none, or not whole."""
    body, seal = plan[:-32], plan[-32:]
    if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != seal:
        return None
    size = int.from_bytes(body[4:8], "little")
    return json.loads(body[8 : 8 + size]), body[8 + size :]
