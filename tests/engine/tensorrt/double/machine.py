"""Streams, events, memory and contexts, and the rules of their use."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

POISON = 0xFF
"""Fills what nobody may read yet: NaN as f32 and f16."""


class ContractViolation(AssertionError):
    """CUDA or TensorRT was used in a way that would crash, hang or compute nonsense on a real GPU."""


class CudaFailure(Exception):
    """What the driver itself reports: a code and its name."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(name)
        self.code = code
        self.name = name


@dataclass(eq=False)
class Memory:
    """An allocation, on the GPU (`device`) or pinned on the host."""

    address: int
    data: NDArray[np.uint8]
    device: bool
    freed: bool = False
    written: int | None = None
    """Bytes that the last finished write filled from the start; None before there was one."""
    rows: bool = False
    """Whether a kernel wrote them, of which a part may be copied out."""
    pitch: int | None = None
    """Of a decoded picture: bytes from a row to the next."""
    pending: list[Op] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{'device' if self.device else 'pinned'} memory of {len(self.data)} bytes"


@dataclass(eq=False)
class Op:
    """Work on a stream."""

    name: str
    run: Callable[[], None]
    reads: tuple[Memory, ...] = ()
    writes: tuple[Memory, ...] = ()
    context: Any = None
    """TensorRT's execution context, where it is one's work."""
    stream: Stream | None = None
    number: int = 0
    after: dict[int, int] = field(default_factory=dict)
    """By stream: the number of its work that has to be done before."""
    sums: tuple[int, ...] = ()
    done: bool = False


@dataclass(eq=False)
class Stream:
    """Work in order. `clock` says what of every other stream is waited for."""

    handle: int
    queue: list[Op] = field(default_factory=list)
    number: int = 0
    clock: dict[int, int] = field(default_factory=dict)
    capture: list[Op] | None = None
    closed: bool = False


@dataclass(eq=False)
class Event:
    """A point on a stream."""

    handle: int
    clock: dict[int, int] | None = None
    closed: bool = False


@dataclass(eq=False)
class Context:
    """CUDA's context of a device; not TensorRT's execution context."""

    name: str = "primary"


class Guarded(np.ndarray[Any, Any]):
    """An array over pinned memory that knows when it may be read and written."""

    memory: Memory | None = None

    def __array_finalize__(self, source: Any) -> None:
        # Views share the memory; what is computed from them does not.
        self.memory = getattr(source, "memory", None) if self.base is not None else None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        outputs = options.get("out", ())
        options |= {"out": tuple(_plain(one, writing=True) for one in outputs)} if outputs else {}
        return getattr(ufunc, method)(*map(_plain, inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*_all_plain(args), **{name: _plain(value) for name, value in kwargs.items()})

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if not isinstance(found, np.ndarray):
            _plain(self)
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        _plain(self, writing=True)
        super().__setitem__(key, value)

    def copy(self, order: Any = "C") -> Any:
        return _plain(self).copy(order)


def _plain(value: Any, writing: bool = False) -> Any:
    if not isinstance(value, Guarded):
        return value
    if value.memory is not None:
        _check_host(value.memory, writing)
    return value.view(np.ndarray)


def _all_plain(values: Iterable[Any]) -> list[Any]:
    return [_all_plain(value) if isinstance(value, (list, tuple)) else _plain(value) for value in values]


def _check_host(memory: Memory, writing: bool) -> None:
    if memory.freed:
        raise ContractViolation(f"{memory} was used after it was freed")
    for op in memory.pending:
        if memory in op.writes:
            raise ContractViolation(f"{memory} was used before {op.name} into it was waited for")
        if writing:
            raise ContractViolation(f"{memory} was written to before {op.name} from it was waited for")


class Machine:
    """One GPU and its driver.

    Args:
        name: of the GPU.
        capability: its compute capability.
        cuda: the driver's version, as CUDA counts: 13040 is 13.4.
        room: bytes of memory that it has.
    """

    def __init__(
        self,
        name: str = "Pretended GPU",
        capability: tuple[int, int] = (8, 9),
        cuda: int = 13040,
        room: int = 4 << 30,
    ) -> None:
        self.name = name
        self.capability = capability
        self.cuda = cuda
        self.room = room
        self.init_result = 0
        self.tensorrt = "11.4.0.106"
        self.violations: list[str] = []
        self.forgiving = False
        self.log: list[str] = []
        """What was asked for and done, in order."""
        self.retained = 0
        self.retains = 0
        self.primary = Context()
        self.retained_by: int | None = None
        self.fail: dict[str, BaseException] = {}
        """By name of the work: what it fails with when it is done, once."""
        self.nvdec = True
        """Whether its decoder takes what it gets, or leaves everything to the CPU."""
        self.modules = 0
        """Modules of kernels that are loaded."""
        self.pixels_up = 0
        """Bytes of pictures that went to the GPU past `copy_in`, by a video library."""
        self.pixels_down = 0
        self.layers_timed = 0
        self.builds = 0
        self.loaded: list[Any] = []
        self.graphs: dict[int, list[Op]] = {}
        self.executables: dict[int, list[Op]] = {}
        self._memory: dict[int, Memory] = {}
        self._streams: dict[int, Stream] = {0: Stream(0)}
        """The default stream is always there."""
        self._events: dict[int, Event] = {}
        self._stacks = threading.local()
        self._all_stacks: list[list[Context]] = []
        self._next = 0x7000_0000_0000
        self.lock = threading.RLock()

    # --- rules ---

    def violation(self, text: str) -> ContractViolation:
        """Note one, also for those who swallow the exception."""
        self.violations.append(text)
        return ContractViolation(text)

    def forgive(self) -> None:
        """The test is over, and broke the contract on purpose: what is cleaned up after it need not keep to it."""
        self.forgiving = True
        for stream in self._streams.values():
            stream.queue.clear()
        for memory in self._memory.values():
            memory.pending.clear()
        for stack in self._all_stacks:
            stack.clear()

    def need_context(self, what: str) -> None:
        """The primary context has to be current on the calling thread."""
        if self.forgiving:
            return
        stack = self.stack()
        if not stack or stack[-1] is not self.primary:
            current = stack[-1].name if stack else "none"
            raise self.violation(f"{what} on a thread where the primary context is not current, but {current}")

    def settled(self) -> None:
        """Everything has been given back: no memory, stream, event, graph or pushed context is left."""
        left = [str(memory) for memory in self._memory.values() if not memory.freed]
        left += [f"stream {s.handle:#x}" for s in self._streams.values() if s.handle and not s.closed]
        left += ["a module of kernels"] * self.modules
        left += [f"event {e.handle:#x}" for e in self._events.values() if not e.closed]
        left += ["a graph" for _ in [*self.graphs, *self.executables]]
        left += ["a context pushed on a thread" for stack in self._all_stacks for _ in stack]
        assert not left, f"left behind: {', '.join(left)}"
        assert not self.violations, self.violations

    # --- contexts ---

    def stack(self) -> list[Context]:
        """The calling thread's contexts, the current one last."""
        if not hasattr(self._stacks, "own"):
            self._stacks.own = []
            self._all_stacks.append(self._stacks.own)
        own: list[Context] = self._stacks.own
        return own

    def retain(self) -> Context:
        if self.retained:
            raise self.violation("the primary context was retained twice by one process")
        self.retained += 1
        self.retains += 1
        self.retained_by = threading.get_ident()
        return self.primary

    def release(self) -> None:
        if not self.retained:
            raise self.violation("the primary context was released more often than retained")
        self.retained -= 1

    def push(self, context: Context) -> None:
        if context is self.primary and not self.retained and not self.forgiving:
            raise self.violation("the primary context was pushed after it was released")
        self.stack().append(context)

    def pop(self) -> Context:
        if self.forgiving:
            return self.primary
        if not self.stack():
            raise self.violation("a context was popped where none is current: popped twice, or on another thread")
        return self.stack().pop()

    # --- memory ---

    def allocate(self, size: int, device: bool) -> Memory:
        self.need_context("memory was allocated")
        if size < 1:
            raise CudaFailure(1, "CUDA_ERROR_INVALID_VALUE")
        if device and size > self.room:
            raise CudaFailure(2, "CUDA_ERROR_OUT_OF_MEMORY")
        data = np.full(size, POISON, np.uint8)
        with self.lock:
            if device:
                self.room -= size
                address, self._next = self._next, self._next + -(-size // 256) * 256 + 256
            else:
                address = data.ctypes.data
            memory = Memory(address, data, device)
            self._memory[address] = memory
        return memory

    def free(self, address: int) -> None:
        self.need_context("memory was freed")
        with self.lock:
            memory = self._memory.get(address)
            if memory is None or memory.freed:
                raise self.violation(f"memory at {address:#x} was freed twice, or never allocated")
            if memory.pending:
                names = ", ".join(op.name for op in memory.pending)
                raise self.violation(f"{memory} was freed before its stream had done: {names}")
            memory.freed = True
            memory.data[:] = POISON
            if memory.device:
                self.room += len(memory.data)

    def memory_at(self, address: int, what: str, device: bool) -> Memory:
        """The live allocation that starts at an address."""
        memory = self._memory.get(address)
        if memory is None or memory.device != device:
            raise self.violation(f"{what}: no {'device' if device else 'pinned'} memory begins at {address:#x}")
        if memory.freed:
            raise self.violation(f"{what}: {memory} was freed before")
        return memory

    def memory_holding(self, address: int, size: int, what: str) -> tuple[Memory, int]:
        """The live allocation on the GPU that a stretch lies in, and where in it."""
        for memory in list(self._memory.values()):
            offset = address - memory.address
            if memory.device and 0 <= offset < len(memory.data):
                if memory.freed:
                    raise self.violation(f"{what}: {memory} was freed before")
                if offset + size > len(memory.data):
                    raise self.violation(f"{what}: {size} bytes from {offset} on reach out of {memory}")
                return memory, offset
        raise self.violation(f"{what}: there is no memory at {address:#x}")

    def copy_in(self, address: int, source: NDArray[Any] | tuple[int, int], stream: int) -> None:
        there = self.memory_at(address, "copy to the GPU", device=True)
        here, size = self._host(source, "copy to the GPU")
        if size > len(there.data):
            raise self.violation(f"{size} bytes were copied into {there}")

        def run() -> None:
            there.data[:size] = here.data[:size]
            there.written, there.rows = size, False

        self.enqueue(stream, Op("copy in", run, reads=(here,), writes=(there,)))

    def copy_out(self, target: NDArray[Any] | tuple[int, int], address: int, stream: int) -> None:
        there = self.memory_at(address, "copy from the GPU", device=True)
        here, size = self._host(target, "copy from the GPU")

        def run() -> None:
            if there.written is None or (size > there.written if there.rows else size != there.written):
                raise self.violation(f"{size} bytes were copied out of a result of {there.written}: a wrong dtype?")
            here.data[:size] = there.data[:size]
            here.written = size

        self.enqueue(stream, Op("copy out", run, reads=(there,), writes=(here,)))
        here.data[:size] = POISON

    def _host(self, place: NDArray[Any] | tuple[int, int], what: str) -> tuple[Memory, int]:
        if isinstance(place, np.ndarray):
            if not place.flags.c_contiguous:
                raise self.violation(f"{what}: an array that is not contiguous")
            place = place.ctypes.data, place.nbytes
        return self.memory_at(place[0], f"{what}: pageable, or from inside an allocation", device=False), place[1]

    # --- streams ---

    def new_stream(self) -> Stream:
        self.need_context("a stream was made")
        stream = Stream(self._number())
        self._streams[stream.handle] = stream
        return stream

    def stream(self, handle: int, what: str) -> Stream:
        self.need_context(what)
        stream = self._streams.get(handle)
        if stream is None or stream.closed:
            raise self.violation(f"{what} with a stream that was never made or is closed: {handle:#x}")
        return stream

    def close_stream(self, handle: int) -> None:
        stream = self.stream(handle, "a stream was closed")
        if stream.queue:
            raise self.violation(f"a stream was closed before it had done: {', '.join(o.name for o in stream.queue)}")
        stream.closed = True

    def enqueue(self, handle: int, op: Op) -> None:
        """Put work on a stream; it is done when somebody waits for it."""
        with self.lock:
            stream = self.stream(handle, op.name)
            if stream.capture is not None:
                stream.capture.append(op)
                self.log.append(f"capture {op.name}")
                return
            self._check_order(stream, op)
            stream.number += 1
            op.stream, op.number, op.after = stream, stream.number, dict(stream.clock)
            op.sums = tuple(zlib.crc32(memory.data.data) for memory in op.reads if not memory.device)
            for memory in (*op.reads, *op.writes):
                memory.pending.append(op)
            stream.queue.append(op)
            self.log.append(f"put {op.name} on {handle}")

    def _check_order(self, stream: Stream, op: Op) -> None:
        for memory in (*op.reads, *op.writes):
            if memory.freed:
                raise self.violation(f"{op.name} uses {memory}, which was freed")
            for other in memory.pending:
                if memory not in op.writes and memory not in other.writes:
                    continue
                assert other.stream is not None
                if other.stream is not stream and stream.clock.get(other.stream.handle, 0) < other.number:
                    raise self.violation(
                        f"{op.name} uses {memory} while {other.name} on another stream does, without an event between"
                    )
        if op.context is None:
            return
        for one in self._streams.values():
            for other in one.queue:
                ordered = one is stream or stream.clock.get(one.handle, 0) >= other.number
                if other.context is op.context and not ordered:
                    raise self.violation("one execution context was put on two streams at once: a worker needs its own")

    def synchronize(self, handle: int) -> None:
        stream = self.stream(handle, "a stream was waited for")
        if stream.capture is not None:
            raise self.violation("a stream was waited for while it is captured")
        with self.lock:
            self.log.append(f"wait for {handle}")
            self._finish(stream, stream.number)

    def _finish(self, stream: Stream, number: int) -> None:
        failure: BaseException | None = None
        while stream.queue and stream.queue[0].number <= number:
            op = stream.queue[0]
            for handle, before in op.after.items():
                try:
                    self._finish(self._streams[handle], before)
                except ContractViolation:
                    raise
                except BaseException as error:
                    failure = failure or error
            now = tuple(zlib.crc32(memory.data.data) for memory in op.reads if not memory.device)
            stream.queue.pop(0)
            for memory in (*op.reads, *op.writes):
                memory.pending.remove(op)
            if now != op.sums:
                raise self.violation(f"pinned memory was written to between {op.name} from it and waiting for that")
            self.log.append(f"do {op.name}")
            failure = failure or self.fail.pop(op.name, None)
            if failure is None:
                op.run()
            op.done = True
        if failure is not None:
            raise failure

    # --- events ---

    def new_event(self) -> Event:
        self.need_context("an event was made")
        event = Event(self._number())
        self._events[event.handle] = event
        return event

    def record(self, event: Event, handle: int) -> None:
        stream = self.stream(handle, "an event was recorded")
        event.clock = {**stream.clock, stream.handle: stream.number}

    def wait_for(self, handle: int, event: Event) -> None:
        stream = self.stream(handle, "an event was waited for")
        for other, number in (event.clock or {}).items():
            stream.clock[other] = max(stream.clock.get(other, 0), number)

    def close_event(self, event: Event) -> None:
        self.need_context("an event was closed")
        event.closed = True

    # --- graphs ---

    def begin_capture(self, handle: int) -> None:
        stream = self.stream(handle, "a capture was begun")
        if stream.capture is not None:
            raise self.violation("a capture was begun twice")
        stream.capture = []

    def end_capture(self, handle: int) -> int:
        stream = self.stream(handle, "a capture was ended")
        if stream.capture is None:
            raise self.violation("a capture was ended that was not begun")
        ops, stream.capture = stream.capture, None
        number = self._number()
        self.graphs[number] = ops
        return number

    def instantiate(self, graph: int) -> int:
        self.need_context("a graph was made ready")
        number = self._number()
        self.executables[number] = self.graphs[graph]
        return number

    def launch(self, executable: int, handle: int) -> None:
        self.log.append(f"launch on {handle}")
        for op in self.executables[executable]:
            if op.context is not None:
                op.context.check_unchanged(op)
            self.enqueue(handle, Op(op.name, op.run, op.reads, op.writes, op.context))
            if op.name == "copy out":
                op.writes[0].data[:] = POISON

    def destroy_executable(self, executable: int) -> None:
        self.need_context("a graph was closed")
        ops = self.executables.pop(executable)
        memory = {one for op in ops for one in (*op.reads, *op.writes)}
        if any(one.pending for one in memory):
            raise self.violation("a graph was closed before its launch was waited for")

    def _number(self) -> int:
        with self.lock:
            self._next += 256
            return self._next
