"""Networks that learn in bfloat16: what is in it, and what must not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from tests.train.backends import RECIPE, TARGETS  # noqa: E402
from train.detector import Recipe  # noqa: E402
from train.detector import Trainer as DetectorTrainer  # noqa: E402
from train.embedder import Trainer as EmbedderTrainer  # noqa: E402
from train.models.detector import build_detector  # noqa: E402
from train.models.dlib_resnet import DlibDesign  # noqa: E402
from train.models.embedder import EmbedderDesign  # noqa: E402
from train.models.layers import arithmetic  # noqa: E402
from train.models.rectangles import build_rectangles_network  # noqa: E402
from train.rectangles import RectanglesRecipe, RectanglesTrainer  # noqa: E402

SMALL = DlibDesign(channels=(8, 16), blocks=(1, 1), dimension=8)
RESIDUAL = EmbedderDesign(stem=8, channels=(8, 8, 8, 8), blocks=(0, 0, 0, 1), dimension=8)
NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...], float]] = {
    "rectangles": (lambda: build_rectangles_network(8), (2, 15, 15, 1), 1.0),
    "detector": (lambda: build_detector("nano"), (2, 64, 64, 3), 255.0),
    "dlib": (SMALL.build, (2, 112, 112, 3), 255.0),
    "residual": (RESIDUAL.build, (2, 112, 112, 3), 255.0),
}


def values(answer: object) -> list[np.ndarray]:
    return [np.asarray(part) for part in keras.tree.flatten(answer)]


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_are_in_bfloat16_and_all_that_is_kept_or_compared_is_not(name: str) -> None:
    build, shape, largest = NETWORKS[name]
    exact = build()
    with arithmetic(bfloat16=True):
        mixed = build()
    inner = [x for x in mixed.layers if isinstance(x, keras.layers.Conv2D) and x.kernel.shape[-1] not in (1, 4, 10)]
    assert inner
    assert {layer.compute_dtype for layer in inner} == {"bfloat16"}
    assert {variable.dtype for variable in mixed.variables} == {"float32"}
    assert {part.dtype for part in keras.tree.flatten(mixed.output)} == {"float32"}

    mixed.set_weights(exact.get_weights())
    pixels = np.random.default_rng(0).uniform(0, largest, shape).astype(np.float32)
    for ours, theirs in zip(values(mixed(pixels)), values(exact(pixels)), strict=True):
        assert ours.dtype == np.float32
        assert not np.array_equal(ours, theirs), "nothing was computed in bfloat16"
        np.testing.assert_allclose(ours, theirs, atol=0.03 * np.abs(theirs).max())


def test_what_was_chosen_before_holds_again_even_after_a_failure() -> None:
    before = keras.config.dtype_policy()
    with pytest.raises(RuntimeError, match="within"), arithmetic(bfloat16=True):
        raise RuntimeError("within")
    assert keras.config.dtype_policy() == before


def test_what_is_exported_computes_in_float32_whatever_was_learnt_in() -> None:
    detector = DetectorTrainer(Recipe(arch="nano", steps=1, bfloat16=True))
    embedder = EmbedderTrainer(replace(RECIPE, bfloat16=True), lambda scenes: TARGETS, TARGETS)
    for learning, kept in ((detector.model, detector.average), (embedder.network, embedder.average)):
        assert "bfloat16" in {layer.compute_dtype for layer in learning.layers}
        assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
        for ours, theirs in zip(learning.get_weights(), kept.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_it_learns_as_well() -> None:
    """The same four plots again and again: the loss falls as it does in float32."""
    last = []
    for bfloat16 in (False, True):
        trainer = RectanglesTrainer(
            RectanglesRecipe(steps=4, plots=4, filters=16, warmup=1, learning_rate=5e-3, bfloat16=bfloat16)
        )
        losses = []
        for _ in range(30):
            trainer.step = 0
            losses.append(trainer.train_step()["loss"])
        assert losses[-1] < 0.2 * losses[0]
        last.append(losses[-1])
    assert last[1] == pytest.approx(last[0], rel=0.5)
