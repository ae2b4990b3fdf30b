"""A warm start: what is put into the network, what is fitted, and what must not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from engine.errors import InputError  # noqa: E402
from train.data.dlib_network import Convolution, DlibNetwork  # noqa: E402
from train.data.views import ViewStore  # noqa: E402
from train.embedder import Feed, Recipe, Trainer  # noqa: E402
from train.embedder_warm import (  # noqa: E402
    BothTargets,
    answer_file,
    fit_head,
    fit_reduction,
    go_on,
    measure_statistics,
    own_answers,
    warm_start,
)
from train.models.dlib_resnet import MEAN, DlibDesign, reduce_output  # noqa: E402

DESIGN = DlibDesign(channels=(4, 6), blocks=(1, 1), dimension=5, side=40)
FACES = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), dtype=np.uint8)


def source(design: DlibDesign = DESIGN) -> DlibNetwork:
    """Random weights in the form of dlib's."""
    rng = np.random.default_rng(1)
    shapes, inputs = [(7, 3, design.channels[0], 2)], design.channels[0]
    for level, (channels, blocks) in enumerate(zip(design.channels, design.blocks, strict=True)):
        for block in range(blocks):
            shapes += [(3, inputs, channels, 2 if level and not block else 1), (3, channels, channels, 1)]
            inputs = channels

    def convolution(size: int, inputs: int, outputs: int, stride: int) -> Convolution:
        kernel = rng.normal(0, 1 / (size * np.sqrt(inputs)), (size, size, inputs, outputs)).astype(np.float32)
        bias, gain, shift = rng.normal(1, 0.3, (3, outputs)).astype(np.float32)
        return Convolution(kernel, bias, gain, shift, stride, size // 2 if stride == 1 else 0)

    dense = rng.normal(size=(inputs, design.dimension)).astype(np.float32)
    return DlibNetwork(design.side, MEAN, tuple(convolution(*s) for s in shapes), dense, ())


def targets(count: int) -> np.ndarray:
    t = np.random.default_rng(2).normal(size=(count, 2, DESIGN.dimension))
    t /= np.linalg.norm(t, axis=2, keepdims=True)
    return np.asarray(t.reshape(count, -1) / np.sqrt(2), np.float32)


def embed(network: Any, *, training: bool = False) -> np.ndarray:
    return np.asarray(network(tf.constant(FACES, tf.float32), training=training))


def test_the_first_half_is_dlibs_answer_and_the_lengths_are_as_promised() -> None:
    network = DESIGN.build()
    warm_start(network, source(), FACES, targets(12))
    halves = embed(network).reshape(12, 2, -1)
    own = embed(DESIGN.build_own(source()))
    np.testing.assert_allclose(np.linalg.norm(halves[:, 1], axis=1), 0.5 / np.sqrt(1.25), atol=1e-5)
    np.testing.assert_allclose(halves[:, 0] * np.sqrt(1.25), own, atol=2e-3)


def test_measuring_the_statistics_changes_no_answer() -> None:
    network = DESIGN.build_own(source())
    before = embed(network)
    measure_statistics(network, FACES, batch=5)
    np.testing.assert_allclose(embed(network), before, atol=1e-4)
    # And they are right: normalising by the moments of these very faces is the same as by the averages.
    np.testing.assert_allclose(embed(network, training=True), before, atol=1e-3)


def test_the_head_is_the_least_squares_one() -> None:
    network, wanted = DESIGN.build(), targets(12)[:, :5]
    fit_head(network, FACES, wanted, ridge=1e-9)
    features = np.asarray(keras.Model(network.input, network.get_layer("head_pool").output)(FACES.astype(np.float32)))
    with_one = np.concatenate([features, np.ones((12, 1))], axis=1).astype(np.float64)
    best = with_one @ np.linalg.lstsq(with_one, wanted, rcond=None)[0]
    kernel, bias = network.get_layer("head_dense").get_weights()
    np.testing.assert_allclose(features @ kernel + bias, best, atol=5e-3)


def test_an_answer_does_not_depend_on_the_other_faces_or_on_the_way_it_is_called(tmp_path: Path) -> None:
    network = DESIGN.build()
    warm_start(network, source(), FACES, targets(12))
    together = embed(network)
    one_by_one = np.concatenate([np.asarray(network(FACES[i : i + 1].astype(np.float32))) for i in range(12)])
    np.testing.assert_allclose(one_by_one, together, atol=1e-4)  # processors add up a batch of one in another order
    network.save(tmp_path / "n.keras")
    np.testing.assert_allclose(embed(keras.saving.load_model(tmp_path / "n.keras")), together, atol=1e-5)


def test_another_network_is_refused() -> None:
    other = replace(DESIGN, channels=(4, 8))
    with pytest.raises(InputError, match="other layers"):
        warm_start(DESIGN.build(), source(other), FACES, targets(12))
    with pytest.raises(InputError, match="another mean"):
        warm_start(DESIGN.build(), replace(source(), mean=(0.0, 0.0, 0.0)), FACES, targets(12))


def test_going_on_takes_the_earlier_weights_and_fits_the_head_to_the_targets_of_now(tmp_path: Path) -> None:
    earlier, wanted = DESIGN.build(), targets(12)
    warm_start(earlier, source(), FACES, wanted)
    kernel = np.random.default_rng(4).normal(size=(10, 3)).astype(np.float32)
    reduce_output(earlier, kernel, np.zeros(3, np.float32)).save(tmp_path / "embedder.keras")
    network = DESIGN.build()
    turned = np.roll(wanted.reshape(12, 2, -1), 1, axis=2).reshape(12, -1)
    go_on(network, tmp_path / "embedder.keras", FACES, turned)
    before, after = embed(earlier).reshape(12, 2, -1), embed(network).reshape(12, 2, -1)
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-5)
    np.testing.assert_allclose(after[:, 1], np.roll(before[:, 1], 1, axis=1), atol=1e-4)


def test_what_cannot_be_gone_on_from_is_refused(tmp_path: Path) -> None:
    other = replace(DESIGN, channels=(4, 8))
    other.build().save(tmp_path / "other.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK")
    for name in ("other.keras", "broken.keras", "none.keras"):
        with pytest.raises(InputError, match=name):
            go_on(DESIGN.build(), tmp_path / name, FACES, targets(12))


def test_targets_weigh_both_spaces(tmp_path: Path) -> None:
    views = ViewStore(tmp_path / "views")
    answers = np.random.default_rng(3).normal(size=(12, 7)).astype(np.float16)
    views.write(0, FACES, answers)
    own_answers(views, source(), tmp_path / "dlib", DESIGN)
    made = BothTargets(tmp_path / "dlib", np.eye(7, 5, dtype=np.float32), 0.5)(0, answers)
    own = embed(DESIGN.build_own(source()))
    theirs = answers[:, :5].astype(np.float64)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(made @ made.T, (own @ own.T + 0.25 * theirs @ theirs.T) / 1.25, atol=5e-3)

    old = answer_file(tmp_path / "dlib", 0).stat().st_mtime_ns
    views.write(1, FACES, answers)
    own_answers(views, source(), tmp_path / "dlib", DESIGN)
    assert answer_file(tmp_path / "dlib", 0).stat().st_mtime_ns == old
    answer_file(tmp_path / "dlib", 1).write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="0001"):
        BothTargets(tmp_path / "dlib", np.eye(7, 5, dtype=np.float32), 0.5)(1, answers)


def test_frozen_layers_stay_and_the_others_learn(tmp_path: Path) -> None:
    views = ViewStore(tmp_path)
    views.write(0, FACES, np.zeros((12, 1), np.float16))
    recipe = Recipe(steps=3, batch=4, warm_up=1, design=DESIGN, frozen=("stem*", "level1*"))
    wanted = targets(12)
    trainer = Trainer(
        recipe, Feed(views, lambda number, answers: wanted, recipe), lambda n: warm_start(n, source(), FACES, wanted)
    )
    before = {layer.name: layer.get_weights() for layer in trainer.network.layers}
    trainer.run(3)
    for layer in trainer.network.layers:
        changed = [not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True)]
        if changed:
            assert all(changed) != layer.name.startswith(("stem", "level1")), layer.name
            assert any(changed) != layer.name.startswith(("stem", "level1")), layer.name
    assert "without stem*+level1*" in recipe.architecture


def test_reducing_is_a_linear_map_and_unit_length() -> None:
    network = DESIGN.build()
    kernel = np.random.default_rng(4).normal(size=(10, 3)).astype(np.float32)
    bias = np.array([0.1, -0.2, 0.3], np.float32)
    expected = embed(network) @ kernel + bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(reduce_output(network, kernel, bias)), expected, atol=1e-5)


def test_the_reduction_weighs_and_centres() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal([3, 0, 0, 0, 1, 0], 0.3, (500, 6)).astype(np.float32)
    whole = fit_reduction(x, 2.0, 6, centring=1.0)
    weighed = x * np.array([1, 1, 1, 2, 2, 2], np.float32)
    centred = weighed - weighed.mean(0)
    y = x @ whole.kernel + whole.bias
    np.testing.assert_allclose(y @ y.T, centred @ centred.T, atol=1e-3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    none = fit_reduction(x, 2.0, 6, centring=0.0)
    np.testing.assert_allclose(none.bias, 0)
    first = fit_reduction(x, 1.0, 1, centring=0.0).kernel[:, 0]
    assert abs(first[0]) > 0.9  # without centring the mean's direction is the principal one
