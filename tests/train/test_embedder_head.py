"""Whitening within persons, and folding it into the network."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from train.embedder_head import fit_whitening, fold_in, mirrored, raw_outputs  # noqa: E402
from train.models.embedder import EmbedderDesign, build_embedder  # noqa: E402


def test_after_whitening_every_direction_varies_alike_within_a_person() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    noise = np.array([3.0, 1.0, 0.5, 0.1])
    people = np.repeat(np.arange(400), 5)
    x = rng.normal(size=(400, 4))[people] * 2 + (rng.normal(size=(2000, 4)) * noise) @ turn + 7
    names = tuple(f"p{i}" for i in people)
    white = fit_whitening(x, names, shrink=0.0)
    y = (x - white.offset) @ white.matrix
    centred = y - np.array([y[people == k].mean(0) for k in range(400)])[people]
    np.testing.assert_allclose(centred.T @ centred / 1600, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-9)

    strangers = np.concatenate([x, 100 + rng.normal(size=(50, 4))])
    alone = fit_whitening(strangers, names + ("",) * 49 + ("only one face",), shrink=0.0)
    np.testing.assert_allclose(alone.matrix, white.matrix)

    plain = fit_whitening(x, names, shrink=1.0).matrix
    np.testing.assert_allclose(plain, np.eye(4) * plain[0, 0], atol=1e-9)


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(InputError, match="4 faces of 2 people who have several are too few to whiten 4 dim"):
        fit_whitening(np.zeros((6, 4)), ("a", "a", "b", "b", "c", "d"))


def test_the_network_with_the_map_folded_in_gives_the_mapped_outputs() -> None:
    keras.utils.set_random_seed(1)
    network = build_embedder(EmbedderDesign(4, (4, 8), (0, 0), 6), 16)
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    before = raw_outputs(network, faces)
    white = fit_whitening(before + rng.normal(0, 0.1, before.shape), tuple("abcdefgh" * 5), shrink=0.3)
    fold_in(network, white)
    expected = (before - white.offset) @ white.matrix
    np.testing.assert_allclose(raw_outputs(network, faces), expected, rtol=1e-3, atol=1e-3)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(network(faces.astype(np.float32))), unit, atol=1e-3)


def test_a_face_and_its_mirror_image_get_one_embedding() -> None:
    keras.utils.set_random_seed(1)
    network = build_embedder(EmbedderDesign(4, (4, 8), (0, 0), 6), 16)
    faces = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.float32)
    both = np.asarray(mirrored(network)(tf.constant(faces)))
    np.testing.assert_allclose(np.asarray(mirrored(network)(tf.constant(faces[:, :, ::-1]))), both, atol=1e-5)
    outputs = raw_outputs(network, faces.astype(np.uint8)) + raw_outputs(network, faces[:, :, ::-1].astype(np.uint8))
    np.testing.assert_allclose(both, outputs / np.linalg.norm(outputs, axis=1, keepdims=True), atol=1e-5)
    assert np.abs(np.asarray(network(faces)) - np.asarray(network(faces[:, :, ::-1]))).max() > 1e-3
