"""The embedder's recipe on a toy: loss, schedule, and a killed run that ends where an uninterrupted one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from train.data.views import Strength, ViewStore  # noqa: E402
from train.embedder import Feed, Recipe, Trainer  # noqa: E402
from train.losses.distillation import embedding_loss  # noqa: E402
from train.models.embedder import EmbedderDesign  # noqa: E402
from train.teachers import fit_projection, project  # noqa: E402

DESIGN = EmbedderDesign(stem=4, channels=(4, 4, 4, 4), blocks=(0, 0, 0, 1), dimension=8)
RECIPE = Recipe(steps=12, batch=8, warm_up=2, design=DESIGN, averaging=0.9)


def store(folder: Path, shards: int, size: int = 20) -> ViewStore:
    rng = np.random.default_rng(0)
    made = ViewStore(folder)
    for number in range(shards):
        faces = rng.integers(0, 256, (size, 112, 112, 3), dtype=np.uint8)
        made.write(number, faces, rng.normal(size=(size, 12)).astype(np.float16))
    return made


def targets(number: int, answers: NDArray[np.float16]) -> NDArray[np.float32]:
    return project(answers, np.eye(12, 8, dtype=np.float32))


def trainer(views: ViewStore, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, Feed(views, targets, recipe))


def weights(t: Trainer) -> list[np.ndarray]:
    return [*t.network.get_weights(), *t.average.get_weights()]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    views = store(tmp_path / "views", 2)
    whole = trainer(views)
    whole.run(12)

    class Killed(Exception):
        pass

    def kill(step: int, loss: float) -> None:
        if step == 8:
            raise Killed

    first = trainer(views)
    with pytest.raises(Killed):
        first.run(12, kill, tmp_path / "c.npz", save_every=-1.0)
    keras.utils.set_random_seed(99)
    second = trainer(views)
    second.load(tmp_path / "c.npz")
    assert second.step == 8
    assert second.feed.epoch >= 1
    second.run(12)
    assert len(weights(whole)) > 20
    for a, b in zip(weights(whole), weights(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_every_view_is_met_once_in_an_epoch_and_new_shards_join_the_next(tmp_path: Path) -> None:
    views = store(tmp_path / "views", 2, size=16)
    feed = Feed(views, targets, RECIPE)
    seen = np.concatenate([feed.next(step).targets for step in range(4)])
    assert len(np.unique(seen.round(5), axis=0)) == 32
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    store(tmp_path / "views", 3, size=16)
    feed.next(4)
    assert (feed.epoch, feed.position, feed.shards) == (1, 1, 3)


def test_training_learns_the_targets(tmp_path: Path) -> None:
    """Targets that can be read off the picture's colour."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (64, 1, 1, 3))
    faces = np.broadcast_to(colours, (64, 112, 112, 3)).astype(np.uint8)
    targets = np.concatenate([colours[:, 0, 0] / 128 - 1, np.zeros((64, 9))], axis=1).astype(np.float16)
    views = ViewStore(tmp_path)
    views.write(0, faces, targets)
    clean = Strength(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    losses: list[float] = []
    recipe = Recipe(steps=60, batch=16, warm_up=5, peak_rate=1e-2, design=DESIGN, averaging=0.9, strength=clean)
    trainer(views, recipe).run(60, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])


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


def test_projection_keeps_the_products_it_can() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 20))
    answers = (low / np.linalg.norm(low, axis=1, keepdims=True)).astype(np.float32)
    targets = project(answers, fit_projection(answers, 4))
    np.testing.assert_allclose(targets @ targets.T, answers @ answers.T, atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    views = store(tmp_path / "views", 1)
    small = trainer(views)
    small.run(1, save_to=tmp_path / "c.npz")
    larger = Recipe(steps=12, batch=8, design=EmbedderDesign(8, (4, 4, 4, 4), (0, 0, 0, 1), 8))
    with pytest.raises(InputError, match=r"residual-s4.*residual-s8"):
        trainer(views, larger).load(tmp_path / "c.npz")
    with pytest.raises(InputError, match="shards"):
        trainer(ViewStore(tmp_path / "none")).run(1)
