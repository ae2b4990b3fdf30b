"""Open-set identification, confusion and the ROC's summaries against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import confusion, open_set, roc


@given(st.integers(0, 10_000), st.booleans())
def test_open_set_counts_what_each_threshold_names(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    best, strangers = rng.normal(0.5, 0.3, 20), rng.normal(0.2, 0.3, 15)
    if ties:
        best, strangers = best.round(1), strangers.round(1)
    right = rng.random(20) < 0.8
    curve = open_set(best, right, strangers)
    assert set(curve.thresholds[1:]) == {*best, *strangers}
    assert (curve.dir[0], curve.far[0]) == (0, 0)
    for threshold, found, alarms in zip(curve.thresholds, curve.dir, curve.far, strict=True):
        assert found == pytest.approx(sum((best >= threshold) & right) / 20)
        assert alarms == pytest.approx(sum(strangers >= threshold) / 15)
    for far in (0.0, 0.1, 0.5, 1.0):
        value, threshold = curve.at(far)
        assert np.mean(strangers >= threshold) <= far
        allowed = [t for t in curve.thresholds if np.mean(strangers >= t) <= far]
        assert value == max(np.mean((best >= t) & right) for t in allowed)


def test_open_set_needs_both() -> None:
    some = np.ones(2)
    for known, unknown in ((some, some[:0]), (some[:0], some)):
        with pytest.raises(ValueError, match="known faces and strangers"):
            open_set(known, known > 0, unknown)


def test_confusion_counts_who_was_taken_for_whom() -> None:
    rng = np.random.default_rng(0)
    truth, named = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    matrix = confusion(truth, named, 5)
    assert matrix.sum() == 50
    for i in range(5):
        for j in range(5):
            assert matrix[i, j] == sum((truth == i) & (named == j))


@given(st.integers(0, 10_000))
def test_area_is_the_chance_of_the_right_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    s, same = rng.normal(size=30).round(1), np.arange(30) % 3 == 0
    pairs = [(a > b) + (a == b) / 2 for a in s[same] for b in s[~same]]
    assert roc(s, same).area == pytest.approx(np.mean(pairs))


@given(st.integers(0, 10_000))
def test_the_best_threshold_has_the_best_mean_of_both_kinds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = np.arange(40) % 4 == 0
    s = (rng.normal(size=40) + same).round(1)
    curve = roc(s, same)

    def both(threshold: float) -> float:
        return float(np.mean(s[same] >= threshold) + np.mean(s[~same] < threshold)) / 2

    for threshold in (*s, -9.0, 9.0, 0.123):
        assert curve.accuracy(threshold) == pytest.approx(both(threshold))
    assert both(curve.best) == pytest.approx(max(both(t) for t in (*s, np.inf)))
