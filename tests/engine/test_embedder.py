"""Embeddings: unit vectors, whatever the batch."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest

from engine import Embedder
from engine.devices import Backend
from engine.embedder import unit
from engine.errors import InputError
from tests.networks import PEOPLE, write_detector, write_embedder


def faces(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng(count)
    return np.broadcast_to(rng.integers(0, 255, (count, 1, 1, 3)), (count, 112, 112, 3)).astype(np.uint8)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_computes_what_the_network_says(backend: Backend, embedder_file: Path) -> None:
    crops = faces(3)
    found = Embedder.open(embedder_file, backend=backend, threads=1).embed(crops)
    angles = crops[:, 50, 50, 1:].astype(np.float64) * math.pi / 255
    expected = np.hstack([np.cos(angles), np.sin(angles)]) * math.sqrt(0.5)
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-5)
    assert not found[:, 4:].any()
    assert found.dtype == np.float32
    assert found.shape == (3, 128)


@pytest.mark.parametrize("count", [0, 1, 16, 17, 40])
def test_any_number_of_faces(embedder: Embedder, count: int) -> None:
    before = embedder.session.work.inferences
    crops = faces(count)
    found = embedder.embed(crops)
    assert found.shape == (count, embedder.dimension)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert embedder.session.work.inferences - before == -(-count // 16)
    one_by_one = [embedder.embed(crop[None])[0] for crop in crops]
    for a, b in zip(found, one_by_one, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_face_and_its_mirror_image_have_one_embedding_where_both_are_looked_at() -> None:
    with contextlib.closing(Embedder.open(backend="onnxruntime", threads=1)) as embedder:
        crops = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), dtype=np.uint8)
        other = np.ascontiguousarray(crops[:, :, ::-1])
        before = embedder.session.work.items
        found = embedder.embed(crops, mirrored=True)
        assert embedder.session.work.items == before + 4
        plain, turned = embedder.embed(crops), embedder.embed(other)
        assert (np.einsum("nd,nd->n", plain, turned) < 0.999).all()
        np.testing.assert_allclose(found, unit(plain + turned), atol=1e-6)
        np.testing.assert_allclose(embedder.embed(other, mirrored=True), found, atol=1e-6)
        assert embedder.embed(crops[:0], mirrored=True).shape == (0, embedder.dimension)


def test_a_job_is_filled_in_place(embedder: Embedder) -> None:
    copies = embedder.session.work.copies
    one, two = embedder.job(1), embedder.job(2)
    one.faces[...] = PEOPLE["ann"]
    two.faces[...] = PEOPLE["ben"]
    one.start()
    two.start()
    ben, ann = two.result(), one.result()
    assert ann @ ben[0] < 0.2
    np.testing.assert_array_equal(ben[0], ben[1])
    assert embedder.session.work.copies == copies
    with pytest.raises(RuntimeError, match="once"):
        one.result()


def test_results_do_not_change_afterwards(embedder: Embedder) -> None:
    first = embedder.embed(faces(2))
    kept = first.copy()
    embedder.embed(faces(5)[1:3])
    np.testing.assert_array_equal(first, kept)


def test_says_what_it_is(embedder: Embedder) -> None:
    assert (embedder.name, embedder.dimension, embedder.threshold) == ("colours", 128, 0.9)
    assert (embedder.device, embedder.backend) == ("cpu", "openvino")
    assert len(embedder.sha256) == 64


def test_another_dimension(tmp_path: Path) -> None:
    assert Embedder.open(write_embedder(tmp_path / "e.onnx", 512)).embed(faces(1)).shape == (1, 512)


def test_unit_leaves_zeros_alone() -> None:
    vectors = np.array([[3, 4], [0, 0], [1e-20, 0]], np.float32)
    np.testing.assert_allclose(unit(vectors), np.array([[0.6, 0.8], [0, 0], [1, 0]]), rtol=1e-6)


@pytest.mark.parametrize("shape", [(112, 112, 3), (1, 112, 111, 3), (1, 3, 112, 112)])
def test_other_shapes(embedder: Embedder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[N,112,112,3\]"):
        embedder.embed(np.zeros(shape, np.uint8))


def test_other_dtypes(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="float32"):
        embedder.embed(np.zeros((1, 112, 112, 3), np.float32))
    with pytest.raises(ValueError, match="at least 1"):
        embedder.job(0)


def test_networks_that_are_no_embedder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"kind 'detector'; an embedder carries"):
        Embedder.open(write_detector(tmp_path / "d.onnx"))
    path = write_detector(tmp_path / "odd.onnx", metadata={"iznet.kind": "embedder"})
    with pytest.raises(InputError, match=r"odd\.onnx: an embedder has one input, faces"):
        Embedder.open(path)
    with pytest.raises(InputError, match=r"iznet\.threshold"):
        Embedder.open(write_embedder(tmp_path / "e.onnx", metadata={"iznet.threshold": ""}))
    for strangers in ("0.95", "nan", "-2"):
        with pytest.raises(InputError, match=r"strangers with a mean cosine of"):
            Embedder.open(write_embedder(tmp_path / "e.onnx", metadata={"iznet.strangers": strangers}))


def test_says_how_alike_strangers_are(embedder: Embedder, tmp_path: Path) -> None:
    assert embedder.strangers == 0
    assert Embedder.open(write_embedder(tmp_path / "e.onnx", metadata={"iznet.strangers": "0.7"})).strangers == 0.7
