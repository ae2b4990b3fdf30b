"""The GPU's session, whole, on a pretended GPU that watches every call."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.cuda_device import close_device
from engine.errors import InputError
from engine.runtime import Request, open_session
from engine.tensorrt_session import TensorRTRequest, TensorRTSession
from tests.engine.tensorrt.double import Machine
from tests.networks import PEOPLE, scene

HEADS = ("head8", "head16", "head32")


@pytest.fixture
def session(machine: Machine, detector_file: Path) -> Iterator[TensorRTSession]:
    """The synthetic detector in f32."""
    opened = open_session(detector_file, "gpu", precision="f32", size=192)
    assert isinstance(opened, TensorRTSession)
    yield opened
    opened.close()


def run(request: Request, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    request.input("images", pixels.shape).host()[...] = pixels
    request.start()
    request.wait()
    return {name: request.output(name).host().copy() for name in HEADS}


def batch(count: int, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        x, y, side = rng.integers(10, 60, 3)
        rows.append(scene(192, 128, [((x, y, x + side, y + side), PEOPLE["ann"])]))
    return np.stack(rows)


def reference(detector_file: Path, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    opened = open_session(detector_file, "cpu", "onnxruntime", threads=1)
    answer = run(opened.request(), pixels)
    opened.close()
    return answer


def test_says_what_it_is(session: TensorRTSession, machine: Machine, detector_file: Path) -> None:
    assert (session.device, session.backend, session.precision) == ("gpu", "tensorrt", "f32")
    assert session.model.path == detector_file
    assert [(s.name, s.dtype, s.shape) for s in session.inputs] == [("images", np.dtype(np.uint8), (None,) * 3 + (3,))]
    assert [(s.name, s.dtype) for s in session.outputs] == [(name, np.dtype(np.float32)) for name in HEADS]
    assert machine.loaded[-1].arithmetic == "f32"


def test_answers_as_the_reference_does(session: TensorRTSession, detector_file: Path) -> None:
    pixels = batch(3)
    expected = reference(detector_file, pixels)
    for name, array in run(session.request(), pixels).items():
        np.testing.assert_array_equal(array, expected[name])


def test_shapes_may_change_from_call_to_call(session: TensorRTSession, detector_file: Path) -> None:
    request = session.request()
    for count, height, width in ((1, 128, 192), (4, 128, 192), (2, 64, 96), (1, 320, 384), (4, 128, 192)):
        pixels = np.ascontiguousarray(np.resize(batch(1), (count, height, width, 3)))
        np.testing.assert_array_equal(run(request, pixels)["head16"], reference(detector_file, pixels)["head16"])


def test_memory_is_used_again(session: TensorRTSession, machine: Machine) -> None:
    request = session.request()
    first = request.input("images", (4, 64, 64, 3)).address
    room = machine.room
    assert request.input("images", (2, 64, 64, 3)).address == first
    assert machine.room == room
    assert request.input("images", (8, 64, 64, 3)).shape == (8, 64, 64, 3)
    assert machine.room < room


def test_what_was_written_on_the_gpu_is_not_copied_over(session: TensorRTSession, machine: Machine) -> None:
    """Who puts the pixels there himself (a decoder, a kernel) saves the copy: `host()` is what asks for it."""
    pixels = batch(1)
    request = session.request()
    assert isinstance(request, TensorRTRequest)
    expected = run(request, pixels)
    buffer = request.input("images", pixels.shape)
    there = machine.memory_at(buffer.address, "test", device=True)
    there.data[: pixels.nbytes] = pixels.reshape(-1)
    machine.log.clear()
    request.start()
    request.wait()
    np.testing.assert_array_equal(request.output("head16").host(), expected["head16"])
    assert not [line for line in machine.log if "copy in" in line]
    assert any(f"put network on {request.stream}" in line for line in machine.log)


def test_exact_shapes_are_captured_once_and_launched_from_then_on(
    session: TensorRTSession, machine: Machine, detector_file: Path
) -> None:
    pixels, others = batch(2), batch(1)
    session.prepare({"images": pixels.shape})
    session.prepare({"images": pixels.shape})
    request = session.request()
    for _ in range(4):
        np.testing.assert_array_equal(run(request, pixels)["head16"], reference(detector_file, pixels)["head16"])
        np.testing.assert_array_equal(run(request, others)["head8"], reference(detector_file, others)["head8"])
    assert machine.log.count("capture network") == 1
    assert sum(line.startswith("launch") for line in machine.log) == 3
    assert not machine.graphs, "the graph itself is needed no more once it has been made ready"


def test_memory_that_moved_is_captured_anew(session: TensorRTSession, machine: Machine, detector_file: Path) -> None:
    pixels, larger = batch(1), batch(6)
    session.prepare({"images": pixels.shape})
    request = session.request()
    for _ in range(3):
        run(request, pixels)
    run(request, larger)
    for _ in range(3):
        np.testing.assert_array_equal(run(request, pixels)["head16"], reference(detector_file, pixels)["head16"])
    assert machine.log.count("capture network") == 2


def test_one_copies_while_the_other_computes(session: TensorRTSession, machine: Machine) -> None:
    """Double buffering: with two requests in flight, everything of the second is under way before anybody waits for
    the first, on a stream and in memory of its own."""
    one, two = session.request(), session.request()
    a, b = batch(2, seed=1), batch(1, seed=2)
    machine.log.clear()
    for request, pixels in ((one, a), (two, b)):
        request.input("images", pixels.shape).host()[...] = pixels
        request.start()
    assert not [line for line in machine.log if line.startswith(("wait", "do"))]
    streams = {line.split()[-1] for line in machine.log if line.startswith("put network")}
    assert len(streams) == 2
    two.wait()
    one.wait()
    np.testing.assert_array_equal(one.output("head16").host(), run(session.request(), a)["head16"])
    np.testing.assert_array_equal(two.output("head16").host(), run(session.request(), b)["head16"])


def test_several_threads(session: TensorRTSession, machine: Machine, detector_file: Path) -> None:
    pixels = [batch(1 + n % 3, seed=n) for n in range(6)]
    found: list[NDArray[np.float32] | None] = [None] * len(pixels)
    session.prepare({"images": pixels[0].shape})

    def work(n: int) -> None:
        request = session.request()
        for _ in range(4):
            found[n] = run(request, pixels[n])["head16"]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(pixels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for have, one in zip(found, pixels, strict=True):
        np.testing.assert_array_equal(have, reference(detector_file, one)["head16"])
    assert machine.retains == 1, "the primary context is retained once, whatever the number of threads"


def test_a_request_may_wander_between_threads(session: TensorRTSession, detector_file: Path) -> None:
    pixels = batch(1)
    request = session.request()
    request.input("images", pixels.shape).host()[...] = pixels
    for step in (request.start, request.wait):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    np.testing.assert_array_equal(request.output("head8").host(), reference(detector_file, pixels)["head8"])


def test_counts_its_work(session: TensorRTSession) -> None:
    request = session.request()
    for count in (1, 3):
        run(request, batch(count))
    work = session.work
    assert (work.requests, work.inferences, work.items, work.copies) == (1, 2, 4, 8)


def test_a_shape_that_does_not_fit(session: TensorRTSession) -> None:
    request = session.request()
    with pytest.raises(InputError, match=r"takes any×any×any×3, not 1×3×64×64"):
        request.input("images", (1, 3, 64, 64))
    with pytest.raises(InputError, match=r"its engine takes images 1x32x32x3 … 8x192x192x3.*not 9x192x192x3; .*--max"):
        request.input("images", (9, 192, 192, 3))
    with pytest.raises(InputError, match="engine build"):
        session.prepare({"images": (1, 2048, 2048, 3)})


def test_out_of_turn(session: TensorRTSession) -> None:
    pixels = batch(1)
    request = session.request()
    request.input("images", pixels.shape).host()[...] = pixels
    request.start()
    for call in (request.start, lambda: request.input("images", pixels.shape), lambda: request.output("head8")):
        with pytest.raises(RuntimeError, match="wait"):
            call()
    request.wait()
    request.wait()


@pytest.mark.parametrize("work", ["copy in", "network", "copy out"])
def test_a_failure_is_raised_where_it_is_waited_for(
    work: str, session: TensorRTSession, machine: Machine, detector_file: Path
) -> None:
    pixels = batch(1)
    request = session.request()
    machine.fail[work] = RuntimeError("an illegal address")
    request.input("images", pixels.shape).host()[...] = pixels
    request.start()
    with pytest.raises(RuntimeError, match="an illegal address"):
        request.wait()
    np.testing.assert_array_equal(run(request, pixels)["head16"], reference(detector_file, pixels)["head16"])


def test_a_failure_between_push_and_pop_leaves_no_context_behind(
    session: TensorRTSession, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = batch(1)
    request = session.request()
    run(request, pixels)

    def refuses(address: int, target: object, stream: object) -> None:
        raise RuntimeError("no copy today")

    with monkeypatch.context() as broken:
        broken.setattr(session.gpu, "copy_out", refuses)
        request.input("images", pixels.shape).host()[...] = pixels
        with pytest.raises(RuntimeError, match="no copy today"):
            request.start()
    assert not machine.stack()
    run(request, pixels)


def test_a_failure_while_capturing_ends_the_capture(
    session: TensorRTSession, machine: Machine, monkeypatch: pytest.MonkeyPatch, detector_file: Path
) -> None:
    pixels = batch(1)
    session.prepare({"images": pixels.shape})
    request = session.request()
    run(request, pixels)
    copy = session.gpu.copy_out

    def refuses(*arguments: object) -> None:
        raise RuntimeError("no copy today")

    monkeypatch.setattr(session.gpu, "copy_out", refuses)
    request.input("images", pixels.shape).host()[...] = pixels
    with pytest.raises(RuntimeError, match="no copy today"):
        request.start()
    monkeypatch.setattr(session.gpu, "copy_out", copy)
    assert not machine.graphs
    for _ in range(2):
        np.testing.assert_array_equal(run(request, pixels)["head16"], reference(detector_file, pixels)["head16"])


def test_closed_means_closed(session: TensorRTSession) -> None:
    request = session.request()
    run(request, batch(1))
    session.close()
    session.close()
    for call in (session.request, request.start, request.wait, lambda: request.input("images", (1, 64, 64, 3))):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_closing_gives_everything_back(session: TensorRTSession, machine: Machine) -> None:
    pixels = batch(1)
    session.prepare({"images": pixels.shape})
    idle, running = session.request(), session.request()
    for _ in range(3):
        run(idle, pixels)
    running.input("images", pixels.shape).host()[...] = pixels
    running.start()
    session.close()
    machine.settled()


def test_closing_gives_the_rest_back_where_one_step_fails(
    session: TensorRTSession, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = session.request(), session.request()
    for request in (one, two):
        run(request, batch(1))
    assert isinstance(one, TensorRTRequest)
    stream = one._worker.stream
    close = stream.close

    def fails() -> None:
        close()
        raise RuntimeError("a stream that cannot be closed")

    monkeypatch.setattr(stream, "close", fails)
    with pytest.raises(RuntimeError, match="cannot be closed"):
        session.close()
    machine.settled()


def test_what_is_dropped_is_given_back(session: TensorRTSession, machine: Machine) -> None:
    before = machine.room
    request = session.request()
    run(request, batch(1))
    assert machine.room < before
    del request
    gc.collect()
    assert machine.room == before


def test_dropped_in_the_middle_of_a_run(session: TensorRTSession, machine: Machine) -> None:
    pixels = batch(1)
    before = machine.room
    request = session.request()
    request.input("images", pixels.shape).host()[...] = pixels
    request.start()
    del request
    gc.collect()
    assert machine.room == before


def test_requests_may_outlive_their_session_and_the_gpu(session: TensorRTSession, machine: Machine) -> None:
    request = session.request()
    run(request, batch(1))
    session.close()
    close_device()
    del request
    gc.collect()
    machine.settled()


def test_a_session_that_nobody_closes_gives_itself_back(machine: Machine, detector_file: Path) -> None:
    opened = open_session(detector_file, "gpu", precision="f32", size=192)
    request = opened.request()
    run(request, batch(1))
    gone = weakref.ref(opened)
    del opened, request
    gc.collect()
    assert gone() is None
    machine.settled()
