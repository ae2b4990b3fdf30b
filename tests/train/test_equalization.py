"""Channels that are scaled for integers: the same answers, and channels of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from train.embedder import embed  # noqa: E402
from train.equalization import LEAST, calm, equalize, equalize_pairs  # noqa: E402
from train.models.layers import FusedBatchNormalization, measure_averages  # noqa: E402
from train.models.mobilefacenet import MobileFaceNetDesign  # noqa: E402

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


def uneven() -> Any:
    """Two bottlenecks whose channels differ a thousandfold, the first of which is also read by a sum."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    for n in range(2):
        y = keras.layers.Conv2D(8, 1, use_bias=False)(x)
        y = keras.layers.ReLU(name=f"wide{n}")(FusedBatchNormalization(name=f"a{n}")(y))
        y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise{n}")(y)
        y = keras.layers.ReLU(name=f"filtered{n}")(FusedBatchNormalization(name=f"b{n}")(y))
        y = keras.layers.Conv2D(4, 1, use_bias=False, name=f"narrow{n}")(y)
        y = FusedBatchNormalization(name=f"c{n}")(y)
        x = keras.layers.ReLU(name="read_twice")(y) if n == 0 else keras.layers.Add()([x, y])
    network = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    for layer in network.layers:
        if isinstance(layer, FusedBatchNormalization):
            size = layer.gamma.shape[0]
            gain = np.ones(size) if layer.name.startswith("c") else 10.0 ** RNG.uniform(-1, 1, size)
            layer.set_weights([gain, gain, np.zeros(size), np.ones(size)])
    measure_averages(network, [PICTURES])
    return network


def values(network: Any, layer: str) -> Any:
    return np.asarray(keras.Model(network.input, network.get_layer(layer).output)(PICTURES.astype(np.float32)))


def sizes(network: Any, layer: str) -> Any:
    return values(network, layer).max((0, 1, 2))


def test_the_answers_stay_and_channels_come_out_alike() -> None:
    network = uneven()
    before, untouched = embed(network, PICTURES), sizes(network, "read_twice")
    spread = sizes(network, "wide1")
    equalize(network, PICTURES, batch=5)
    np.testing.assert_allclose(embed(network, PICTURES), before, rtol=1e-4, atol=1e-5)
    for name in ("wide0", "wide1"):
        after = sizes(network, name)
        assert after.max() < 1.001 * after.min(), "before a depthwise convolution all are as large"
    assert spread.max() > 10 * spread.min(), "they were not before"
    for n in range(2):
        # Before another convolution a channel is as large, relative to its weights, as any.
        (kernel,) = network.get_layer(f"narrow{n}").get_weights()
        ratio = sizes(network, f"filtered{n}") / np.abs(kernel).max((0, 1, 3))
        assert ratio.max() < 1.001 * ratio.min()
    np.testing.assert_allclose(sizes(network, "read_twice"), untouched, rtol=1e-5)


def test_a_channel_that_was_silent_does_not_shout() -> None:
    network = uneven()
    layer = network.get_layer("b1")
    gain, centre, mean, variance = layer.get_weights()
    variance[3] = 1e-7
    layer.set_weights([gain, centre, mean, variance])
    calm(network)
    after = layer.get_weights()
    assert after[3][3] == pytest.approx(LEAST * np.median(variance))
    np.testing.assert_array_equal(np.delete(after[3], 3), np.delete(variance, 3))
    for same, now in zip((gain, centre, mean), after, strict=False):
        np.testing.assert_array_equal(same, now)


def test_in_integers_an_equalised_network_answers_more_nearly_as_in_floats(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    import onnxruntime as ort

    from tests.train.exported import write_floats
    from train.onnx_file import write_onnx
    from train.quantize import in_eights, quantize

    network = uneven()
    expected = embed(network, PICTURES)

    def worst() -> float:
        exact = write_floats(network, tmp_path / "exact.onnx", PICTURES, {}, float(1e-3 * np.abs(expected).max()))
        path = tmp_path / "integers.onnx"
        write_onnx(quantize(exact, in_eights(PICTURES)), path, {})
        answers = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"faces": PICTURES})[0]
        return float(np.linalg.norm(answers - expected))

    before = worst()
    equalize(network, PICTURES)
    assert worst() < 0.7 * before


def test_every_bottleneck_of_a_mobilefacenet_is_equalised() -> None:
    keras.utils.set_random_seed(2)
    network = MobileFaceNetDesign(8, relus=True).build()
    faces = RNG.integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    for layer in network.layers:
        if isinstance(layer, FusedBatchNormalization):
            gain, centre, mean, variance = layer.get_weights()
            layer.set_weights([gain * np.exp(RNG.normal(0, 1, gain.shape)), centre + 0.1, mean, variance])
    before = embed(network, faces)
    kernels = {x.name: x.get_weights()[0] for x in network.layers if x.name.endswith("_conv")}
    equalize(network, faces)
    np.testing.assert_allclose(embed(network, faces), before, atol=1e-5)
    changed = {name for name, kernel in kernels.items() if not np.array_equal(kernel, network.get_layer(name).kernel)}
    assert changed == {name for name in kernels if name != "stem_conv" and "expand" not in name and name != "last_conv"}


def test_channels_between_two_convolutions_come_out_alike() -> None:
    keras.utils.set_random_seed(2)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 1, name="first")(pixels)
    read = keras.layers.DepthwiseConv2D(3, padding="same", name="second")(x)
    y = keras.layers.Conv2D(6, 1, name="shared")(keras.layers.ReLU()(read))
    both = keras.layers.Add()([keras.layers.DepthwiseConv2D(3, padding="same", name="third")(y), y])
    network = keras.Model(pixels, both)
    for name in ("first", "shared"):
        kernel, bias = network.get_layer(name).get_weights()
        network.get_layer(name).set_weights([kernel * 10.0 ** RNG.uniform(-2, 2, 6), bias + RNG.normal(0, 1, 6)])
    before, spread = np.asarray(network(PICTURES.astype(np.float32))), np.abs(values(network, "first")).max((0, 1, 2))
    shared = network.get_layer("shared").get_weights()[0].copy()
    equalize_pairs(network, (PICTURES[i : i + 5] for i in range(0, 12, 5)))
    after = np.asarray(network(PICTURES.astype(np.float32)))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3 * np.abs(before).max())
    even = np.abs(values(network, "first")).max((0, 1, 2))
    assert spread.max() > 50 * spread.min()
    assert even.max() < 1.01 * even.min()
    np.testing.assert_array_equal(network.get_layer("shared").get_weights()[0], shared)


def test_a_network_without_such_pairs_is_left_alone() -> None:
    pixels = keras.Input((8, 8, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(4, 3)(pixels))
    before = network.get_weights()
    equalize_pairs(network, [PICTURES[:, :8, :8]])
    for ours, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, old)
