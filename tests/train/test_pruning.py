"""Channels that others make up for: which ones go, and that what is left answers as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from train.embedder import embed  # noqa: E402
from train.models.layers import FusedBatchNormalization, measure_averages  # noqa: E402
from train.models.mobilefacenet import MobileFaceNetDesign  # noqa: E402
from train.pruning import Thinned, prune, wides  # noqa: E402

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


def channels(noise: float) -> NDArray[np.float64]:
    """`[4000,12]`: eight of their own, two constant ones, and two that are sums of others, but for `noise`."""
    own = RNG.normal(1, 1, (4000, 8))
    sums = own[:, :2] + 0.5 * own[:, 2:4] + noise * RNG.normal(size=(4000, 2))
    return np.concatenate([own, np.full((4000, 2), 3.0), sums], axis=1)


def thin(x: NDArray[np.float64], kernel: NDArray[np.float32], **options: Any) -> Thinned:
    return Thinned.of(kernel[None, None], x.T @ x / len(x), x.mean(axis=0), **options)


def test_what_others_say_can_go_and_no_answer_changes() -> None:
    x, kernel = channels(0.0), RNG.normal(size=(12, 5)).astype(np.float32)
    thinned = thin(x, kernel, harm=1e-5, step=1)
    assert len(thinned.kept) == 8
    np.testing.assert_allclose(x[:, thinned.kept] @ thinned.kernel[0, 0] + thinned.shift, x @ kernel, atol=2e-3)


@pytest.mark.parametrize("harm", [1e-3, 0.02, 0.2])
def test_no_more_is_lost_than_may_be_and_the_rest_is_fitted_by_least_squares(harm: float) -> None:
    x, kernel = channels(0.2), RNG.normal(size=(12, 5)).astype(np.float32)
    thinned = thin(x, kernel, harm=harm, step=1)
    answers = x @ kernel
    without = x[:, thinned.kept] @ thinned.kernel[0, 0] + thinned.shift
    lost = np.square(without - answers).mean(axis=0).sum()
    assert lost <= harm * answers.var(axis=0).sum() * 1.001
    ones = np.ones((len(x), 1))
    best = np.linalg.lstsq(np.concatenate([x[:, thinned.kept], ones], axis=1), answers, rcond=None)[0]
    np.testing.assert_allclose(thinned.kernel[0, 0], best[:-1], atol=2e-3)
    np.testing.assert_allclose(thinned.shift, best[-1], atol=5e-3)
    # One more would have been too much, whichever.
    others = [np.delete(thinned.kept, n) for n in range(len(thinned.kept))]
    losses = [
        np.linalg.lstsq(np.concatenate([x[:, kept], ones], axis=1), answers, rcond=None)[1].sum() / len(x)
        for kept in others
    ]
    assert min(losses) > harm * answers.var(axis=0).sum() * 0.9


def test_widths_are_multiples_of_the_step() -> None:
    x, kernel = channels(0.0), RNG.normal(size=(12, 5)).astype(np.float32)
    assert [len(thin(x, kernel, harm=1e-5, step=step).kept) for step in (1, 3, 4, 6, 8, 12, 16)] == [
        8, 9, 8, 12, 8, 12, 12,
    ]  # fmt: skip


def test_without_a_mean_constants_are_told_by_other_constants_only() -> None:
    x, kernel = channels(0.0), RNG.normal(size=(12, 5)).astype(np.float32)
    thinned = Thinned.of(np.tile(kernel, (3, 3, 1, 1)), x.T @ x / len(x), None, harm=1e-5, step=1)
    assert len(thinned.kept) == 9
    assert thinned.kernel.shape == (3, 3, 9, 5)
    assert not thinned.shift.any()
    np.testing.assert_allclose(x[:, thinned.kept] @ thinned.kernel[1, 2], x @ kernel, atol=5e-3)


def bottlenecks(silent: int) -> Any:
    """Two of them, of 32 channels: with depthwise convolutions, and the second without; `silent` channels in each."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    for n in range(2):
        y = keras.layers.Conv2D(32, 3, padding="same", use_bias=False, name=f"wide{n}")(x)
        y = keras.layers.ReLU()(FusedBatchNormalization(name=f"a{n}")(y))
        if n == 0:
            y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
            y = keras.layers.ReLU()(FusedBatchNormalization(name="b0")(y))
        y = keras.layers.Conv2D(6, 3 if n else 1, padding="same", use_bias=False)(y)
        x = FusedBatchNormalization(name=f"c{n}")(y)
    network = keras.Model(pixels, keras.layers.Flatten()(x))
    measure_averages(network, [PICTURES])
    for name in ("a0", "a1"):
        layer = network.get_layer(name)
        gain, centre, mean, variance = layer.get_weights()
        centre[::2][:silent] = -100
        layer.set_weights([gain, centre, mean, variance])
    if silent:  # silent before the depthwise convolution, and after it the same everywhere
        layer = network.get_layer("b0")
        gain, centre, mean, variance = layer.get_weights()
        layer.set_weights([gain, np.abs(centre) + 1, mean, variance])
    return network


def test_a_network_without_its_silent_channels_answers_the_same() -> None:
    network = bottlenecks(silent=16)
    before = embed(network, PICTURES)
    narrow = prune(network, PICTURES, batch=5)
    assert [narrow.get_layer(f"wide{n}").filters for n in range(2)] == [16, 16]
    np.testing.assert_allclose(embed(narrow, PICTURES), before, atol=2e-3)
    np.testing.assert_array_equal(embed(network, PICTURES), before)


def test_channels_that_all_say_something_stay() -> None:
    network = bottlenecks(silent=0)
    narrow = prune(network, PICTURES)
    assert [narrow.get_layer(f"wide{n}").filters for n in range(2)] == [32, 32]
    np.testing.assert_allclose(embed(narrow, PICTURES), embed(network, PICTURES), atol=1e-5)


def test_of_a_mobilefacenet_all_wide_parts_may_become_narrower() -> None:
    found = [row.maker.name for row in wides(MobileFaceNetDesign(relus=True).build())]
    assert found[0] == "stem_conv"
    assert len(found) == 1 + 5 + 1 + 6 + 1 + 2
    assert all(name.endswith(("stem_conv", "expand_conv")) for name in found)
