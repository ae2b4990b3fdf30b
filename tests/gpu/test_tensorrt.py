"""The networks on a real GPU: `python -m pytest -m gpu tests/gpu -v`.

Everything here needs the hardware; what can be shown without it is in `tests/engine/tensorrt`. Sizes of leaks and
throughputs are compared within one run, never with a number from another machine.
"""

from __future__ import annotations

import gc
import re
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import devices
from engine.errors import MissingError
from engine.modelfile import ModelFile
from engine.runtime import Precision, Session, open_session

pytestmark = pytest.mark.gpu

SHAPE = (1, 384, 640, 3)
ROUNDS = 200


@pytest.fixture(scope="module", autouse=True)
def gpu() -> str:
    """The GPU here, or the reason why there is none."""
    try:
        return devices.gpu()
    except MissingError as error:
        pytest.skip(str(error))


def pixels(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> NDArray[np.uint8]:
    from engine.tensorrt_accuracy import made_up

    picture = made_up(seed + 1, shape[1], shape[2])[seed]
    return np.repeat(picture[None], shape[0], 0)


def run(request: Any, array: NDArray[np.uint8], name: str = "images") -> dict[str, NDArray[np.float32]]:
    request.input(name, array.shape).host()[...] = array
    request.start()
    request.wait()
    return {spec.name: request.output(spec.name).host().copy() for spec in request._session.outputs}


def shipped(kind: str, precision: Precision = "auto") -> Session:
    return open_session(ModelFile.shipped(kind), "gpu", precision=precision)


# --- parity ---


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_scores_are_those_of_the_cpu(precision: Precision) -> None:
    session = shipped("detector", precision)
    reference = open_session(ModelFile.shipped("detector"), "cpu", "onnxruntime")
    request = reference.request()
    for seed, shape in enumerate((SHAPE, (3, 384, 640, 3), (8, 640, 640, 3), (1, 128, 192, 3), (1, 1280, 1280, 3))):
        array = pixels(shape, seed)
        wanted = run(request, array)
        for name, head in run(session.request(), array).items():
            np.testing.assert_allclose(head[..., 0], wanted[name][..., 0], atol=0.02)
    session.close()
    reference.close()


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_embeddings_are_those_of_the_cpu(precision: Precision) -> None:
    from engine.embedder import Embedder
    from engine.tensorrt_accuracy import QUANTISED

    faces = np.concatenate([pixels((1, 112, 112, 3), seed) for seed in range(16)])
    with_gpu, on_cpu = Embedder(shipped("embedder", precision)), Embedder.open(device="cpu", backend="onnxruntime")
    cosines = np.einsum("nd,nd->n", with_gpu.embed(faces), on_cpu.embed(faces))
    assert cosines.mean() >= QUANTISED.cosine
    with_gpu.close()
    on_cpu.close()


def test_int8_of_the_shipped_detector_is_accepted() -> None:
    session = open_session(ModelFile.shipped("detector", "int8"), "gpu", precision="int8")
    assert session.precision == "int8"
    session.close()


def test_a_captured_graph_says_what_plain_calls_say() -> None:
    session = shipped("detector")
    array = pixels()
    plain = run(session.request(), array)
    session.prepare({"images": array.shape})
    request = session.request()
    for seed in (0, 1, 2, 0):
        captured = run(request, pixels(SHAPE, seed))
    for name, head in plain.items():
        np.testing.assert_array_equal(captured[name], head)
    session.close()


# --- engines ---


def test_an_engine_is_kept_and_its_plan_is_tensorrts_own(caches: Path) -> None:
    import tensorrt as trt

    from engine.cuda_device import open_device
    from engine.tensorrt_library import logger

    shipped("detector").close()
    plans = {plan: plan.read_bytes() for plan in caches.glob("*.plan")}
    assert plans
    shipped("detector").close()
    assert {plan: plan.read_bytes() for plan in caches.glob("*.plan")} == plans
    for plan, data in plans.items():
        assert plan.with_suffix(".json").is_file()
        with open_device().current():
            assert trt.Runtime(logger()).deserialize_cuda_engine(data) is not None


def test_a_timing_cache_makes_the_second_build_quicker() -> None:
    from engine.tensorrt_engines import build_engine
    from engine.tensorrt_profile import default_profiles

    model = ModelFile.shipped("detector")
    took = []
    for _ in range(2):
        started = time.perf_counter()
        build_engine(model, "f16", default_profiles(model, 320), rebuild=True, size=320)
        took.append(time.perf_counter() - started)
    print(f"built in {took[0]:.1f} s, then in {took[1]:.1f} s")
    assert took[1] < took[0]


# --- threads, leaks ---


def test_threads_do_not_disturb_each_other() -> None:
    session = shipped("detector")
    arrays = [pixels((1 + n % 3, 384, 640, 3), n) for n in range(8)]
    alone = [run(session.request(), array) for array in arrays]
    session.prepare({"images": arrays[0].shape})
    wrong: list[str] = []

    def work(n: int) -> None:
        request = session.request()
        for turn in range(30):
            for name, head in run(request, arrays[n]).items():
                if not np.allclose(head[..., 0], alone[n][name][..., 0], atol=1e-3):
                    wrong.append(f"thread {n}, turn {turn}, {name}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    session.close()


def free_memory() -> int:
    """Bytes that are free on the GPU."""
    import ctypes

    from engine.cuda_device import open_device
    from engine.cuda_driver import library

    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    with open_device().current():
        assert library().cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return free.value


def test_opening_and_closing_leaks_nothing() -> None:
    left = []
    for _ in range(12):
        session = shipped("detector")
        session.prepare({"images": SHAPE})
        requests = [session.request() for _ in range(3)]
        for request in requests:
            for _ in range(3):
                run(request, pixels())
        del request, requests
        session.close()
        del session
        gc.collect()
        left.append(free_memory())
    # What the libraries keep for themselves is taken in the first rounds.
    assert left[-1] >= left[4] - (1 << 20), left


def test_what_is_dropped_in_the_middle_leaks_nothing() -> None:
    session = shipped("detector")
    run(session.request(), pixels())
    gc.collect()
    before = free_memory()
    for _ in range(50):
        request = session.request()
        request.input("images", SHAPE).host()[...] = 90
        request.start()
        del request
        gc.collect()
    assert free_memory() >= before - (1 << 20)
    session.close()


# --- speed ---


def test_throughput_beside_trtexec(caches: Path) -> None:
    """How much of what `trtexec` gets out of the same plan is left with copies in and out of Python."""
    trtexec = shutil.which("trtexec")
    if trtexec is None:
        pytest.skip("no trtexec in PATH; it comes with TensorRT's tar file, not with its wheels")
    session = shipped("detector")
    plan = max(caches.glob("*-f16-*.plan"), key=lambda path: path.stat().st_mtime)
    text = "x".join(map(str, SHAPE))
    ours, theirs = [], []
    session.prepare({"images": SHAPE})
    requests = [session.request(), session.request()]
    for _ in range(3):
        said = subprocess.run(
            [trtexec, f"--loadEngine={plan}", f"--shapes=images:{text}", "--useCudaGraph", "--infStreams=2"],
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=300,
        ).stdout
        found = re.search(r"Throughput: ([\d.]+) qps", said)
        assert found is not None, said[-2000:]
        theirs.append(float(found[1]))
        ours.append(_two_in_flight(requests))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{statistics.median(ours):.0f} a second here, {statistics.median(theirs):.0f} in trtexec: {ratio:.2f}")
    assert ratio > 0.5
    session.close()


def _two_in_flight(requests: list[Any]) -> float:
    array = pixels()
    for request in requests * 4:
        run(request, array)
    started = time.perf_counter()
    for request in requests:
        request.input("images", SHAPE).host()
        request.start()
    for n in range(ROUNDS):
        request = requests[n % 2]
        request.wait()
        request.input("images", SHAPE).host()
        request.start()
    for request in requests:
        request.wait()
    return (ROUNDS + 2) / (time.perf_counter() - started)


def test_two_in_flight_are_quicker_than_one_after_the_other() -> None:
    session = shipped("detector")
    session.prepare({"images": SHAPE})
    requests: list[Any] = [session.request(), session.request()]
    array = pixels()
    one = []
    two = []
    for _ in range(5):
        two.append(_two_in_flight(requests))
        started = time.perf_counter()
        for _ in range(ROUNDS):
            requests[0].input("images", SHAPE).host()
            requests[0].start()
            requests[0].wait()
        one.append(ROUNDS / (time.perf_counter() - started))
    run(requests[0], array)
    print(f"{statistics.median(two):.0f} a second with two in flight, {statistics.median(one):.0f} with one")
    assert statistics.median(two) > statistics.median(one)
    session.close()


# --- the whole job ---


def test_a_video_is_labelled_as_on_the_cpu(tmp_path: Path) -> None:
    demo_clip = pytest.importorskip("tools.demo_clip")
    pytest.importorskip("skimage", reason="needs the extra demo")
    from engine.detector import Detector
    from engine.embedder import Embedder
    from engine.enrolment import enroll
    from stream import label_video, read_tracks

    files = demo_clip.build(tmp_path)
    gallery = enroll(files.photos, Detector.open(), Embedder.open()).gallery
    names = {}
    for device in ("cpu", "gpu"):
        detector, embedder = Detector.open(device=device, video=True), Embedder.open(device=device, video=True)
        result = label_video(
            files.clip, tmp_path / f"{device}.mp4", gallery=gallery, detector=detector, embedder=embedder
        )
        frames = read_tracks(result.tracks).frames
        names[device] = [{face.name for face in frame.faces if face.name} for frame in frames]
        detector.close()
        embedder.close()
    same = sum(a == b for a, b in zip(names["cpu"], names["gpu"], strict=True))
    assert same >= 0.98 * len(names["cpu"])
