"""Building engines, checking and keeping them."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine import tensorrt_build, tensorrt_engines
from engine.cuda_device import close_device, open_device
from engine.engine_cache import EngineCache, EngineKey
from engine.errors import InputError, MissingError, UsageError
from engine.modelfile import ModelFile
from engine.runtime import open_session
from engine.tensorrt_accuracy import Accuracy, made_up
from engine.tensorrt_build import BuildOptions, build_plan
from engine.tensorrt_engines import Built, build_engine
from engine.tensorrt_profile import Profile, default_profiles, explicit_profile, parse_shape
from tests.engine.tensorrt.double import Machine
from tests.engine.tensorrt.double.trt import unsealed
from tests.networks import PEOPLE, scene

SIZE = 128


@pytest.fixture
def package() -> str:
    """One is enough here: `test_session.py` goes through both."""
    return "pycuda"


@pytest.fixture
def model(detector_file: Path) -> ModelFile:
    return ModelFile.read(detector_file)


def build(model: ModelFile, **options: Any) -> Built:
    profiles = options.pop("profiles", default_profiles(model, SIZE))
    return build_engine(model, options.pop("precision", "f32"), profiles, size=SIZE, **options)


def kept(built: Built) -> tuple[Path, dict[str, Any]]:
    assert built.engine.path is not None
    return built.engine.path, json.loads(built.engine.path.with_suffix(".json").read_text("utf-8"))


# --- building ---


def test_what_the_builder_is_told(machine: Machine, model: ModelFile) -> None:
    path, _ = kept(build(model, options=BuildOptions(level=4)))
    opened = unsealed(path.read_bytes())
    assert opened is not None, "the plan is exactly what TensorRT wrote"
    header = opened[0]
    assert header["profiles"] == [
        {"images": [[1, 32, 32, 3], [1, 96, 128, 3], [8, 128, 128, 3]]},
        {"images": [[1, 32, 32, 3], [1, 256, 256, 3], [1, 256, 256, 3]]},
    ]
    assert (header["aux"], header["level"], header["tf32"]) == (0, 4, False)
    assert (header["tensorrt"], header["gpu"]) == (machine.tensorrt, machine.name)


def test_f16_leaves_tensor_cores_their_way(machine: Machine, model: ModelFile) -> None:
    path, _ = kept(build(model, precision="f16"))
    opened = unsealed(path.read_bytes())
    assert opened is not None
    assert opened[0]["tf32"], "TF32 is switched off where f32 was asked for, and only there"


def test_tells_how_far_it_is(machine: Machine, model: ModelFile) -> None:
    told: list[tuple[str, int, int]] = []
    build(model, progress=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "Building"][::4] == [("Building", 0, 4), ("Building", 4, 4)]
    assert {part for part, _, _ in told} == {"Building"}, "what goes on inside a part is not told"


@pytest.mark.parametrize("shown", [True, False], ids=["progress", "log"])
def test_a_long_build_is_no_silence(
    machine: Machine,
    model: ModelFile,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    shown: bool,
) -> None:
    monkeypatch.setattr(tensorrt_build, "BEAT", 0.001)
    build(model, progress=(lambda *_: time.sleep(0.01)) if shown else None)
    said = [
        line for line in caplog.messages if line.startswith(f"still building the engine of {model.name}: 0 s so far")
    ]
    assert bool(said) != shown


def test_ctrl_c_ends_a_build_at_its_next_step(machine: Machine, model: ModelFile) -> None:
    def interrupt(part: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(model, progress=interrupt)
    assert machine.layers_timed < 4
    assert not machine.stack()
    assert not list(_folder().glob("*.plan"))
    build(model)


def test_timings_are_kept_between_builds(machine: Machine, model: ModelFile) -> None:
    build(model)
    timed = machine.layers_timed
    assert timed
    build(model, rebuild=True)
    assert machine.builds == 2
    assert machine.layers_timed == timed
    (_folder() / "timings.cache").write_bytes(b"no timings")
    build(model, rebuild=True)
    assert machine.layers_timed == 2 * timed


def test_timings_of_another_gpu_are_not_used(
    machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(model)
    timed = machine.layers_timed
    _later(machine, monkeypatch, "name", "Another GPU")
    build(model)
    assert machine.layers_timed == 2 * timed


def test_a_network_that_tensorrt_cannot_read(machine: Machine, model: ModelFile, tmp_path: Path) -> None:
    network = onnx.load(model.path)
    network.graph.node.append(onnx.helper.make_node("NoSuchOperator", ["head8"], ["odd"], domain="com.odd"))
    network.opset_import.append(onnx.helper.make_opsetid("com.odd", 1))
    path = tmp_path / "odd.onnx"
    path.write_bytes(network.SerializeToString())
    with pytest.raises(InputError, match=r"odd\.onnx: TensorRT cannot read this network: .*NoSuchOperator"):
        build(ModelFile.read(path))
    assert not machine.stack()


def test_sizes_that_a_network_is_not_made_for(machine: Machine, model: ModelFile) -> None:
    for profile in (
        Profile("images", (1, 32, 32, 4), (1, 32, 32, 4), (1, 32, 32, 4)),
        Profile("images", (1, 32), (1, 32), (1, 32)),
        Profile("faces", (1, 32, 32, 3), (1, 32, 32, 3), (1, 32, 32, 3)),
    ):
        with pytest.raises(InputError, match=r"its input is images \?x\?x\?x3, which is not made for"):
            build_plan(model, "f32", (profile,), open_device())


def test_sizes_are_read_and_checked(model: ModelFile) -> None:
    assert parse_shape("1×64,64x3") == (1, 64, 64, 3)
    for text in ("", "1x", "0x3", "axb", "1 x 2"):
        with pytest.raises(UsageError, match="write it like"):
            parse_shape(text)
    assert explicit_profile(model, "1x32x32x3", "1x64x64x3", "2x64x96x3").covers((2, 64, 64, 3))
    for shapes in (("2x32x32x3", "1x32x32x3", "2x32x32x3"), ("1x32x32x3", "1x32x32x3", "1x32x32")):
        with pytest.raises(UsageError, match="must grow from min to opt to max"):
            explicit_profile(model, *shapes)


def test_every_size_that_the_package_asks_for_lies_in_a_default_profile(model: ModelFile) -> None:
    for size in (64, 320, 640, 1000, 1280):
        profiles = default_profiles(model, size)
        side = -(-size // 32) * 32
        for shape in ((8, side, side, 3), (8, side, 32, 3), (1, 2 * size // 32 * 32, 32, 3), (1, 128, 64, 3)):
            assert any(profile.covers(shape) for profile in profiles), (size, shape)


# --- checking ---


def test_an_engine_is_held_against_its_network(machine: Machine, model: ModelFile, embedder_file: Path) -> None:
    pictures = [
        scene(192, 128, [((40, 30, 90, 80), PEOPLE["ann"])]),
        scene(128, 128, [((9, 9, 50, 60), PEOPLE["cho"])]),
    ]
    accuracy = build(model, pictures=pictures).accuracy
    assert accuracy is not None
    assert (accuracy.pictures, accuracy.faces, accuracy.ap) == (2, 2, 1.0)
    assert accuracy.score == 0
    embedder = ModelFile.read(embedder_file)
    found = build_engine(embedder, "f32", default_profiles(embedder)).accuracy
    assert found is not None
    assert found.cosine == pytest.approx(1, abs=1e-6)
    assert (found.ap, found.faces) == (None, 0)


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (Accuracy(3, 3, score=0.021, ap=0.99), "a score is off by 0.021, where 0.02 is allowed"),
        (Accuracy(3, 3, score=0.0, ap=0.979), "AP of 0.979, where 0.98 is asked"),
        (Accuracy(3, 3, cosine=0.9989, worst_cosine=0.5), "cosine .* is 0.9989, where 0.999 is asked"),
        (Accuracy(3, 3, score=float("nan")), "off by nan"),
    ],
)
def test_what_is_off_is_refused_and_not_kept(
    accuracy: Accuracy, words: str, machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_engines, "measure", lambda *_: accuracy)
    with pytest.raises(InputError, match=f"its engine in f16 is refused: .*{words}.*use --precision f32"):
        build(model, precision="f16")
    assert not list(_folder().glob("*.plan"))
    monkeypatch.undo()


def test_a_network_that_comes_out_wrong_is_noticed(
    machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not only in numbers made up by a test: the engine of a network with other weights."""
    network = onnx.load(model.path)
    for value in network.graph.initializer:
        array = onnx.numpy_helper.to_array(value)
        if array.ndim == 4:
            value.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(1.3), value.name))
    path = tmp_path / "wrong.onnx"
    path.write_bytes(network.SerializeToString())
    monkeypatch.setattr(
        tensorrt_engines, "build_plan", lambda model, *others: build_plan(ModelFile.read(path), *others)
    )
    with pytest.raises(InputError, match="is refused"):
        build(model, pictures=[scene(192, 128, [((20, 30, 120, 120), PEOPLE["ann"])])])


def test_pictures_without_a_face_check_nothing(machine: Machine, model: ModelFile) -> None:
    with pytest.raises(InputError, match="no face is on the pictures"):
        build(model, pictures=[scene(128, 128)])


def test_made_up_pictures_are_the_same_every_time() -> None:
    first, again = made_up(2, 40, 60), made_up(2, 40, 60)
    np.testing.assert_array_equal(first, again)
    assert first[0].shape == (40, 60, 3)
    assert first[0].std() > 20
    assert (first[0] != first[1]).any()


def test_a_quantised_network_is_given_more_room(
    machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_engines, "measure", lambda *_: Accuracy(3, 3, score=0.2, ap=0.96))
    quantised = replace(model, metadata=dict(model.metadata) | {"iznet.precision": "int8"})
    assert build(quantised, precision="f16").accuracy is not None
    with pytest.raises(InputError, match="is refused"):
        build(model, precision="f16", rebuild=True)


# --- keeping ---


def test_the_second_time_nothing_is_built(machine: Machine, model: ModelFile) -> None:
    first, again = build(model), build(model)
    assert machine.builds == 1
    assert again.accuracy is None
    assert again.engine == first.engine
    path, sidecar = kept(first)
    assert sidecar["key"]["network"] == model.sha256
    assert sidecar["plan"]["bytes"] == path.stat().st_size
    assert sidecar["accuracy"]["score"] == 0


def _key(model: ModelFile, **changes: Any) -> EngineKey:
    device = open_device()
    key = EngineKey.of(model, "f32", default_profiles(model, SIZE), device.info, "11.4.0.106")
    return replace(key, **changes)


@pytest.mark.parametrize(
    "change",
    [
        {"network": "0" * 64},
        {"precision": "f16"},
        {"profiles": (Profile("images", (1, 32, 32, 3), (1, 32, 32, 3), (9, 64, 64, 3)),)},
        {"options": BuildOptions(level=5)},
        {"options": BuildOptions(workspace=1)},
        {"tensorrt": "11.4.0.107"},
        {"gpu": "Another GPU"},
        {"capability": "9.0"},
        {"cuda": 14},
        {"system": "Windows AMD64"},
        {"recipe": 0},
    ],
    ids=str,
)
def test_an_engine_of_another_key_is_not_found(change: dict[str, Any], machine: Machine, model: ModelFile) -> None:
    cache = EngineCache.open()
    cache.store(_key(model), "detector", b"a plan", {})
    assert cache.find(_key(model)) is not None
    other = _key(model, **change)
    assert cache.find(other) is None
    assert (cache.find(other, any_options=True) is not None) == ("options" in change)
    assert other.digest != _key(model).digest


def test_precisions_have_engines_of_their_own(machine: Machine, model: ModelFile) -> None:
    for precision in ("f32", "f16", "f32"):
        session = open_session(model, "gpu", precision=precision, size=SIZE)
        assert session.precision == precision
        session.close()
        assert machine.loaded[-1].arithmetic == precision
    assert machine.builds == 2


def test_an_engine_for_more_sizes_serves_fewer(machine: Machine, model: ModelFile) -> None:
    large = default_profiles(model, 2 * SIZE)
    build(model, profiles=large)
    assert build(model).engine.profiles == large
    assert machine.builds == 1
    build(model, profiles=default_profiles(model, 4 * SIZE))
    assert machine.builds == 2


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        ("tensorrt", "11.5.0.1", "TensorRT was 11.4.0.106 and is 11.5.0.1"),
        ("name", "Another GPU", "the GPU was Pretended GPU and is Another GPU"),
        ("capability", (9, 0), "the compute capability was 8.9 and is 9.0"),
        ("cuda", 14000, "CUDA was 13 and is 14"),
    ],
)
def test_a_stale_engine_is_built_anew_with_a_line_that_says_why(
    change: str,
    value: object,
    words: str,
    machine: Machine,
    model: ModelFile,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build(model)
    assert "because" not in caplog.text
    _later(machine, monkeypatch, change, value)
    with caplog.at_level(logging.WARNING):
        build(model)
    assert f"because {words}" in caplog.text
    assert machine.builds == 2


def test_options_are_a_reason_to_who_asks_for_them_alone(
    machine: Machine, model: ModelFile, caplog: pytest.LogCaptureFixture
) -> None:
    build(model, options=BuildOptions(level=5))
    build(model, profiles=default_profiles(model, 2 * SIZE))
    assert "because other sizes are wanted" in caplog.text
    assert "options" not in caplog.text
    build(model, options=BuildOptions(level=4))
    assert "because the builder's options" in caplog.text
    assert machine.builds == 3


def test_other_sizes_are_a_reason_too(machine: Machine, model: ModelFile, caplog: pytest.LogCaptureFixture) -> None:
    build(model)
    build(model, profiles=default_profiles(model, 2 * SIZE))
    assert "because other sizes are wanted: images 1x32x32x3 … 8x256x256x3" in caplog.text


@pytest.mark.parametrize("damage", ["cut short", "replaced", "gone", "a byte"])
def test_a_damaged_plan_is_noticed_and_not_loaded(
    damage: str, machine: Machine, model: ModelFile, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = kept(build(model))
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        changed = {"cut short": data[:-1], "replaced": data + b"more", "a byte": b"\x00" + data[1:]}
        path.write_bytes(changed[damage])
    loaded = len(machine.loaded)
    assert build(model).engine.plan == data
    assert machine.builds == 2
    assert len(machine.loaded) == loaded + 1, "only the new one was loaded, to be checked"
    assert "is damaged, or was replaced" in caplog.text
    assert path.read_bytes() == data


def test_a_network_may_call_itself_anything(machine: Machine, model: ModelFile) -> None:
    named = replace(model, metadata=dict(model.metadata) | {"iznet.name": "../a/b: 대현.v2"})
    path, sidecar = kept(build(named))
    assert path.parent == _folder()
    assert path.name.startswith(".._a_b__대현.v2-f32-")
    assert sidecar["name"] == "../a/b: 대현.v2"
    assert build(named).accuracy is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "iznet.engine/2", "key": {}}'])
def test_a_sidecar_that_says_nothing_is_passed_over(text: str, machine: Machine, model: ModelFile) -> None:
    path, _ = kept(build(model))
    path.with_suffix(".json").write_text(text, "utf-8")
    build(model)
    assert machine.builds == 2


def test_who_waited_for_a_build_takes_what_was_built(
    machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has looked, found nothing and come to the lock while the first is in the middle of building."""
    come = threading.Semaphore(0)
    real = EngineCache.building

    def building(cache: EngineCache) -> AbstractContextManager[None]:
        come.release()
        return real(cache)

    def wait_for_the_other(part: str, done: int, total: int) -> None:
        if done == 1:
            assert come.acquire(timeout=60)
            assert come.acquire(timeout=60)

    monkeypatch.setattr(EngineCache, "building", building)
    found: list[Built] = []
    threads = [
        threading.Thread(target=lambda: found.append(build(model, progress=wait_for_the_other))),
        threading.Thread(target=lambda: found.append(build(model))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert machine.builds == 1
    assert found[0].engine == found[1].engine


def test_without_a_place_to_keep_it_an_engine_serves_this_process(
    machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert build(model).engine.path is None
    session = open_session(model, "gpu", precision="f32", size=SIZE)
    session.close()


def test_a_full_disk_costs_the_keeping_alone(
    machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".part" in path.suffixes and "timings" not in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert build(model).engine.path is None
    assert "cannot be kept" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("what", ["write", "replace", "read"])
def test_timings_that_cannot_be_kept_or_read_cost_no_engine(
    what: str, machine: Machine, model: ModelFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (_folder() / "timings.cache").write_bytes(b"")
    name = {"write": "write_bytes", "replace": "replace", "read": "read_bytes"}[what]
    real = getattr(Path, name)

    def failing(path: Path, *rest: Any) -> Any:
        if "timings" in path.name:
            raise OSError(28, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(Path, name, failing)
    path, _ = kept(build(model))
    assert path.is_file()
    words = "timings.cache cannot be read (No space" if what == "read" else "timings.cache: the disk is full"
    assert words in caplog.text
    assert machine.builds == 1
    assert build(model).accuracy is None


def test_what_is_used_stays_longest(machine: Machine, model: ModelFile) -> None:
    path, _ = kept(build(model))
    for file in (path, path.with_suffix(".json")):
        os.utime(file, (1, 1))
    build(model)
    assert min(file.stat().st_mtime for file in (path, path.with_suffix(".json"))) > 1


def test_precision_by_name(machine: Machine, model: ModelFile) -> None:
    assert tensorrt_engines.gpu_precision("auto") == "f16"
    with pytest.raises(MissingError, match="bf16"):
        open_session(model, "gpu", precision="bf16")
    with pytest.raises(InputError, match="is in f32; `iznet train quantize-detector`"):
        open_session(model, "gpu", precision="int8", size=SIZE)


def _later(machine: Machine, monkeypatch: pytest.MonkeyPatch, change: str, value: object) -> None:
    """Go on as another process, which finds something changed."""
    close_device()
    setattr(machine, change, value)
    monkeypatch.setattr("tensorrt.__version__", machine.tensorrt)


def _folder() -> Path:
    folder = EngineCache.open().folder
    assert folder is not None
    return folder
