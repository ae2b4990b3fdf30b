"""Triplet loss, pair loss and semi-hard mining against slow NumPy, and gradients against differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from train.losses.pairs import PairHead, pair_loss  # noqa: E402
from train.losses.triplet import triplet_loss, triplet_terms  # noqa: E402
from train.sampling.mining import semi_hard_triplets  # noqa: E402

Array = NDArray[np.float64]


def unit(rng: np.random.Generator, *shape: int) -> Array:
    x = rng.normal(size=shape)
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def slope(function: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    """Central differences."""
    out = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        out[index] = (function(x + moved) - function(x - moved)) / (2 * step)
    return out


def slow_triplet(x: Array, triplets: list[tuple[int, int, int]], margin: float) -> float:
    terms = [max(0.0, ((x[a] - x[p]) ** 2).sum() - ((x[a] - x[n]) ** 2).sum() + margin) for a, p, n in triplets]
    return float(sum(terms) / len(terms))


TRIPLETS = [(0, 1, 3), (1, 0, 2), (2, 3, 0), (3, 2, 4)]


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_triplet_loss_is_equation_1(margin: float) -> None:
    x = unit(np.random.default_rng(0), 5, 6)
    assert float(triplet_loss(tf.constant(x), tf.constant(TRIPLETS), margin)) == pytest.approx(
        slow_triplet(x, TRIPLETS, margin)
    )
    points = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(points)
        loss = triplet_loss(points, tf.constant(TRIPLETS), margin)
    gradient = tf.convert_to_tensor(tape.gradient(loss, points)).numpy()
    np.testing.assert_allclose(gradient, slope(lambda y: slow_triplet(y, TRIPLETS, margin), x), atol=1e-6)


def test_triplet_distances_are_squared() -> None:
    terms = triplet_terms(tf.constant([[0.0]]), tf.constant([[2.0]]), tf.constant([[3.0]]), margin=6.0)
    assert terms.numpy().tolist() == [4 - 9 + 6]


def test_no_triplets_cost_nothing() -> None:
    x = tf.constant(unit(np.random.default_rng(0), 3, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = triplet_loss(x, tf.zeros((0, 3), tf.int32))
    assert float(loss) == 0
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(loss, x)).numpy(), 0)


def slow_mining(x: Array, labels: list[int]) -> list[tuple[int, int, int]]:
    found = []
    for a in range(len(x)):
        for p in range(len(x)):
            others = [n for n in range(len(x)) if labels[n] != labels[a]]
            if p == a or labels[p] != labels[a] or not others:
                continue
            distance = [float(((x[a] - y) ** 2).sum()) for y in x]
            farther = [n for n in others if distance[n] > distance[p]]
            n = min(farther, key=lambda k: distance[k]) if farther else max(others, key=lambda k: distance[k])
            found.append((a, p, n))
    return found


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_mining_finds_what_three_loops_find(labels: list[int], seed: int) -> None:
    x = unit(np.random.default_rng(seed), len(labels), 3)
    found = semi_hard_triplets(tf.constant(x), tf.constant(labels, tf.int32))
    assert [tuple(t) for t in found.numpy().tolist()] == slow_mining(x, labels)
    assert found.shape[1] == 3


def test_mining_by_hand() -> None:
    """On a line: for (0, 1) the negative at 1.5 and not the hard one at 0.5; for (0, 9) all are too close."""
    x = tf.constant([[0.0], [1.0], [9.0], [0.5], [1.5], [2.0]])
    found = {tuple(t) for t in semi_hard_triplets(x, tf.constant([0, 0, 0, 1, 1, 1])).numpy().tolist()}
    assert (0, 1, 4) in found
    assert (0, 2, 5) in found


def test_the_choice_carries_no_gradient_but_the_loss_does() -> None:
    x = tf.Variable(unit(np.random.default_rng(1), 8, 4))
    labels = tf.constant([0, 0, 1, 1, 2, 2, 3, 3])
    with tf.GradientTape() as tape:
        mined = semi_hard_triplets(x, labels)
        loss = triplet_loss(x, mined)
    fixed = [tuple(t) for t in mined.numpy().tolist()]
    expected = slope(lambda y: slow_triplet(y, fixed, 0.2), x.numpy())
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(loss, x)).numpy(), expected, atol=1e-6)


def slow_pairs(first: Array, second: Array, alpha: Array, bias: float, same: NDArray[np.bool_]) -> float:
    chance = 1 / (1 + np.exp(-(np.abs(first - second) @ alpha + bias)))
    return float(-np.mean(np.where(same, np.log(chance), np.log(1 - chance))))


def test_pair_loss_is_cross_entropy_of_the_weighted_difference() -> None:
    rng = np.random.default_rng(0)
    first, second = unit(rng, 6, 5), unit(rng, 6, 5)
    same = np.array([True, False, True, False, False, True])
    head = PairHead(dtype="float64")
    head([first, second])
    alpha, bias = rng.normal(size=5), 0.3
    head.set_weights([alpha, np.array(bias)])
    points = tf.constant(first)
    with tf.GradientTape() as tape:
        tape.watch(points)
        loss = pair_loss(head([points, tf.constant(second)]), tf.constant(same))
    assert float(loss) == pytest.approx(slow_pairs(first, second, alpha, bias, same))
    to_points, to_alpha, to_bias = tape.gradient(loss, [points, head.alpha.value, head.bias.value])
    expected = slope(lambda y: slow_pairs(y, second, alpha, bias, same), first)
    np.testing.assert_allclose(to_points.numpy(), expected, atol=1e-6)
    if to_alpha is not None:
        np.testing.assert_allclose(
            to_alpha.numpy(), slope(lambda y: slow_pairs(first, second, y, bias, same), alpha), atol=1e-6
        )
        assert float(to_bias) == pytest.approx(
            float(slope(lambda y: slow_pairs(first, second, alpha, float(y), same), np.array(bias))), abs=1e-6
        )


def test_pair_head_begins_with_alike_is_same() -> None:
    rng = np.random.default_rng(0)
    x, y = unit(rng, 20, 128), unit(rng, 20, 128)
    head = PairHead()
    assert (head([tf.constant(x, tf.float32), tf.constant(x, tf.float32)]).numpy() > 0).all()
    assert (head([tf.constant(x, tf.float32), tf.constant(y, tf.float32)]).numpy() < 0).all()
    assert len(head.trainable_variables) == 2
