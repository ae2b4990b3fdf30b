"""Targets out of teachers' answers, and the file of pictures that every process reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("keras")
pytest.importorskip("tensorflow")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engine.errors import InputError, OutputError  # noqa: E402
from train.data.faces import FaceSet  # noqa: E402
from train.embedder_data import Targets, check_measurable, weights_of, write_pictures  # noqa: E402
from train.embedder_memory import Memory, both_halves  # noqa: E402
from train.teachers import Teachers, TeacherSpec  # noqa: E402

COUNT = 20


def faces() -> FaceSet:
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 128, 128, 3), dtype=np.uint8)
    sets = ("celeb",) * (COUNT - 2) + ("group4", "other")
    return FaceSet(pictures, tuple(f"{i}.jpg" for i in range(COUNT)), sets, ("",) * COUNT, ("",) * COUNT)


def teacher(path: Path, seed: int, size: int) -> None:
    """The mean colour of 28-pixel tiles, mapped to `size` numbers."""
    matrix = np.random.default_rng(seed).normal(size=(48, size)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["tiles"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["tiles"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["out"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112]),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", size]),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(matrix, "matrix")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def teachers(tmp_path: Path) -> Teachers:
    specs = (TeacherSpec("a.onnx", 127.5, 127.5), TeacherSpec("b.onnx", 0.0, 1.0))
    teacher(tmp_path / "a.onnx", 1, 12)
    teacher(tmp_path / "b.onnx", 2, 7)
    return Teachers(tmp_path, specs)


def test_the_product_of_two_answers_is_the_mean_of_the_teachers_cosines(teachers: Teachers) -> None:
    crops = faces().centre()
    tiles = crops.reshape(COUNT, 4, 28, 4, 28, 3).mean((2, 4)).transpose(0, 3, 1, 2).reshape(COUNT, -1)
    answers = []
    for seed, size, inputs in ((1, 12, tiles / 127.5 - 1), (2, 7, tiles)):
        raw = inputs @ np.random.default_rng(seed).normal(size=(48, size))
        answers.append(raw / np.linalg.norm(raw, axis=1, keepdims=True))
    expected = sum(a @ a.T for a in answers) / 2
    found = teachers(crops)
    assert found.shape == (COUNT, 19)
    np.testing.assert_allclose(found @ found.T, expected, atol=5e-3)  # some CPUs compute in bfloat16


def test_targets_are_the_answers_in_fewer_dimensions(teachers: Teachers, tmp_path: Path) -> None:
    learn = faces()
    targets = Targets.fit(teachers, learn, 19)
    np.testing.assert_allclose(
        targets.bank @ targets.bank.T, teachers(learn.centre()) @ teachers(learn.centre()).T, atol=1e-4
    )
    fewer = Targets.fit(teachers, learn, 5)
    np.testing.assert_allclose(fewer(learn.centre()), fewer.bank, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fewer.bank, axis=1), 1, atol=1e-5)

    fewer.save(tmp_path / "targets.npz")
    again = Targets.load(teachers, tmp_path / "targets.npz")
    np.testing.assert_array_equal(again.bank, fewer.bank)
    np.testing.assert_array_equal(again(learn.centre()[:3]), fewer(learn.centre()[:3]))
    (tmp_path / "targets.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"targets\.npz cannot be read .*without --resume"):
        Targets.load(teachers, tmp_path / "targets.npz")


def test_what_is_remembered_is_a_second_half_of_the_targets(teachers: Teachers, tmp_path: Path) -> None:
    learn = faces()

    def known(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pictures.reshape(len(pictures), -1)[:, :4].astype(np.float32) + 1

    taught, targets = Targets.fit(teachers, learn, 5), Targets.fit(teachers, learn, 5, known)
    memory = Memory(known, known(learn.centre()).mean(axis=0))
    np.testing.assert_allclose(targets.bank, both_halves(taught.bank, memory(learn.centre())), atol=1e-6)
    np.testing.assert_allclose(targets(learn.centre()), targets.bank, atol=1e-5)

    targets.save(tmp_path / "targets.npz")
    again = Targets.load(teachers, tmp_path / "targets.npz", known)
    np.testing.assert_array_equal(again(learn.centre()[:3]), targets(learn.centre()[:3]))
    taught.save(tmp_path / "taught.npz")
    others = [lambda pictures: known(pictures) + 1, lambda pictures: known(pictures)[:, :3], None]
    for name, function in [("taught.npz", known), *(("targets.npz", other) for other in others)]:
        with pytest.raises(InputError, match=rf"{name}: what it remembers .*--remember .*give it as it was"):
            Targets.load(teachers, tmp_path / name, function)


def test_a_teacher_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"c\.onnx"):
        Teachers(tmp_path, (TeacherSpec("c.onnx", 0.0, 1.0),))


def test_pictures_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = faces()
    write_pictures(learn, tmp_path / "faces.npy")
    mapped = cast("NDArray[np.uint8]", np.load(tmp_path / "faces.npy", mmap_mode="r"))
    np.testing.assert_array_equal(mapped, learn.pictures)
    assert [p.name for p in tmp_path.iterdir()] == ["faces.npy"]
    with pytest.raises(OutputError, match=r"none/faces\.npy"):
        write_pictures(learn, tmp_path / "none" / "faces.npy")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"full\.npy: the disk is full"):
        write_pictures(learn, tmp_path / "full.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["faces.npy"]


def test_the_small_collections_are_drawn_twice_as_often() -> None:
    assert weights_of(faces()).tolist() == [1.0] * (COUNT - 2) + [2.0, 2.0]


@pytest.mark.parametrize("people", [("ann", "ann", ""), ("ann", "bob", ""), ()])
def test_what_nothing_can_be_measured_on_is_refused(people: tuple[str, ...]) -> None:
    """With one person alone, or nobody twice, the first figures would end the training."""
    n = len(people)
    faces = FaceSet(np.zeros((n, 2, 2, 3), np.uint8), ("f",) * n, ("s",) * n, people, ("dev",) * n)
    with pytest.raises(InputError, match=rf"the photos are {n} faces of .* takes two people and two faces of one"):
        check_measurable(faces, "the photos")
