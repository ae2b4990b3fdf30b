"""The rectangles task: its plots, its measure, its network and a short training."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

tf = pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from engine.metrics import box_iou  # noqa: E402
from train import rectangles as task  # noqa: E402
from train.data.rectangles import LONGEST, MOST, PLOTS, SHORTEST, SIDE, encode_plots, random_plots  # noqa: E402
from train.models.rectangles import build_rectangles_network  # noqa: E402
from train.rectangles import RectanglesRecipe, RectanglesTrainer  # noqa: E402

RECIPE = RectanglesRecipe(steps=4, plots=2, filters=4, warmup=1)


@pytest.fixture(autouse=True)
def uncompiled() -> Iterator[None]:
    """A few steps would mostly wait for the compiler."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def quiet(_: str) -> None:
    pass


def test_plots_are_what_the_write_up_says() -> None:
    plots = random_plots(300, 1)
    assert {len(p.boxes) for p in plots} == {1, 2, 3}
    for plot in plots:
        sides = plot.boxes[:, 2:] - plot.boxes[:, :2]
        assert plot.image.shape == (15, 15)
        assert sides.min() >= SHORTEST
        assert sides.max() <= LONGEST
        assert plot.boxes.min() >= 0
        assert plot.boxes.max() <= SIDE
        drawn = np.zeros((SIDE, SIDE))
        for y, x in itertools.product(range(SIDE), range(SIDE)):
            drawn[y, x] = sum(x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in plot.boxes) / MOST
        np.testing.assert_allclose(plot.image, drawn, atol=1e-6)
    crossing = [np.triu(box_iou(p.boxes, p.boxes), 1).max() > 0 for p in plots]
    assert 0.3 < np.mean(crossing) < 0.8
    again = random_plots(300, 1)
    assert all(np.array_equal(a.boxes, b.boxes) for a, b in zip(plots, again, strict=True))


def test_grids_hold_the_rectangles() -> None:
    """All but a third one in a cell, which has two boxes."""
    plots = random_plots(200, 2)
    images, grids = encode_plots(plots)
    assert images.shape == (200, 15, 15, 1)
    assert grids.shape == (200, 3, 3, 2, 5)
    lost = 0
    for plot, grid in zip(plots, grids, strict=True):
        found = task.find_rectangles(grid)
        lost += len(plot.boxes) - len(found)
        assert np.abs(found.boxes[:, None] - plot.boxes[None]).max(axis=2).min(axis=1).max() < 1e-3
    assert lost <= 6


def test_a_perfect_network_is_judged_perfect() -> None:
    plots = random_plots(60, 3)
    grids = encode_plots(plots)[1]
    at = iter(grids)
    figures = task.judge_rectangles(lambda images: np.stack([next(at) for _ in images]), plots)
    assert figures.accuracy > 0.98
    assert figures.ap > 0.98
    assert figures.plots == 60
    assert 0 < figures.overlapping < 60


def test_accuracy_by_hand() -> None:
    one, two = np.array([[0, 0, 4, 4]], float), np.array([[0, 0, 4, 4], [8, 8, 12, 12]], float)
    none = np.zeros((0, 4))
    assert task.weighted_accuracy(one, one) == 1
    assert task.weighted_accuracy(one, two) == 0.5  # a miss
    assert task.weighted_accuracy(two, one) == 0.5  # a false answer
    assert task.weighted_accuracy(np.repeat(one, 2, axis=0), one) == 0.5  # the same answer twice
    assert task.weighted_accuracy(np.array([[0.0, 0, 4, 3]]), one) == 0.75
    assert task.weighted_accuracy(np.array([[0.0, 0, 4, 1]]), one) == 0  # IoU under 0.5 is none
    assert task.weighted_accuracy(none, two) == 0
    assert task.weighted_accuracy(none, none) == 1


@given(seed=st.integers(0, 5000))
@settings(max_examples=40, deadline=None)
def test_accuracy_pairs_as_well_as_possible(seed: int) -> None:
    """Against every way of pairing, tried one by one."""
    true, other = (p.boxes.astype(np.float64) for p in random_plots(2, seed))
    found = np.concatenate([true + np.random.default_rng(seed).normal(0, 0.4, true.shape), other])[:3]
    overlap = box_iou(found, true)
    pairings = [
        [overlap[row, column] for row, column in zip(rows, columns, strict=False)]
        for rows in itertools.permutations(range(len(found)))
        for columns in itertools.permutations(range(len(true)))
    ]
    paired = [value for value in max(pairings, key=sum) if value >= 0.5]
    wanted = sum(paired) / (len(found) + len(true) - len(paired))
    assert task.weighted_accuracy(found, true) == pytest.approx(wanted)


def test_the_network_is_table_one() -> None:
    network = build_rectangles_network()
    convolutions = [layer for layer in network.layers if layer.name.startswith("conv")]
    assert [layer.kernel.shape for layer in convolutions] == [(5, 5, 1, 128), (5, 5, 128, 128), (5, 5, 128, 128)]
    assert network.get_layer("raw").kernel.shape == (15 * 15 * 128, 90)
    assert [network.get_layer(f"leaky{k}").negative_slope for k in (1, 2, 3)] == pytest.approx([0.1] * 3)
    assert network.output.shape == (None, 3, 3, PLOTS.boxes, 5)


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = task.train_rectangles(RECIPE, tmp_path / "whole", say=quiet)
    half = RectanglesTrainer(RECIPE)
    half.train_step()
    half.train_step()
    half.save(tmp_path / "half" / "checkpoint.npz", {})
    resumed = task.train_rectangles(RECIPE, tmp_path / "half", resume=True, say=quiet)
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    with pytest.raises(InputError, match="no checkpoint"):
        task.train_rectangles(RECIPE, tmp_path / "none", resume=True, say=quiet)


def test_a_few_steps_teach_something() -> None:
    """The same four plots again and again are learnt by heart."""
    trainer = RectanglesTrainer(replace(RECIPE, plots=4, filters=16, learning_rate=5e-3))
    losses = []
    for _ in range(30):
        trainer.step = 0
        losses.append(trainer.train_step()["loss"])
    assert losses[-1] < 0.2 * losses[0]


def test_the_command_writes_figures_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.train_rectangles import rectangles

    monkeypatch.setattr(task, "RectanglesRecipe", lambda **given: replace(RECIPE, **given))
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda _: None)
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)
    run = CliRunner().invoke(
        rectangles,
        ["--out", str(tmp_path), "--steps", "2", "--batch", "3", "--bfloat16", "--plots", "10", "--json"],
        catch_exceptions=False,
    )
    figures = json.loads(run.output)
    assert figures == json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert figures["plots"] == 10
    recipe = json.loads((tmp_path / "recipe.json").read_text("utf-8"))
    assert (recipe["steps"], recipe["plots"], recipe["bfloat16"]) == (2, 3, True)
    assert 0 <= figures["accuracy"] <= 1
    picture = cv2.imread(str(tmp_path / "predictions.png"))
    assert picture is not None
    assert picture.shape[1] == 8 * (15 * 14 + 20)
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_figures_without_overlaps_are_json() -> None:
    """JSON has no NaN: other programs than Python refuse a file that says it."""
    figures = task.RectanglesFigures(plots=1, accuracy=0.5, accuracy_overlapping=float("nan"), overlapping=0, ap=0.25)
    assert json.loads(json.dumps(figures.row(), allow_nan=False))["accuracy_overlapping"] is None
    assert str(figures).endswith("accuracy 0.500 (no rectangles overlap), AP at IoU 0.5 0.250")
