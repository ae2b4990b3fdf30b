"""The loss by the letter, the loss as TensorFlow runs it, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

tf = pytest.importorskip("tensorflow")

from engine.metrics import box_iou  # noqa: E402
from train.losses.yolo import (  # noqa: E402
    YoloWeights,
    overlap_in_cells,
    overlaps,
    yolo_loss,
    yolo_loss_by_terms,
)

CELLS = 3.0
Scene = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def scene(seed: int, pictures: int = 2, rows: int = 3, columns: int = 2, boxes: int = 2) -> Scene:
    """Random predictions, targets and ignored boxes."""
    rng = np.random.default_rng(seed)
    shape = (pictures, rows, columns, boxes)
    predicted = rng.uniform(0.05, 0.95, (*shape, 5)).astype(np.float32)
    responsible = rng.random(shape) < 0.4
    target = (rng.uniform(0.05, 0.95, (*shape, 5)) * responsible[..., None]).astype(np.float32)
    target[..., 0] = responsible
    return predicted, target, (rng.random(shape) < 0.3) & ~responsible


def corners(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """x1, y1, x2, y2 in cells of (x, y, w, h)."""
    middle, half = box[:2].astype(np.float64), box[2:].astype(np.float64) * CELLS / 2
    return np.concatenate([middle - half, middle + half])[None]


def test_one_predictor_by_hand() -> None:
    """Eq. 3 with the defaults for one responsible and one idle predictor, worked out on paper."""
    target = np.zeros((1, 1, 1, 2, 5))
    predicted = np.zeros_like(target)
    target[0, 0, 0, 0] = [1, 0.5, 0.5, 0.25, 0.25]
    predicted[0, 0, 0, 0] = [0.5, 0.6, 0.5, 0.25, 0.16]
    predicted[0, 0, 0, 1] = [0.4, 0.1, 0.1, 0.3, 0.3]
    ignore = np.zeros((1, 1, 1, 2), bool)
    parts = yolo_loss_by_terms(predicted, target, ignore, cells=1)
    overlap = (0.25 - 0.1) * 0.16 / (0.25 * 0.25 + 0.25 * 0.16 - (0.25 - 0.1) * 0.16)
    assert parts["xy"] == pytest.approx(25 * 0.1**2)
    assert parts["wh"] == pytest.approx(25 * (0.5 - 0.4) ** 2)
    assert parts["object"] == pytest.approx((0.5 - overlap) ** 2)
    assert parts["background"] == pytest.approx(0.5 * 0.4**2)
    assert parts["loss"] == pytest.approx(0.25 + 0.25 + (0.5 - overlap) ** 2 + 0.08)


def test_ignored_boxes_bear_no_penalty_and_a_perfect_answer_none_at_all() -> None:
    _, target, ignore = scene(3)
    perfect = target.copy()
    perfect[ignore] = [0.9, 0.5, 0.5, 0.5, 0.5]
    assert yolo_loss_by_terms(perfect, target, ignore, CELLS)["loss"] == pytest.approx(0, abs=1e-9)
    assert float(yolo_loss(perfect, target, ignore, CELLS)[0]) == pytest.approx(0, abs=1e-9)
    assert yolo_loss_by_terms(perfect, target, np.zeros_like(ignore), CELLS)["background"] > 0


@given(seed=st.integers(0, 10_000), coord=st.floats(0, 30), noobj=st.floats(0, 2), pictures=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_both_ways_agree(seed: int, coord: float, noobj: float, pictures: int) -> None:
    predicted, target, ignore = scene(seed, pictures)
    weights = YoloWeights(coord, noobj)
    slow = yolo_loss_by_terms(predicted, target, ignore, CELLS, weights)
    loss, parts = yolo_loss(predicted, target, ignore, CELLS, weights)
    assert float(loss) == pytest.approx(slow["loss"], rel=1e-4, abs=1e-5)
    for name in ("xy", "wh", "object", "background"):
        assert float(parts[name]) == pytest.approx(slow[name], rel=1e-4, abs=1e-5), name


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_overlap_is_that_of_the_metrics(seed: int) -> None:
    first, second = np.random.default_rng(seed).uniform(0.01, 1, (2, 4)).astype(np.float32)
    wanted = box_iou(corners(first), corners(second))[0, 0]
    assert overlap_in_cells(first, second, CELLS) == pytest.approx(wanted, abs=1e-5)
    one, other = (np.concatenate([[1], box])[None].astype(np.float32) for box in (first, second))
    assert float(overlaps(one, other, CELLS)[0]) == pytest.approx(wanted, abs=1e-5)


def test_overlap_of_nothing_with_nothing_is_none() -> None:
    assert overlap_in_cells(np.zeros(4), np.zeros(4), CELLS) == 0
    assert float(overlaps(tf.zeros((1, 5)), tf.zeros((1, 5)), CELLS)[0]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_the_formula(seed: int) -> None:
    """Central differences of the term-by-term version, the stated overlap held fast as Eq. 3's target."""
    predicted, target, ignore = scene(seed, pictures=1, rows=2, columns=2)
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        loss, _ = yolo_loss(variable, target, ignore, CELLS)
    gradient = tape.gradient(loss, variable).numpy()
    fixed = overlaps(predicted, target, CELLS).numpy()
    wide = predicted.astype(np.float64)
    for place in np.ndindex(predicted.shape):
        values = []
        for sign in (1, -1):
            moved = wide.copy()
            moved[place] += sign * 1e-5
            values.append(yolo_loss_by_terms(moved, target, ignore, CELLS, confidence=fixed)["loss"])
        numeric = (values[0] - values[1]) / 2e-5
        assert gradient[place] == pytest.approx(numeric, rel=2e-3, abs=2e-3), place


def test_no_gradient_flows_through_the_stated_overlap() -> None:
    """Moving a box changes its overlap; the confidence term must not reward that."""
    predicted, target, ignore = scene(1, pictures=1)
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        loss, _ = yolo_loss(variable, target, ignore, CELLS, YoloWeights(coord=0.0))
    gradient = tape.gradient(loss, variable).numpy()
    assert np.abs(gradient[..., 0]).max() > 0
    assert np.abs(gradient[..., 1:]).max() == 0


def test_gradient_is_finite_where_idle_boxes_are_empty() -> None:
    predicted, target, ignore = scene(2)
    predicted[target[..., 0] == 0] = 0
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        loss, _ = yolo_loss(variable, target, ignore, CELLS)
    assert np.isfinite(tape.gradient(loss, variable).numpy()).all()
