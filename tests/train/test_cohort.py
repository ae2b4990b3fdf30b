"""Cohorts of strangers, made of made-up people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import train.cohort
from engine.errors import InputError
from train.cohort import FEWEST, build_cohort, real_rates

D = 24


def crowd(seed: int, people: int, photos: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """People in clumps of look-alikes: kinds, persons around them, photos around those."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(0).normal(size=(12, D))
    middle = kinds[rng.integers(12, size=people)] + 1.2 * rng.normal(size=(people, D))
    x = np.repeat(middle, photos, axis=0) + 0.8 * rng.normal(size=(people * photos, D))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), tuple(f"s{seed} {n}" for n in range(people) for _ in range(photos))


def test_a_cohort_gives_real_strangers_about_the_rate_that_was_asked_for() -> None:
    cohort = build_cohort(*crowd(1, 600, 6), "net", "e" * 64, clusters=40)
    assert cohort.people == 600
    assert cohort.faces == 3600
    assert cohort.fewest >= FEWEST
    assert 10 <= len(cohort.centroids) <= 40
    assert cohort.weights.sum() == pytest.approx(1)
    x, names = crowd(2, 150, 6)
    rates = real_rates(cohort, x, np.array(names), {"fresh": x}, sizes=(4, 12), fars=(0.01,))
    assert [r.gallery for r in rates] == [4, 12]
    for rate in rates:
        assert 0.003 < rate.measured < 0.03
    # Bare averages let hardly anybody in: what the fitted scatter is for.
    bare = replace(cohort, scales=np.zeros(len(cohort.scales)))
    assert real_rates(bare, x, np.array(names), {"fresh": x}, sizes=(12,), fars=(0.01,))[0].measured < rates[1].measured


def test_a_face_alone_is_never_a_centroid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train.cohort, "_GALLERIES", 4)
    x, names = crowd(1, 60, 6)
    cohort = build_cohort(x, names, "net", "", clusters=50)
    assert cohort.fewest >= FEWEST
    assert len(cohort.centroids) <= 6
    assert (x @ cohort.centroids.T).max() < 0.999


def test_the_same_people_make_the_same_cohort_and_nameless_faces_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train.cohort, "_GALLERIES", 4)
    x, names = crowd(3, 80, 6)
    first = build_cohort(x, names, "net", "", clusters=8)
    more = np.concatenate([x, x[:50]])
    again = build_cohort(more, (*names, *[""] * 50), "net", "", clusters=8)
    assert first.to_bytes() == again.to_bytes()


def test_too_few_people() -> None:
    x, names = crowd(1, 12, 6)
    with pytest.raises(InputError, match="people are too few for a cohort"):
        build_cohort(x, names, "net", "")
