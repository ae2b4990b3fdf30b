"""Networks on TensorRT: the GPU's backend.

Every request is a worker of its own: a stream, an execution context for each kind of shape, and memory on both sides
that is used again and again. What one request copies goes on while another's network computes, so two in flight keep
the GPU busy. Where exact shapes were announced (`prepare`), the network is captured once as a graph and launched in one
call from then on.

What comes before and after a network may stay on the GPU: `start` takes what puts it on the request's stream, and then
copies nothing itself (see `engine.device_vision`).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.cuda_device import CudaDevice
from engine.cuda_driver import CapturedGraph
from engine.cuda_memory import GpuBuffer, TwinMemory
from engine.devices import Backend, Device
from engine.engine_cache import Engine
from engine.errors import InputError
from engine.modelfile import ModelFile
from engine.runtime import Buffer, TensorSpec, Work, checked_shape
from engine.tensorrt_library import complaint, logger
from engine.tensorrt_profile import covering

if TYPE_CHECKING:
    import tensorrt

_Shape = tuple[int, ...]
Before = Callable[[], None]
"""Puts what writes the inputs on the request's stream."""
After = Callable[[Mapping[str, Buffer]], None]
"""Puts what reads the outputs, given by their names, on the request's stream."""


class _Tensor(TwinMemory):
    """The memory of one input or output."""

    def __init__(self, device: CudaDevice, spec: TensorSpec) -> None:
        super().__init__(device)
        self.spec = spec
        self.touched = False
        """Whether the twin of an input was asked for, so that it has to be copied."""

    def sized(self, shape: _Shape) -> None:
        """Make room for a shape. Nothing that uses the memory may be on its way."""
        self.shaped(shape, self.spec.dtype)
        self.touched = False

    def _host(self) -> NDArray[Any]:
        self.touched = True
        return super()._host()


class _Lane:
    """An execution context and what was captured of it: for one exact shape, or for all of one profile."""

    def __init__(self, context: tensorrt.IExecutionContext, exact: bool) -> None:
        self.context = context
        self.exact = exact
        self.graph: CapturedGraph | None = None
        self.captured: tuple[Any, ...] = ()
        """What the graph depends on; another one needs another graph."""
        self.warm: tuple[Any, ...] = ()
        """What the context ran with last: TensorRT wants one plain run before a capture."""

    def drop_graph(self) -> None:
        graph, self.graph = self.graph, None
        if graph is not None:
            graph.close()


class _Worker:
    """All that a request owns on the GPU, apart from the request so that it can be given back without it."""

    def __init__(self, session: TensorRTSession) -> None:
        self.device = session.gpu
        self.inputs = {spec.name: _Tensor(self.device, spec) for spec in session.inputs}
        self.outputs = {spec.name: _Tensor(self.device, spec) for spec in session.outputs}
        self.rooms: dict[str, TwinMemory] = {}
        self.lanes: dict[_Shape | int, _Lane] = {}
        self.running = False
        self.closed = False
        with self.device.current():
            self.stream = self.device.stream()

    def close(self) -> None:
        """Give everything back, in any state; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        with self.device.current():
            self._give_back()

    def _give_back(self) -> None:
        """A function of its own, so that nothing it holds outlasts the context's being current."""
        with ExitStack() as steps:
            # Last in, first out; each step is taken even where the one before it failed.
            steps.callback(self.stream.close)
            for memory in (*self.inputs.values(), *self.outputs.values(), *self.rooms.values()):
                steps.callback(memory.free)
            steps.callback(self._drop_lanes)
            if self.running:
                self.running = False
                with suppress(Exception):  # the failure of work that nobody waits for any more
                    self.stream.synchronize()

    def _drop_lanes(self) -> None:
        with ExitStack() as steps:
            steps.callback(self.lanes.clear)
            for lane in self.lanes.values():
                steps.callback(lane.drop_graph)


class TensorRTSession:
    """A network on TensorRT. See `engine.runtime.Session`."""

    backend: Backend = "tensorrt"
    device: Device = "gpu"

    def __init__(self, model: ModelFile, engine: Engine, gpu: CudaDevice) -> None:
        """Make an engine ready that was built for this GPU; see `engine.tensorrt_engines.open_engine`.

        Raises:
            InputError: TensorRT does not take the plan.
        """
        import tensorrt as trt

        self.model = model
        self.precision: str = engine.precision
        self.gpu = gpu
        self.work = Work()
        self._profiles = engine.profiles
        self._exact: set[_Shape] = set()
        self._workers: set[_Worker] = set()
        # Reentrant: the garbage collector may give a worker back in the middle of anything.
        self._lock = threading.RLock()
        with gpu.current():
            runtime = trt.Runtime(logger())
            loaded = runtime.deserialize_cuda_engine(engine.plan)
            if loaded is None:
                where = engine.path or model.path
                raise InputError(f"{where}: TensorRT does not take this engine ({complaint()}); delete it")
            names = [loaded.get_tensor_name(n) for n in range(loaded.num_io_tensors)]
            specs = {
                mode: tuple(_spec(loaded, name) for name in names if loaded.get_tensor_mode(name) == mode)
                for mode in (trt.TensorIOMode.INPUT, trt.TensorIOMode.OUTPUT)
            }
        self.inputs = specs[trt.TensorIOMode.INPUT]
        self.outputs = specs[trt.TensorIOMode.OUTPUT]
        self._loaded: list[Any] = [runtime, loaded]
        """In the order they were made; empty once the session is closed."""
        self._end = weakref.finalize(self, _end, gpu, self._workers, self._loaded)

    def prepare(self, shapes: Mapping[str, _Shape]) -> None:
        (spec,) = self.inputs
        shape = checked_shape(self.model, spec, shapes[spec.name])
        self.profile_for(shape)
        self._exact.add(shape)

    def profile_for(self, shape: _Shape) -> int:
        """Which profile of the engine an input of that shape runs in.

        Raises:
            InputError: none takes it.
        """
        found = covering(self._profiles, shape)
        if found is None:
            raise InputError(
                f"{self.model.path}: its engine takes {', '.join(map(str, self._profiles))}, not "
                f"{'x'.join(map(str, shape))}; make one with `iznet engine build --min --opt --max`"
            )
        return found

    def lane(self, worker: _Worker, shape: _Shape) -> _Lane:
        """The worker's lane for a shape."""
        profile = self.profile_for(shape)
        exact = shape in self._exact
        key = shape if exact else profile
        if key not in worker.lanes:
            with self._lock:
                context = self._engine().create_execution_context()
                if context is None:
                    raise RuntimeError(f"{self.model.name}: TensorRT makes no execution context: {complaint()}")
                # Profile 0 as well: only the first context of an engine has it by itself.
                if not context.set_optimization_profile_async(profile, worker.stream.handle):
                    raise RuntimeError(f"{self.model.name}: TensorRT does not take profile {profile}: {complaint()}")
            worker.lanes[key] = _Lane(context, exact)
        return worker.lanes[key]

    def request(self) -> TensorRTRequest:
        with self._lock:
            self._engine()
            worker = _Worker(self)
            self._workers.add(worker)
        self.work.add(requests=1)
        return TensorRTRequest(self, worker)

    def give_back(self, worker: _Worker) -> None:
        """What a request owned, once it is gone."""
        with self._lock:
            self._workers.discard(worker)
            worker.close()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _engine(self) -> tensorrt.ICudaEngine:
        if not self._loaded:
            raise RuntimeError(f"the session of {self.model.name} is closed")
        engine: tensorrt.ICudaEngine = self._loaded[-1]
        return engine


def _end(gpu: CudaDevice, workers: set[_Worker], loaded: list[Any]) -> None:
    """Give back what a session owns, in the reverse order of its making; each step is taken whatever else fails."""
    with gpu.current(), ExitStack() as steps:
        for _ in loaded:
            steps.callback(loaded.pop)
        for worker in workers:
            steps.callback(worker.close)
    workers.clear()


class TensorRTRequest:
    """One inference in flight, with a stream and memory of its own."""

    def __init__(self, session: TensorRTSession, worker: _Worker) -> None:
        self._session = session
        self._worker = worker
        weakref.finalize(self, session.give_back, worker)

    @property
    def stream(self) -> int:
        """The handle of its stream: who writes an input on the GPU (`Buffer.address`) does so on it."""
        return self._worker.stream.handle

    def input(self, name: str, shape: _Shape) -> Buffer:
        tensor = self._open().inputs[name]
        checked_shape(self._session.model, tensor.spec, shape)
        self._session.profile_for(shape)
        if self._worker.running:
            raise RuntimeError("the inputs of a request that is running must stay as they are; wait for it first")
        with self._worker.device.current():
            tensor.sized(shape)
        return tensor.buffer()

    def room(self, name: str, shape: _Shape, dtype: Any) -> GpuBuffer:
        """Memory of the request's own for what comes after the network: the same for the same name, contents as they
        were left. Nothing that uses it may be on its way."""
        worker = self._open()
        with worker.device.current():
            room = worker.rooms.setdefault(name, TwinMemory(worker.device))
            room.shaped(shape, np.dtype(dtype))
        return room.buffer()

    def start(self, before: Before | None = None, after: After | None = None) -> None:
        """See `engine.runtime.Request`.

        Args:
            before: called with the context current, ahead of the network.
            after: likewise, behind it; the outputs are then not copied to the host.
        """
        worker = self._open()
        if worker.running:
            raise RuntimeError("a request runs once at a time; wait for it first")
        (tensor,) = worker.inputs.values()
        with worker.device.current():
            lane = self._session.lane(worker, tensor.shape)
            self._bind(lane)
            worker.running = True
            try:
                self._run(lane, before, after)
            except BaseException:
                # What is on the stream already uses the memory until it is done.
                with suppress(Exception):  # the first failure is the one to tell
                    worker.stream.synchronize()
                worker.running = False
                raise
        copies = int(tensor.touched) + (len(worker.outputs) if after is None else 0)
        self._session.work.add(inferences=1, items=tensor.shape[0], copies=copies)

    def fetch(self, buffer: GpuBuffer, rows: int) -> NDArray[Any]:
        """Put a copy of the first rows of a buffer to its twin on the stream, after `start` or `wait`; the twin's rows,
        to be read after the next `wait`."""
        worker = self._open()
        with worker.device.current():
            worker.running = True
            target = buffer.host()[:rows]
            worker.device.copy_out(target, buffer.address, worker.stream)
        return target

    def wait(self) -> None:
        worker = self._open()
        if worker.running:
            try:
                with worker.device.current():
                    worker.stream.synchronize()
            finally:
                worker.running = False

    def output(self, name: str) -> Buffer:
        if self._open().running:
            raise RuntimeError("the outputs of a request are there after `wait`")
        return self._worker.outputs[name].buffer()

    def _bind(self, lane: _Lane) -> None:
        """Say which shapes come, make room for what they give, and where everything lies."""
        context, worker = lane.context, self._worker
        for name, tensor in worker.inputs.items():
            if not context.set_input_shape(name, tensor.shape):
                raise InputError(f"{self._session.model.path}: does not take {tensor.shape}: {complaint()}")
        for name, tensor in worker.outputs.items():
            shape = tuple(context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise InputError(
                    f"{self._session.model.path}: the size of its output {name} depends on more than sizes"
                )
            tensor.sized(shape)
        for name, tensor in (*worker.inputs.items(), *worker.outputs.items()):
            if not context.set_tensor_address(name, tensor.address):
                raise RuntimeError(f"{self._session.model.name}: TensorRT does not take {name}'s memory: {complaint()}")

    def _run(self, lane: _Lane, before: Before | None, after: After | None) -> None:
        """Put everything on the stream."""
        worker = self._worker
        for tensor in worker.inputs.values():
            if tensor.touched:
                worker.device.copy_in(tensor.address, tensor.twin, worker.stream)
        if before is not None:
            before()
        self._compute(lane)
        if after is not None:
            after({name: tensor.buffer() for name, tensor in worker.outputs.items()})
            return
        for tensor in worker.outputs.values():
            worker.device.copy_out(tensor.twin, tensor.address, worker.stream)

    def _compute(self, lane: _Lane) -> None:
        """Put the network on the stream: its graph, where it was captured."""
        worker = self._worker
        now = tuple((t.shape, t.address) for t in (*worker.inputs.values(), *worker.outputs.values()))
        if lane.graph is not None and lane.captured != now:
            lane.drop_graph()
        if lane.exact and lane.graph is None and lane.warm == now:
            lane.graph = CapturedGraph(worker.stream.handle, lambda: self._enqueue(lane.context))
            lane.captured = now
        if lane.graph is not None:
            lane.graph.launch(worker.stream.handle)
        else:
            self._enqueue(lane.context)
            lane.warm = now

    def _enqueue(self, context: tensorrt.IExecutionContext) -> None:
        if not context.execute_async_v3(self._worker.stream.handle):
            raise RuntimeError(f"{self._session.model.name}: TensorRT did not start: {complaint()}")

    def _open(self) -> _Worker:
        if self._worker.closed:
            raise RuntimeError(f"the session of {self._session.model.name} is closed")
        return self._worker


def _spec(engine: tensorrt.ICudaEngine, name: str) -> TensorSpec:
    import tensorrt as trt

    shape = tuple(None if n < 0 else int(n) for n in engine.get_tensor_shape(name))
    return TensorSpec(name, np.dtype(trt.nptype(engine.get_tensor_dtype(name))), shape)
