"""MobileFaceNet: the layers of the paper, and the weights of another implementation give its answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from engine.errors import InputError  # noqa: E402
from train.embedder import embed  # noqa: E402
from train.embedder_memory import MEAN_OFF, WEIGHT, Memory, both_halves, first_answers  # noqa: E402
from train.embedder_recipe import recipe_for  # noqa: E402
from train.embedder_warm import take_body  # noqa: E402
from train.models.layers import HEAD, measure_statistics  # noqa: E402
from train.models.mobilefacenet import (  # noqa: E402
    BODY,
    LOGITS,
    STAGES,
    MobileFaceNetDesign,
    is_straight,
    load_mobilefacenet_weights,
    read_head,
    read_mobilefacenet,
    with_relus,
)

RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (6, 112, 112, 3), dtype=np.uint8)
SIZE = 20
"""Of the made-up network's own embedding; the real one has 192."""


def made_up() -> dict[str, NDArray[np.float32]]:
    """Random tensors by the names and in the shapes of MobileFaceNet_TF."""
    tensors = {}

    def layer(name: str, size: int, inputs: int, outputs: int | None, *, prelu: bool = True) -> None:
        kind, channels = ("depthwise", inputs) if outputs is None else ("Conv2D", outputs)
        spread = 1 / np.sqrt(size * size * (1 if outputs is None else inputs))
        tensors[f"{name}/{kind}_weights"] = RNG.normal(0, spread, (size, size, inputs, outputs or 1))
        tensors[f"{name}/{kind}_bn_offset"] = RNG.normal(0, 0.3, channels)
        if prelu:
            tensors[f"{name}/mul"] = RNG.normal(0, 0.2, channels)

    layer(f"{BODY}Conv2d_0", 3, 3, 64)
    layer(f"{BODY}SeparableConv2d", 3, 64, None)
    layer(f"{BODY}Conv", 1, 64, 64, prelu=False)
    inputs = 64
    for stage in STAGES:
        for block in range(stage.blocks):
            name = f"{BODY}Conv2d_{stage.number}_InvResBlock_{block}"
            layer(f"{name}/Conv", 1, inputs, stage.expanded)
            layer(f"{name}/SeparableConv2d", 3, stage.expanded, None)
            layer(f"{name}/Conv_1", 1, stage.expanded, stage.channels, prelu=False)
            inputs = stage.channels
    layer(f"{BODY}Conv2d_7", 1, inputs, 512)
    layer(f"{LOGITS}SeparableConv2d", 7, 512, None, prelu=False)
    layer(f"{LOGITS}Conv", 1, 512, 512, prelu=False)
    layer(f"{LOGITS}LinearConv1x1", 1, 512, SIZE, prelu=False)
    return {name: t.astype(np.float32) for name, t in tensors.items()}


SOURCE = made_up()


def reference(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The graph of MobileFaceNet_TF in TensorFlow's own operations, tensor by tensor."""

    def prelu(x: Any, name: str) -> Any:
        return tf.nn.relu(x) - SOURCE[f"{name}/mul"] * (x - abs(x))

    def convolve(x: Any, name: str, stride: int = 1) -> Any:
        return tf.nn.conv2d(x, SOURCE[f"{name}/Conv2D_weights"], stride, "SAME") + SOURCE[f"{name}/Conv2D_bn_offset"]

    def depthwise(x: Any, name: str, stride: int = 1, padding: str = "SAME") -> Any:
        y = tf.nn.depthwise_conv2d(x, SOURCE[f"{name}/depthwise_weights"], [1, stride, stride, 1], padding)
        return y + SOURCE[f"{name}/depthwise_bn_offset"]

    x = (tf.cast(faces, tf.float32) - 127.5) / 128
    x = prelu(convolve(x, f"{BODY}Conv2d_0", 2), f"{BODY}Conv2d_0")
    x = prelu(depthwise(x, f"{BODY}SeparableConv2d"), f"{BODY}SeparableConv2d")
    x = convolve(x, f"{BODY}Conv")
    for number, blocks in ((2, 5), (3, 1), (4, 6), (5, 1), (6, 2)):
        for block in range(blocks):
            name = f"{BODY}Conv2d_{number}_InvResBlock_{block}"
            halves = number in (2, 3, 5) and block == 0
            y = prelu(convolve(x, f"{name}/Conv"), f"{name}/Conv")
            y = prelu(depthwise(y, f"{name}/SeparableConv2d", 2 if halves else 1), f"{name}/SeparableConv2d")
            y = convolve(y, f"{name}/Conv_1")
            x = y if halves else x + y
    x = prelu(convolve(x, f"{BODY}Conv2d_7"), f"{BODY}Conv2d_7")
    x = depthwise(x, f"{LOGITS}SeparableConv2d", 1, "VALID")
    x = convolve(convolve(x, f"{LOGITS}Conv"), f"{LOGITS}LinearConv1x1")[:, 0, 0]
    return np.asarray(tf.math.l2_normalize(x, axis=1))


def loaded() -> Any:
    network = MobileFaceNetDesign(SIZE).build()
    load_mobilefacenet_weights(network, SOURCE)
    network.get_layer(HEAD).set_weights(list(read_head(SOURCE)))
    return network


def test_the_layers_are_those_of_the_paper() -> None:
    network = MobileFaceNetDesign(128).build()
    depthwise = [layer for layer in network.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert len(depthwise) == 1 + sum(s.blocks for s in STAGES) + 1
    assert depthwise[-1].output.shape == (None, 1, 1, 512)
    assert depthwise[-1].kernel.shape[:2] == (7, 7)
    assert [x.output.shape[1] for x in network.layers if x.name.endswith("_add")] == [28] * 4 + [14] * 6 + [7] * 2
    assert network.output_shape == (None, 128)


def test_loaded_weights_give_the_answers_of_the_network_they_come_from() -> None:
    network, expected = loaded(), reference(FACES)
    assert np.abs(expected @ expected.T - np.eye(len(FACES))).max() > 0.01, "the made-up network tells faces apart"
    np.testing.assert_allclose(embed(network, FACES), expected, atol=2e-5)
    measure_statistics(network, [FACES])
    np.testing.assert_allclose(embed(network, FACES), expected, atol=2e-4)
    np.testing.assert_allclose(first_answers(SOURCE)(FACES), expected, atol=2e-5)


def write(tensors: dict[str, NDArray[np.float32]], path: Path) -> Path:
    entries = [{"name": name, "shape": list(t.shape), "dtype": "float32"} for name, t in tensors.items()]
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["w.bin"], "weights": entries}]}))
    path.with_name("w.bin").write_bytes(b"".join(t.tobytes() for t in tensors.values()))
    return path


def test_the_file_is_read_and_another_network_is_refused(tmp_path: Path) -> None:
    read = read_mobilefacenet(write(SOURCE, tmp_path / "net.json"))
    assert list(read) == list(SOURCE)
    missing = {name: t for name, t in SOURCE.items() if "Conv2d_4_InvResBlock_3/Conv_1" not in name}
    other = {**SOURCE, f"{BODY}Conv2d_7/Conv2D_weights": np.zeros((1, 1, 128, 256), np.float32)}
    headless = {name: t for name, t in SOURCE.items() if "LinearConv1x1" not in name}
    narrow = {**SOURCE, f"{LOGITS}Conv/Conv2D_weights": np.zeros((1, 1, 256, 512), np.float32)}
    for tensors in ({}, missing, other, headless, narrow):
        with pytest.raises(InputError, match=r"net\.json is not the MobileFaceNet .*give mobilefacenet\.json"):
            read_mobilefacenet(write(tensors, tmp_path / "net.json"))


def test_moments_of_small_batches_are_not_learned_from() -> None:
    everything, large, small = (recipe_for("mobilefacenet", 100, 1, batch) for batch in (512, 128, 32))
    assert everything.frozen == ()
    assert everything.straighten > 0 == large.straighten, "slopes stay where not all layers can make up for them"
    assert everything.peak_rate > large.peak_rate
    assert "*_norm" in small.frozen
    assert "*_norm" not in large.frozen
    assert large.architecture.startswith("mobilefacenet-")
    assert small.architecture != large.architecture


def test_what_is_remembered_is_centred_and_stands_beside_what_is_taught() -> None:
    answers = RNG.normal([1.0, 2.0, 3.0], 0.1, (50, 3)).astype(np.float32)
    mean = answers.mean(axis=0)
    memory = Memory(lambda faces: answers[: len(faces)], mean)
    got = memory(FACES)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    rest = answers[:6] - MEAN_OFF * mean
    np.testing.assert_allclose(got, rest / np.linalg.norm(rest, axis=1)[:, None], atol=1e-6)

    taught = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    both = both_halves(taught, got)
    share = WEIGHT**2 / (1 + WEIGHT**2)
    np.testing.assert_allclose(both @ both.T, (1 - share) * taught @ taught.T + share * got @ got.T, atol=1e-6)


def test_without_slopes_it_is_a_network_with_relus() -> None:
    network = loaded()
    for layer in network.layers:
        if isinstance(layer, keras.layers.PReLU):
            layer.set_weights([0 * layer.get_weights()[0]])
    plain = with_relus(network)
    assert not any(isinstance(layer, keras.layers.PReLU) for layer in plain.layers)
    assert sum(isinstance(layer, keras.layers.ReLU) for layer in plain.layers) == 33
    np.testing.assert_allclose(embed(plain, FACES), embed(network, FACES), atol=1e-6)
    assert MobileFaceNetDesign(5).signature != MobileFaceNetDesign(5, relus=True).signature


def test_a_training_goes_on_from_a_network_with_relus(tmp_path: Path) -> None:
    plain = with_relus(loaded())
    plain.save(tmp_path / "embedder.keras")
    network = loaded()
    assert not is_straight(network)
    take_body(network, tmp_path / "embedder.keras")
    assert is_straight(network)
    network.get_layer(HEAD).set_weights(plain.get_layer(HEAD).get_weights())
    np.testing.assert_allclose(embed(network, FACES), embed(plain, FACES), atol=1e-6)
