"""A warm start: what is put into the network, what is fitted, and what must not change."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from engine.errors import InputError  # noqa: E402
from train.data.dlib_network import Convolution, DlibNetwork  # noqa: E402
from train.data.views import Views  # noqa: E402
from train.embedder import Recipe, Trainer  # noqa: E402
from train.embedder_recipe import train_and_export  # noqa: E402
from train.embedder_warm import fit_head, go_on, mix, warm_start  # noqa: E402
from train.models.dlib_resnet import MEAN, DlibDesign, load_dlib_weights  # noqa: E402
from train.models.layers import measure_statistics  # noqa: E402

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


def load(network: Any, weights: DlibNetwork | None = None) -> None:
    load_dlib_weights(network, weights or source())


def targets(count: int) -> np.ndarray:
    t = np.random.default_rng(2).normal(size=(count, DESIGN.dimension))
    return np.asarray(t / np.linalg.norm(t, axis=1, keepdims=True), np.float32)


def embed(network: Any, *, training: bool = False) -> np.ndarray:
    return np.asarray(network(tf.constant(FACES, tf.float32), training=training))


def test_measuring_the_statistics_changes_no_answer() -> None:
    network = DESIGN.build()
    load_dlib_weights(network, source())
    before = embed(network)
    measure_statistics(network, [FACES[:5], FACES[5:]])
    np.testing.assert_allclose(embed(network), before, atol=1e-4)
    # And they are right: normalising by the moments of these very faces is the same as by the averages.
    np.testing.assert_allclose(embed(network, training=True), before, atol=1e-3)


def test_the_head_is_the_least_squares_one() -> None:
    network, wanted = DESIGN.build(), targets(12)
    fit_head(network, FACES, wanted, ridge=1e-9)
    features = np.asarray(keras.Model(network.input, network.get_layer("head_pool").output)(FACES.astype(np.float32)))
    with_one = np.concatenate([features, np.ones((12, 1))], axis=1).astype(np.float64)
    best = with_one @ np.linalg.lstsq(with_one, wanted, rcond=None)[0]
    kernel, bias = network.get_layer("head_dense").get_weights()
    np.testing.assert_allclose(features @ kernel + bias, best, atol=5e-3)


def test_an_answer_does_not_depend_on_the_other_faces_or_on_the_way_it_is_called(tmp_path: Path) -> None:
    network = DESIGN.build()
    warm_start(network, load, FACES, targets(12))
    together = embed(network)
    one_by_one = np.concatenate([np.asarray(network(FACES[i : i + 1].astype(np.float32))) for i in range(12)])
    np.testing.assert_allclose(one_by_one, together, atol=1e-4)  # processors add up a batch of one in another order
    network.save(tmp_path / "n.keras")
    np.testing.assert_allclose(embed(keras.saving.load_model(tmp_path / "n.keras")), together, atol=1e-5)


def test_another_network_is_refused() -> None:
    other = replace(DESIGN, channels=(4, 8))
    with pytest.raises(InputError, match="other layers"):
        warm_start(DESIGN.build(), partial(load, weights=source(other)), FACES, targets(12))
    with pytest.raises(InputError, match="another mean"):
        warm_start(DESIGN.build(), partial(load, weights=replace(source(), mean=(0.0, 0.0, 0.0))), FACES, targets(12))


def test_going_on_takes_the_earlier_weights_and_fits_the_head_to_the_targets_of_now(tmp_path: Path) -> None:
    earlier, wanted = DESIGN.build(), targets(12)
    warm_start(earlier, load, FACES, wanted)
    earlier.save(tmp_path / "embedder.keras")
    network = DESIGN.build()
    go_on(network, tmp_path / "embedder.keras", FACES, np.roll(wanted, 1, axis=1))
    np.testing.assert_allclose(embed(network), np.roll(embed(earlier), 1, axis=1), atol=1e-4)


def test_what_cannot_be_gone_on_from_is_refused(tmp_path: Path) -> None:
    other = replace(DESIGN, channels=(4, 8))
    other.build().save(tmp_path / "other.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK")
    for name in ("other.keras", "broken.keras", "none.keras"):
        with pytest.raises(InputError, match=name):
            go_on(DESIGN.build(), tmp_path / name, FACES, targets(12))


def test_frozen_layers_stay_and_the_others_learn(tmp_path: Path) -> None:
    recipe = Recipe(steps=3, batch=4, warm_up=1, design=DESIGN, frozen=("stem*", "level1*"))
    wanted = targets(12)
    trainer = Trainer(
        recipe, lambda scenes: wanted[: len(scenes)], wanted, lambda n: warm_start(n, load, FACES, wanted)
    )
    before = {layer.name: layer.get_weights() for layer in trainer.network.layers}
    for _ in range(3):
        trainer.train_step(Views(FACES[:4], FACES[:4]))
    for layer in trainer.network.layers:
        changed = [not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True)]
        if changed:
            assert all(changed) != layer.name.startswith(("stem", "level1")), layer.name
            assert any(changed) != layer.name.startswith(("stem", "level1")), layer.name
    assert "without stem*+level1*" in recipe.architecture


def test_a_trained_network_is_mixed_with_the_one_it_began_with(tmp_path: Path) -> None:
    earlier, trained = DESIGN.build(), DESIGN.build()
    warm_start(earlier, load, FACES, targets(12))
    warm_start(trained, load, FACES, targets(12))
    for layer in trained.layers:
        layer.set_weights([w + 0.5 for w in layer.get_weights()])
    earlier.save(tmp_path / "earlier.keras")
    mix(trained, tmp_path / "earlier.keras", 0.25, FACES, targets(12))
    for ours, old in zip(trained.layers, earlier.layers, strict=True):
        if ours.name != "head_dense":
            for weight, before in zip(ours.get_weights(), old.get_weights(), strict=True):
                np.testing.assert_allclose(weight, before + 0.125, atol=1e-5)
    fitted = trained.get_layer("head_dense").get_weights()
    fit_head(trained, FACES, targets(12))
    for ours, again in zip(fitted, trained.get_layer("head_dense").get_weights(), strict=True):
        np.testing.assert_allclose(ours, again, atol=1e-6)
    with pytest.raises(InputError, match=r"give the \.keras file of one"):
        mix(trained, tmp_path / "none.keras", 0.5, FACES, targets(12))


def test_mixing_needs_something_to_mix_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.cli import run

    folders = ["--data", str(tmp_path), "--teachers", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run(["train", "embedder", *folders, "--mix", "0.4"]) == 2
    assert "--warm-start embedder.keras" in capsys.readouterr().err


def test_what_cannot_be_mixed_is_refused_before_a_training_goes_on(tmp_path: Path) -> None:
    replace(DESIGN, channels=(4, 8)).build().save(tmp_path / "other.keras")
    recipe = Recipe(steps=3, batch=4, warm_up=1, design=DESIGN)
    with pytest.raises(InputError, match=r"other\.keras"):  # and not that there is nothing to learn from
        train_and_export(
            tmp_path / "no data", tmp_path, tmp_path, recipe, tmp_path / "other.keras", mixed=0.5, resume=True
        )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--arch", "mobilefacenet"], "name its --warm-start or --remember"),
        (["--remember", "net.json"], "--remember is for --arch mobilefacenet, not for --arch dlib"),
        (["--arch", "residual", "--warm-start", "net.keras"], "--arch residual learns from nothing"),
        (["--arch", "mobilefacenet", "--warm-start", "net.keras", "--mix", "0.5"], "--mix is not for"),
    ],
)
def test_what_a_training_begins_with_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    from tools.cli import run

    folders = ["--data", str(tmp_path), "--teachers", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run(["train", "embedder", *folders, *options]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
