"""A network that begins as a smaller one of its family."""

from __future__ import annotations

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from train.growth import Growth, grow
from train.models import detector as networks
from train.models.detector import Width, build_detector

SMALL = Width(stem=(4, 6), stem_blocks=0, stages=(8, 8, 8, 8), blocks=(1, 0, 0, 0), neck=8)


def built(monkeypatch: pytest.MonkeyPatch, width: Width, seed: int) -> keras.Model:
    """A network of that width with weights, averages among them, that no other seed has."""
    monkeypatch.setitem(networks.ARCHITECTURES, "tried", width)
    keras.utils.set_random_seed(seed)
    network = build_detector("tried")
    rng = np.random.default_rng(seed)
    network.set_weights([np.abs(w) + rng.uniform(0.05, 0.3, w.shape) for w in network.get_weights()])
    return network


def answers(network: keras.Model) -> np.ndarray:
    images = np.random.default_rng(5).integers(0, 256, (1, 64, 128, 3)).astype(np.float32)
    return np.concatenate([np.asarray(h).ravel() for h in network(images, training=False).values()])


def test_a_wider_network_says_at_first_what_the_narrow_one_said(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = built(monkeypatch, SMALL, 1)
    wide = built(monkeypatch, Width((6, 10), 0, (12, 8, 10, 8), (1, 0, 0, 0), 12), 2)
    assert not np.allclose(answers(wide), answers(narrow), rtol=0.1)
    growth = grow(wide, narrow)
    np.testing.assert_allclose(answers(wide), answers(narrow), rtol=1e-4, atol=1e-4)
    assert "stem1_conv" in growth.wider
    assert "s16_points" in growth.wider
    assert growth.new == growth.left_out == ()


def test_what_is_new_in_a_layer_can_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """New outputs are not zero: with nobody listening and nothing to say, both would stay so for ever."""
    wide = built(monkeypatch, Width((4, 6), 0, (12, 8, 8, 8), (1, 0, 0, 0), 8), 2)
    grow(wide, built(monkeypatch, SMALL, 1))
    kernel = np.asarray(wide.get_layer("s8_down_conv").kernel)
    assert kernel.shape[-1] == 12
    assert (np.abs(kernel[..., 8:]) > 0).all()
    listening = np.asarray(wide.get_layer("s16_down_conv").kernel)
    assert (listening[..., 8:, :] == 0).all()


def test_a_new_branch_begins_as_a_whisper_and_an_old_one_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = built(monkeypatch, SMALL, 1)
    other = built(monkeypatch, Width((4, 6), 1, (8, 8, 8, 8), (0, 0, 0, 0), 8), 2)
    before = np.asarray(other.get_layer("s4_block1_b_bn").gamma).copy()
    growth = grow(other, earlier)
    np.testing.assert_allclose(np.asarray(other.get_layer("s4_block1_b_bn").gamma), before * 0.1, rtol=1e-6)
    assert set(growth.new) == {f"s4_block1_{end}" for end in ("a_conv", "a_bn", "b_conv", "b_bn")}
    assert set(growth.left_out) == {f"s8_block1_{end}" for end in ("a_conv", "a_bn", "b_conv", "b_bn")}
    assert str(growth).endswith("0 widened, 4 new, 4 left out")


def test_a_network_of_the_same_form_is_taken_over_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, other = built(monkeypatch, SMALL, 1), built(monkeypatch, SMALL, 2)
    growth = grow(other, earlier)
    np.testing.assert_array_equal(answers(other), answers(earlier))
    assert growth == Growth(same=growth.same, wider=(), new=(), left_out=())


def test_networks_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    small = built(monkeypatch, SMALL, 1)
    large = built(monkeypatch, Width((4, 8), 0, (8, 8, 8, 8), (1, 0, 0, 0), 8), 2)
    with pytest.raises(ValueError, match=r"its layer stem2_conv is \(3, 3, 4, 8\), here \(3, 3, 4, 6\)"):
        grow(small, large)
    x = keras.Input((4,))
    with pytest.raises(ValueError, match="no layer has the name of one here"):
        grow(small, keras.Model(x, keras.layers.Dense(2)(x)))
