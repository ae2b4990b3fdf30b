"""The embedder's recipe on a toy: loss, schedule, and a killed run that ends where an uninterrupted one does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from train.data.views import Strength  # noqa: E402
from train.embedder import Recipe, Trainer, embed, train_embedder  # noqa: E402
from train.losses.distillation import embedding_loss  # noqa: E402
from train.models.embedder import EmbedderDesign  # noqa: E402
from train.teachers import fit_projection, project  # noqa: E402

DESIGN = EmbedderDesign(stem=4, channels=(4, 4, 4, 4), blocks=(0, 0, 0, 1), dimension=8)
RECIPE = Recipe(steps=12, batch=8, warm_up=2, design=DESIGN, averaging=0.9, others=5)


def pictures(folder: Path, colours: NDArray[np.uint8] | None = None) -> Path:
    rng = np.random.default_rng(0)
    if colours is None:
        colours = rng.integers(0, 256, (20, 128, 128, 3), dtype=np.uint8)
    np.save(folder / "faces.npy", np.broadcast_to(colours, (len(colours), 128, 128, 3)))
    return folder / "faces.npy"


def by_colour(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Targets that can be read off a picture's colour."""
    means = faces.mean((1, 2), dtype=np.float32) / 128 - 1
    targets = np.concatenate([means, np.full((len(faces), 5), 0.1, np.float32)], axis=1)
    return np.asarray(targets / np.linalg.norm(targets, axis=1, keepdims=True), np.float32)


BANK = by_colour(np.random.default_rng(1).integers(0, 256, (30, 2, 2, 3), dtype=np.uint8))


def trainer(recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, by_colour, BANK)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    views = RECIPE.views(pictures(tmp_path), np.ones(20))

    class Killed(Exception):
        pass

    def train(folder: str, recipe: Recipe = RECIPE, *, resume: bool = False, killed: bool = False) -> list[np.ndarray]:
        def kill(network: Any) -> dict[str, float]:
            if killed:
                raise Killed
            return {}

        work = tmp_path / folder
        average = train_embedder(
            work, recipe, views, by_colour, BANK, resume=resume, check=kill, check_every=8, say=lambda _: None
        )
        return list(average.get_weights())

    whole = train("whole")
    with pytest.raises(Killed):
        train("part", killed=True)
    keras.utils.set_random_seed(99)
    again = train("part", resume=True)
    assert len(whole) > 10
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="no checkpoint"):
        train("none", resume=True)


def test_training_learns_the_targets(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 1, 1, 3), dtype=np.uint8)
    clean = Strength(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    recipe = Recipe(
        steps=60, batch=16, warm_up=5, peak_rate=1e-2, design=DESIGN, averaging=0.9, strength=clean, plain=0
    )
    views = recipe.views(pictures(tmp_path, colours), np.ones(64))
    learner = trainer(recipe)
    parts = [learner.train_step(views(step)) for step in range(60)]
    assert np.mean([p["loss"] for p in parts[-5:]]) < 0.6 * np.mean([p["loss"] for p in parts[:3]])
    assert np.mean([p["cosine"] for p in parts[-5:]]) > np.mean([p["cosine"] for p in parts[:3]])
    faces = views(99).scenes
    cosines = np.sum(embed(learner.average, faces) * by_colour(faces), axis=1)
    assert cosines.mean() > np.mean([p["cosine"] for p in parts[:3]])


def test_the_log_says_how_it_goes(tmp_path: Path) -> None:
    views = RECIPE.views(pictures(tmp_path), np.ones(20))
    train_embedder(
        tmp_path, RECIPE, views, by_colour, BANK, check=lambda _: {"tar": 0.5}, check_every=6, say=lambda _: None
    )
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [6, 12]
    assert all(line["tar"] == 0.5 and line["loss"] > 0 and -1 < line["cosine"] < 1 for line in lines)


def test_loss_by_hand() -> None:
    rng = np.random.default_rng(0)
    s, t, o = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(3, 5, 3)).astype(np.float32))
    single = np.mean([1 - a @ b for a, b in zip(s, t, strict=True)])
    divergence = 0.0
    for a, b in zip(s, t, strict=True):
        p, q = (np.exp(v @ np.concatenate([t, o]).T / 0.3) for v in (b, a))
        p, q = p / p.sum(), q / q.sum()
        divergence += float(np.sum(p * np.log(p / q))) / 5
    loss = embedding_loss(tf.constant(s), tf.constant(t), tf.constant(o), 3.0, 0.3)
    assert float(loss) == pytest.approx(single + 3 * divergence, rel=1e-4)
    assert float(embedding_loss(tf.constant(t), tf.constant(t), tf.constant(o), 3.0)) == pytest.approx(0, abs=1e-5)


def test_schedule_warms_up_and_ends_low() -> None:
    recipe = Recipe(steps=1000, warm_up=100)
    rates = [recipe.rate(s) for s in range(1000)]
    assert np.argmax(rates) in (99, 100)
    assert max(rates) == pytest.approx(recipe.peak_rate)
    assert rates[0] == pytest.approx(recipe.peak_rate / 100)
    assert np.all(np.diff(rates[100:]) < 0)
    assert rates[-1] == pytest.approx(recipe.last_rate, rel=0.01)


class Bent:
    """The form of a network with one PReLU."""

    signature = "bent"

    def build(self) -> Any:
        pixels = keras.Input((112, 112, 3))
        x = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 128, -1)(pixels)))
        x = keras.layers.PReLU(name="bent_prelu", alpha_initializer=keras.initializers.Constant(0.8))(x)
        return keras.Model(pixels, keras.layers.UnitNormalization()(keras.layers.Dense(8)(x)))


def test_slopes_go_to_nothing_on_a_straight_line_killed_or_not(tmp_path: Path) -> None:
    recipe = Recipe(steps=10, batch=8, warm_up=1, design=cast(Any, Bent()), others=5, straighten=0.5, averaging=0.5)
    views = recipe.views(pictures(tmp_path), np.ones(20))
    learner = trainer(recipe)
    slopes = [float(learner.network.get_layer("bent_prelu").alpha[0])]
    for step in range(recipe.steps):
        if step == 3:
            learner.save(tmp_path / "checkpoint.npz", {})
            learner = trainer(recipe)
            learner.load(tmp_path / "checkpoint.npz")
        learner.train_step(views(step))
        slopes.append(float(learner.network.get_layer("bent_prelu").alpha[0]))
    np.testing.assert_allclose(slopes, 0.8 * np.clip(1 - np.arange(11) / 5, 0, None), atol=1e-6)
    assert "straightened" in learner.architecture

    # A schedule that became shorter has gone past its end: nothing is left to take away by and by.
    late = trainer(replace(recipe, steps=100))
    for step in range(3):
        late.train_step(views(step))
    assert float(late.network.get_layer("bent_prelu").alpha[0]) > 0.7
    late.save(tmp_path / "checkpoint.npz", {})
    shorter = trainer(replace(recipe, steps=4))
    shorter.load(tmp_path / "checkpoint.npz")
    shorter.train_step(views(3))
    assert float(shorter.network.get_layer("bent_prelu").alpha[0]) == 0
    kept = replace(recipe, straighten=0.0)
    free = trainer(kept)
    for step in range(2):
        free.train_step(views(step))
    assert float(free.network.get_layer("bent_prelu").alpha[0]) != pytest.approx(0.8, abs=1e-6), "else it learns"


def test_projection_keeps_the_products_it_can() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 20))
    answers = (low / np.linalg.norm(low, axis=1, keepdims=True)).astype(np.float32)
    targets = project(answers, fit_projection(answers, 4))
    np.testing.assert_allclose(targets @ targets.T, answers @ answers.T, atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    trainer().save(tmp_path / "c.npz", {})
    larger = Recipe(steps=12, batch=8, design=EmbedderDesign(8, (4, 4, 4, 4), (0, 0, 0, 1), 8))
    with pytest.raises(InputError, match=r"residual-s4.*residual-s8"):
        trainer(larger).load(tmp_path / "c.npz")
