"""Faults put into the session and the cache on purpose: the pretended GPU notices every one of them."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import engine_cache, tensorrt_session
from engine.cuda_device import open_device
from engine.engine_cache import Engine, EngineCache, EngineKey
from engine.runtime import Precision, TensorSpec, open_session
from engine.tensorrt_session import TensorRTRequest, TensorRTSession
from tests.engine.tensorrt.double import ContractViolation, Machine
from tests.engine.tensorrt.double.twice import want_engine
from tests.engine.tensorrt.double.video import Accelerator

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""After a fault, what is given back is given back wrongly."""
SHAPE = (1, 64, 96, 3)


def opened(network: Path, precision: Precision = "f32") -> TensorRTSession:
    session = open_session(network, "gpu", precision=precision, size=128)
    assert isinstance(session, TensorRTSession)
    return session


def request_of(session: TensorRTSession, shape: tuple[int, ...] = SHAPE) -> TensorRTRequest:
    request = session.request()
    assert isinstance(request, TensorRTRequest)
    request.input("images", shape).host()[...] = 90
    return request


def test_nothing_is_noticed_where_nothing_is_wrong(machine: Machine, detector_file: Path) -> None:
    session = opened(detector_file)
    request = request_of(session)
    request.start()
    request.wait()
    session.close()


def test_an_address_that_was_never_set(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(opened(detector_file))

    def bind(self: TensorRTRequest, lane: Any) -> None:
        right = lane.context

        class Forgetful:
            def __getattr__(self, name: str) -> Any:
                return getattr(right, name)

            def set_tensor_address(self, name: str, memory: int) -> bool:
                return name == "head8" or bool(right.set_tensor_address(name, memory))

        lane.context = Forgetful()
        real(self, lane)

    real = TensorRTRequest._bind
    monkeypatch.setattr(TensorRTRequest, "_bind", bind)
    with pytest.raises(ContractViolation, match="without the address of head8"):
        request.start()


def test_a_shape_outside_the_profile(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(detector_file)
    monkeypatch.setattr(TensorRTSession, "profile_for", lambda self, shape: 0)
    request = request_of(session, (1, 512, 512, 3))
    with pytest.raises(ContractViolation, match="outside profile 0"):
        request.start()


def test_a_second_context_without_a_profile(faulty: Machine, detector_file: Path) -> None:
    session = opened(detector_file)
    with session.gpu.current():
        first, second = (session._engine().create_execution_context() for _ in range(2))
        assert first is not None
        assert second is not None
        assert first.set_input_shape("images", (1, 64, 64, 3))
        with pytest.raises(ContractViolation, match="without a profile"):
            second.set_input_shape("images", (1, 64, 64, 3))
        del first, second


def test_decoding_in_a_context_that_ffmpeg_refuses(faulty: Machine, detector_file: Path) -> None:
    """FFmpeg's own way to the primary context, once the networks are in it; and no way outside of it."""
    opened(detector_file)
    codec = av.Codec("h264", "r")
    with pytest.raises(av.error.OSError, match="not supported"):
        Accelerator(faulty, "cuda", {}).create(codec)
    joining = Accelerator(faulty, "cuda", {"primary_ctx": "0", "current_ctx": "1"})
    with pytest.raises(ContractViolation, match="primary context is not current"):
        joining.create(codec)
    with open_device().current():
        joining.create(codec)


def test_a_wrong_dtype(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tensorrt_session._spec

    def wrong(engine: Any, name: str) -> TensorSpec:
        spec = right(engine, name)
        return TensorSpec(name, np.dtype(np.uint16), spec.shape) if name == "images" else spec

    good = opened(detector_file)
    monkeypatch.setattr(tensorrt_session, "_spec", wrong)
    session = TensorRTSession(good.model, _kept(good), good.gpu)
    request = request_of(session)
    request.start()
    with pytest.raises(ContractViolation, match="a wrong dtype"):
        request.wait()


def test_an_output_of_a_wrong_dtype(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tensorrt_session._spec

    def wrong(engine: Any, name: str) -> TensorSpec:
        spec = right(engine, name)
        return TensorSpec(name, np.dtype(np.float16), spec.shape) if name == "head8" else spec

    good = opened(detector_file)
    monkeypatch.setattr(tensorrt_session, "_spec", wrong)
    request = request_of(TensorRTSession(good.model, _kept(good), good.gpu))
    with pytest.raises(ContractViolation, match=r"head8 has .* a wrong dtype or shape"):
        request.start()


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_memory_freed_before_its_stream_is_done(faulty: Machine, detector_file: Path, side: str) -> None:
    session = opened(detector_file)
    request = request_of(session)
    request.start()
    tensor = next(iter(getattr(request._worker, side).values()))
    with session.gpu.current(), pytest.raises(ContractViolation, match="freed before its stream had done"):
        tensor.free()


def test_memory_used_again_before_its_stream_is_done(faulty: Machine, detector_file: Path) -> None:
    session = opened(detector_file)
    request = request_of(session)
    twin = request._worker.inputs["images"].twin
    request.start()
    # pycuda's pinned arrays are watched themselves; plain memory is compared when the copy is done.
    with pytest.raises(ContractViolation, match=r"written to (before|between)"):  # noqa: PT012
        twin[...] = 1
        request.wait()


def test_an_output_read_before_it_is_waited_for(
    faulty: Machine, package: str, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(detector_file)
    request = request_of(session)

    def wait(self: TensorRTRequest) -> None:
        self._worker.running = False

    monkeypatch.setattr(TensorRTRequest, "wait", wait)
    request.start()
    request.wait()
    output = request.output("head16").host()
    if package == "pycuda":
        with pytest.raises(ContractViolation, match="used before copy out into it was waited for"):
            output.max()
    assert np.isnan(np.frombuffer(output.tobytes(), np.float32)).all(), "what may not be read yet is not-a-number"


def test_a_context_that_is_not_current(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(detector_file)
    request = request_of(session)
    monkeypatch.setattr(session.gpu, "current", contextlib.nullcontext)
    with pytest.raises(ContractViolation, match="primary context is not current"):
        request.start()


def test_a_context_that_is_not_current_on_this_thread(faulty: Machine, detector_file: Path) -> None:
    """Current on the thread that made the session is not enough."""
    import threading

    session = opened(detector_file)
    request = request_of(session)
    found: list[BaseException] = []

    def elsewhere() -> None:
        try:
            request._worker.stream.synchronize()
        except ContractViolation as violation:
            found.append(violation)

    with session.gpu.current():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert found


def test_a_context_popped_twice(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(detector_file)
    request = request_of(session)
    once = session.gpu.current

    @contextlib.contextmanager
    def twice() -> Iterator[None]:
        with once():
            yield
        faulty.pop()

    monkeypatch.setattr(session.gpu, "current", twice)
    with pytest.raises(ContractViolation, match="popped twice"):
        request.start()


def test_an_exception_between_push_and_pop(
    faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(detector_file)
    request = request_of(session)
    request.start()
    request.wait()

    @contextlib.contextmanager
    def careless() -> Iterator[None]:
        faulty.push(faulty.primary)
        yield
        faulty.pop()

    monkeypatch.setattr(session.gpu, "current", careless)
    faulty.fail["network"] = RuntimeError("an illegal address")
    request.start()
    with pytest.raises(RuntimeError, match="an illegal address"):
        request.wait()
    with pytest.raises(AssertionError, match="a context pushed on a thread"):
        faulty.settled()


def test_two_workers_that_share_an_execution_context(
    faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(detector_file)
    one, two = request_of(session), request_of(session)
    lane = TensorRTSession.lane
    monkeypatch.setattr(TensorRTSession, "lane", lambda self, worker, shape: lane(self, one._worker, shape))
    one.start()
    with pytest.raises(ContractViolation, match="one execution context was put on two streams"):
        two.start()


def test_memory_used_on_another_stream_without_an_event(faulty: Machine, detector_file: Path) -> None:
    session = opened(detector_file)
    request = request_of(session)
    request.start()
    with session.gpu.current():
        other = session.gpu.stream()
        address = request._worker.inputs["images"].address
        with pytest.raises(ContractViolation, match="on another stream does, without an event between"):
            session.gpu.copy_in(address, request._worker.inputs["images"].twin, other)
        # With an event between the two it is right.
        event = faulty.new_event()
        faulty.record(event, request.stream)
        faulty.wait_for(other.handle, event)
        session.gpu.copy_in(address, request._worker.inputs["images"].twin, other)


@pytest.mark.parametrize(
    ("change", "value"), [("tensorrt", "11.5.0.1"), ("name", "Another GPU")], ids=["version", "gpu"]
)
def test_a_plan_of_another_version_or_gpu(
    change: str, value: str, faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(detector_file).close()
    monkeypatch.setattr(EngineCache, "find", _the_first_that_lies_there)
    setattr(faulty, change, value)
    with pytest.raises(ContractViolation, match="a foreign plan was given to TensorRT"):
        opened(detector_file)


def test_a_plan_of_another_precision(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(detector_file, "f32").close()
    monkeypatch.setattr(EngineCache, "find", _the_first_that_lies_there)
    session = opened(detector_file, "f16")
    assert session.precision == "f16"
    assert faulty.loaded[-1].arithmetic == "f32", "the session says f16, and computes in f32"


def test_a_truncated_plan(faulty: Machine, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(detector_file)
    plan = _plan()
    plan.write_bytes(plan.read_bytes()[:-1000])
    session.close()
    monkeypatch.setattr(engine_cache, "_whole", lambda path, values: path.read_bytes())
    with pytest.raises(ContractViolation, match="cut short or damaged"):
        opened(detector_file)


@pytest.mark.parametrize("locked", [True, False], ids=["as it is", "without the lock"])
def test_two_processes_that_build_one_engine(locked: bool, detector_file: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2, timeout=120), context.Queue()
    # Without the lock both have to be building at once, to be sure that the fault shows.
    inside = None if locked else context.Barrier(2, timeout=120)
    processes = [
        context.Process(target=want_engine, args=(detector_file, tmp_path, start, inside, locked, answers))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert not [answer for answer in found if isinstance(answer, str)], found
    assert sum(builds for builds, _ in found) == (1 if locked else 2)
    assert len({path for _, path in found}) == 1


def _the_first_that_lies_there(cache: EngineCache, key: EngineKey, any_options: bool) -> Engine:
    """A cache that looks at nothing."""
    assert cache.folder is not None
    return Engine(next(cache.folder.glob("*.plan")).read_bytes(), key.profiles, key.precision)


def _plan() -> Path:
    folder = EngineCache.open().folder
    assert folder is not None
    (plan,) = folder.glob("*.plan")
    return plan


def _kept(session: TensorRTSession) -> Engine:
    return Engine(_plan().read_bytes(), session._profiles, "f32")


def test_memory_that_is_read_by_everybody_may_be(machine: Machine) -> None:
    """What the guard over pinned memory lets through: it must not cry where nothing is wrong."""
    device = open_device()
    with device.current():
        pinned = device.pinned(16)
        array: NDArray[Any] = pinned.array[:8].view(np.float32)
        array[...] = [1, 2]
        assert float(array.sum()) == float(np.add(array, 0).sum()) == 3
        assert float(array[0]) == 1
        assert np.concatenate([array, array]).tolist() == [1, 2, 1, 2]
        pinned.free()
