"""Verification metrics against slow definitions written from the words of the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.metrics import best_threshold, bootstrap_interval, fold_accuracy, rank1, roc, tar_at_far

Pairs = tuple[NDArray[np.float64], NDArray[np.bool_]]


def random_pairs(seed: int, count: int = 60, gap: float = 0.8, ties: bool = False) -> Pairs:
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    same[:2] = [True, False]
    s = rng.normal(0, 1, count) + gap * same
    return (np.asarray(np.round(s, 1), np.float64) if ties else s), same


@given(st.integers(0, 10_000), st.booleans())
def test_roc_counts_what_each_threshold_accepts(seed: int, ties: bool) -> None:
    s, same = random_pairs(seed, ties=ties)
    curve = roc(s, same)
    assert curve.thresholds[0] == np.inf
    assert set(curve.thresholds[1:]) == set(s)
    for threshold, tar, far in zip(curve.thresholds, curve.tar, curve.far, strict=True):
        assert tar == pytest.approx(sum(s[same] >= threshold) / same.sum())
        assert far == pytest.approx(sum(s[~same] >= threshold) / (~same).sum())


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_tar_at_far_is_the_best_that_keeps_the_promise(seed: int, ties: bool, far: float) -> None:
    s, same = random_pairs(seed, ties=ties)
    tar, threshold = tar_at_far(s, same, far)
    assert np.mean(s[~same] >= threshold) <= far
    curve = roc(s, same)
    assert tar == pytest.approx(max(t for t, f in zip(curve.tar, curve.far, strict=True) if f <= far))


@given(st.integers(0, 10_000), st.booleans())
def test_no_threshold_beats_the_best(seed: int, ties: bool) -> None:
    s, same = random_pairs(seed, 30, ties=ties)
    chosen = np.mean((s >= best_threshold(s, same)) == same)
    candidates = [*s, *(s + 1e-9), -np.inf, np.inf]
    assert chosen == max(np.mean((s >= t) == same) for t in candidates)


def test_fold_accuracy_never_looks_at_the_fold_it_tests() -> None:
    """One fold lies elsewhere: a threshold chosen on all pairs would do better on it than the protocol allows."""
    same = np.tile([True, False], 50)
    s = np.where(same, 0.8, 0.2)
    s[:10] = np.where(same[:10], 0.1, 0.0)
    result = fold_accuracy(s, same, folds=10)
    assert result.accuracies[0] == 0.5
    assert result.accuracies[1:] == (1.0,) * 9
    assert result.mean == pytest.approx(0.95)


def test_fold_accuracy_agrees_with_a_plain_loop() -> None:
    s, same = random_pairs(3, 200)
    result = fold_accuracy(s, same, folds=5)
    for k in range(5):
        test = np.arange(40 * k, 40 * k + 40)
        rest = np.setdiff1d(np.arange(200), test)
        best = max(np.mean((s[rest] >= t) == same[rest]) for t in s)
        assert np.mean((s[rest] >= result.thresholds[k]) == same[rest]) == best
        assert result.accuracies[k] == pytest.approx(np.mean((s[test] >= result.thresholds[k]) == same[test]))


@pytest.mark.parametrize(
    ("s", "same", "folds"),
    [([0.1, 0.2], [True, True], 2), ([0.1, 0.2, 0.3], [True, False, True], 2), ([0.1, 0.2], [True, False], 1)],
)
def test_impossible_benchmarks_are_refused(s: list[float], same: list[bool], folds: int) -> None:
    with pytest.raises(ValueError, match=r"pairs"):
        fold_accuracy(np.array(s), np.array(same), folds)


def test_rank1_and_interval() -> None:
    assert rank1(np.eye(4), np.array([0, 1, 2, 0])) == 0.75
    hits = np.random.default_rng(0).random(400) < 0.9
    low, high = bootstrap_interval(hits)
    spread = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert (low, high) == pytest.approx((hits.mean() - spread, hits.mean() + spread), abs=0.006)
    assert bootstrap_interval(hits) == (low, high)
