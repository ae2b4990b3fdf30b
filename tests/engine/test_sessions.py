"""Both CPU backends behind one protocol: same answers, no copies, honest refusals."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engine.cachefolder import KEPT, cache_folder
from engine.devices import Backend
from engine.errors import InputError, MissingError, UsageError
from engine.runtime import Request, Session, open_session
from tests.networks import PEOPLE, scene

BACKENDS: tuple[Backend, ...] = ("openvino", "onnxruntime")


@pytest.fixture(params=BACKENDS)
def session(request: pytest.FixtureRequest, detector_file: Path) -> Iterator[Session]:
    opened = open_session(detector_file, "cpu", request.param, "f32", threads=1)
    yield opened
    opened.close()


def run(request: Request, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    request.input("images", pixels.shape).host()[...] = pixels
    request.start()
    request.wait()
    return {name: request.output(name).host().copy() for name in ("head8", "head16", "head32")}


def batch(count: int, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        x, y, side = rng.integers(10, 60, 3)
        rows.append(scene(192, 128, [((x, y, x + side, y + side), PEOPLE["ann"])]))
    return np.stack(rows)


def test_says_what_it_is(session: Session, detector_file: Path) -> None:
    assert session.device == "cpu"
    assert session.precision == "f32"
    assert session.model.path == detector_file
    assert [(s.name, s.dtype, s.shape) for s in session.inputs] == [("images", np.dtype(np.uint8), (None,) * 3 + (3,))]
    assert [s.name for s in session.outputs] == ["head8", "head16", "head32"]
    assert all(s.dtype == np.float32 and len(s.shape) == 4 and s.shape[3] in (None, 15) for s in session.outputs)


def test_the_backends_agree(detector_file: Path) -> None:
    pixels = batch(3)
    answers = [run(open_session(detector_file, "cpu", b, "f32", 1).request(), pixels) for b in BACKENDS]
    for name, expected in answers[1].items():
        assert expected[..., 0].max() > 0.5 or name != "head16"
        # Where there is nothing the distances are quotients of two tiny numbers; only scored cells mean anything.
        scored = expected[..., 0] > 0.01
        np.testing.assert_allclose(answers[0][name][..., 0], expected[..., 0], atol=1e-3)
        np.testing.assert_allclose(answers[0][name][scored], expected[scored], atol=1e-2)


def test_shapes_may_change_from_call_to_call(session: Session) -> None:
    request = session.request()
    for count, height, width in ((1, 128, 192), (4, 128, 192), (2, 64, 96), (1, 32, 32), (4, 128, 192)):
        pixels = np.ascontiguousarray(np.resize(batch(1), (count, height, width, 3)))
        answer = run(request, pixels)
        assert answer["head8"].shape == (count, height // 8, width // 8, 15)
        fresh = run(session.request(), pixels)
        np.testing.assert_array_equal(answer["head16"][..., 0], fresh["head16"][..., 0])


def test_counts_its_work_and_copies_nothing(session: Session) -> None:
    request = session.request()
    for count in (1, 3):
        run(request, batch(count))
    work = session.work
    assert (work.requests, work.inferences, work.items, work.copies) == (1, 2, 4, 0)


def test_memory_is_reused_and_read_in_place(session: Session) -> None:
    request = session.request()
    first = request.input("images", (4, 64, 64, 3))
    again = request.input("images", (2, 64, 64, 3))
    assert first.address == again.address == again.host().ctypes.data
    assert (again.shape, again.dtype, again.device) == ((2, 64, 64, 3), np.dtype(np.uint8), "cpu")
    # What is written after `input` and before `start` is what runs, without another word to the backend.
    pixels = batch(1)
    buffer = request.input("images", pixels.shape)
    buffer.host()[...] = 0
    request.start()
    request.wait()
    empty = request.output("head16").host()[..., 0].max()
    buffer = request.input("images", pixels.shape)
    buffer.host()[...] = pixels
    request.start()
    request.wait()
    assert request.output("head16").host()[..., 0].max() > 0.8 > 0.1 > empty


def test_prepared_shapes_give_the_same_answers(session: Session) -> None:
    pixels, others = batch(3), batch(2)
    request = session.request()
    before, before_others = run(request, pixels), run(request, others)
    session.prepare({"images": pixels.shape})
    session.prepare({"images": pixels.shape})
    copies = session.work.copies
    for used in (request, session.request()):
        after, after_others = run(used, pixels), run(used, others)
        for name in before:
            np.testing.assert_allclose(after[name][..., 0], before[name][..., 0], atol=1e-3)
            np.testing.assert_array_equal(after_others[name], before_others[name])
    assert session.work.copies == copies
    with pytest.raises(InputError, match="takes any×any×any×3"):
        session.prepare({"images": (1, 64, 64, 4)})


def test_openvino_compiles_a_prepared_shape_once(detector_file: Path) -> None:
    from engine.openvino_session import OpenVINOSession

    opened = open_session(detector_file, "cpu", "openvino", threads=1)
    assert isinstance(opened, OpenVINOSession)
    for _ in range(2):
        opened.prepare({"images": (2, 64, 96, 3)})
    (compiled,) = opened._compiled.values()
    assert all(port.partial_shape.is_static for port in [*compiled.inputs, *compiled.outputs])


def test_openvino_keeps_what_was_prepared_and_computes_the_same_from_it(
    detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pixels = batch(1)
    answers = []
    for _ in range(2):
        opened = open_session(detector_file, "cpu", "openvino", threads=1)
        opened.prepare({"images": pixels.shape})
        answers.append(run(opened.request(), pixels))
        opened.close()
        (kept,) = (tmp_path / "iznet" / "openvino").iterdir()
    for name, array in answers[0].items():
        np.testing.assert_array_equal(array, answers[1][name])
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:1000])
    opened = open_session(detector_file, "cpu", "openvino", threads=1)
    opened.prepare({"images": pixels.shape})
    np.testing.assert_array_equal(run(opened.request(), pixels)["head8"], answers[0]["head8"])


def test_openvino_reads_no_file_of_a_network_that_it_has_kept(
    detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.cachefolder import keep
    from engine.quiet_openvino import ov

    read, real = [], ov.Core.read_model

    def reading(core: Any, path: Path) -> Any:
        read.append(path)
        return real(core, path)

    monkeypatch.setattr(ov.Core, "read_model", reading)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def start(threads: int = 1) -> Session:
        opened = open_session(detector_file, "cpu", "openvino", threads=threads)
        opened.prepare({"images": (1, 64, 96, 3)})
        return opened

    first, second = start(), start()
    assert read == [detector_file]
    assert (first.inputs, first.outputs) == (second.inputs, second.outputs)
    pixels = batch(1)  # of another shape
    for name, array in run(first.request(), pixels).items():
        np.testing.assert_array_equal(array, run(second.request(), pixels)[name])
    assert read == [detector_file] * 2, "it is read when it has to be compiled"
    start(threads=2)
    assert len(read) == 3, "other settings, another network"
    (kept, _) = sorted((tmp_path / "iznet" / "openvino").iterdir(), key=lambda path: path.stat().st_mtime)
    about = kept.read_bytes().split(b"\n")[1]
    keep(kept, about + b"\nof another version of OpenVINO")
    answer = run(start().request(), np.zeros((1, 64, 96, 3), np.uint8))
    assert answer["head8"].shape == (1, 8, 12, 15)
    assert len(read) == 4


@pytest.mark.parametrize("place", ["file", "nowhere"])
def test_without_a_place_to_keep_anything_networks_run_all_the_same(
    place: str, detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none" if place == "nowhere" else str(tmp_path / place))
    opened = open_session(detector_file, "cpu", "openvino", threads=1)
    opened.prepare({"images": (1, 64, 64, 3)})
    assert run(opened.request(), np.zeros((1, 64, 64, 3), np.uint8))["head8"].shape == (1, 8, 8, 15)


def test_what_is_kept_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder("openvino")
    assert folder is not None
    for n in range(KEPT + 3):
        file = folder / f"{n}.blob"
        file.write_bytes(b"x")
        os.utime(file, (n, n))
    cache_folder("openvino")
    assert sorted(int(path.stem) for path in folder.iterdir()) == list(range(3, KEPT + 3))


def test_who_has_no_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a user that it does not know."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder("openvino") is None


def test_a_shape_that_the_inside_of_a_network_refuses(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "odd",
        [value("x", TensorProto.FLOAT, ["N"])],
        [value("y", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [3, -1])],
    )
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    opened = open_session(path, "cpu", "openvino", threads=1)
    opened.prepare({"x": (6,)})
    with pytest.raises(InputError, match=r"odd\.onnx: OpenVINO cannot run this network at \{'x': \(4,\)\}"):
        opened.prepare({"x": (4,)})


def test_requests_do_not_disturb_each_other(session: Session) -> None:
    one, two = session.request(), session.request()
    a, b = batch(2, seed=1), batch(1, seed=2)
    one.input("images", a.shape).host()[...] = a
    two.input("images", b.shape).host()[...] = b
    one.start()
    two.start()
    two.wait()
    one.wait()
    np.testing.assert_array_equal(one.output("head16").host(), run(session.request(), a)["head16"])
    np.testing.assert_array_equal(two.output("head16").host(), run(session.request(), b)["head16"])


def test_several_threads(session: Session) -> None:
    pixels = [batch(1 + n % 3, seed=n) for n in range(6)]
    alone = [run(session.request(), p)["head16"] for p in pixels]
    found: list[NDArray[np.float32] | None] = [None] * len(pixels)

    def work(n: int) -> None:
        request = session.request()
        for _ in range(3):
            found[n] = run(request, pixels[n])["head16"]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(pixels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for have, want in zip(found, alone, strict=True):
        np.testing.assert_array_equal(have, want)


def test_a_shape_that_does_not_fit(session: Session) -> None:
    with pytest.raises(InputError, match=r"input 'images' takes any×any×any×3, not 1×3×64×64"):
        session.request().input("images", (1, 3, 64, 64))
    with pytest.raises(InputError, match="not 64×64×3"):
        session.request().input("images", (64, 64, 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failure_is_raised_where_it_is_waited_for(backend: Backend, tmp_path: Path) -> None:
    # Two inputs that must have one shape, which nothing checks before the inference.
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "fails",
        [value("x", TensorProto.FLOAT, ["N"])],
        [value("y", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [3, -1])],
    )
    path = tmp_path / "fails.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    request = open_session(path, "cpu", backend, threads=1).request()
    request.input("x", (4,)).host()[...] = 1

    def attempt() -> None:
        request.start()
        request.wait()

    with pytest.raises(Exception, match=r"(?i)shape"):
        attempt()
    request.input("x", (6,)).host()[...] = 1
    attempt()
    assert request.output("y").shape == (3, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_cannot_run(backend: Backend, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(InputError, match=r"odd\.onnx: .* cannot run this network: .*NoSuchOperator"):
        open_session(path, "cpu", backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_means_closed(backend: Backend, detector_file: Path) -> None:
    opened = open_session(detector_file, "cpu", backend)
    opened.close()
    with pytest.raises(RuntimeError, match="closed"):
        opened.request()


def test_what_is_named_and_not_here_is_refused(detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def library() -> None:
        raise MissingError("no driver")

    monkeypatch.setattr("engine.cuda_driver.library", library)
    with pytest.raises(MissingError, match=r"--device gpu: .* use --device cpu"):
        open_session(detector_file, "gpu")
    with pytest.raises(MissingError, match="--backend tensorrt"):
        open_session(detector_file, "auto", "tensorrt")
    with pytest.raises(MissingError, match="bf16"):
        open_session(detector_file, "cpu", "onnxruntime", "bf16")
    with pytest.raises(MissingError, match="precision f16: CPUs compute in f32, bf16 or int8"):
        open_session(detector_file, "cpu", precision="f16")
    with pytest.raises(UsageError, match="use --device cpu with it"):
        open_session(detector_file, "gpu", "openvino")
    with pytest.raises(ValueError, match="threads"):
        open_session(detector_file, "cpu", threads=0)


def test_bf16_is_taken_or_refused(detector_file: Path) -> None:
    from engine.quiet_openvino import core

    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert open_session(detector_file, "cpu", "openvino", "bf16").precision == "bf16"
    else:
        with pytest.raises(MissingError, match="no bfloat16"):
            open_session(detector_file, "cpu", "openvino", "bf16")


def test_auto_says_what_it_computes_in(detector_file: Path) -> None:
    assert open_session(detector_file).precision in ("f32", "bf16")


def test_threads_reach_the_backend(detector_file: Path) -> None:
    from engine.openvino_session import OpenVINOSession

    opened = open_session(detector_file, "cpu", "openvino", threads=1)
    assert isinstance(opened, OpenVINOSession)
    opened.prepare({"images": (1, 64, 64, 3)})
    (compiled,) = opened._compiled.values()
    assert int(compiled.get_property("INFERENCE_NUM_THREADS")) == 1
