"""Prototypes: against definitions worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.prototypes import (
    METHODS,
    MOST,
    PHOTOS_EACH,
    Method,
    are_unit,
    choose,
    distances,
    groups,
    held_out,
    medoid,
    silhouette,
)


def unit(v: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True), np.float32)


def person(seed: int, count: int, noise: float = 0.4, dimension: int = 16) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return unit(unit(rng.normal(size=dimension)) + noise * rng.normal(size=(count, dimension)) / np.sqrt(dimension))


def three_faces() -> NDArray[np.float32]:
    """One person with long hair, with glasses, on stage: three tight groups of six."""
    rng = np.random.default_rng(3)
    return np.concatenate([unit(np.eye(16)[k] + 0.02 * rng.normal(size=(6, 16))) for k in range(3)])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 25), st.sampled_from(METHODS))
def test_prototypes_are_unit_vectors_and_never_more_than_the_photos_allow(seed: int, n: int, method: Method) -> None:
    vectors = person(seed, n)
    chosen = choose(vectors, method)
    assert chosen.dtype == np.float32
    assert are_unit(chosen)
    assert 1 <= len(chosen) <= (max(1, min(MOST, n // PHOTOS_EACH)) if method == "kmeans" else 1)
    np.testing.assert_array_equal(chosen, choose(vectors, method))


def test_medoid_and_centroid_by_their_definitions() -> None:
    vectors = person(1, 9)
    totals = [sum(float(np.linalg.norm(a.astype(float) - b)) for b in vectors) for a in vectors]
    np.testing.assert_array_equal(choose(vectors, "medoid"), vectors[[int(np.argmin(totals))]])
    mean = vectors.astype(float).mean(0)
    np.testing.assert_allclose(choose(vectors, "centroid")[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_k_means_finds_the_groups_there_are() -> None:
    vectors = three_faces()
    labels = groups(vectors, "kmeans")
    assert len(set(labels.tolist())) == 3
    assert all(len(set(labels[k : k + 6].tolist())) == 1 for k in (0, 6, 12))
    chosen = choose(vectors, "kmeans")
    nearest = (chosen @ np.eye(16, dtype=np.float32)[:3].T).max(0)
    assert nearest.min() > 0.99


def test_k_means_makes_no_groups_where_there_are_none() -> None:
    assert len(choose(person(0, 20), "kmeans")) == 1
    assert len(choose(np.repeat(person(0, 1), 20, axis=0), "kmeans")) == 1


def test_photos_that_cancel_out_leave_one_of_them() -> None:
    e = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(choose(np.stack([e[0], -e[0]]), "centroid"), e[:1])


def test_silhouette_by_its_definition() -> None:
    vectors = person(2, 10, noise=1.0)
    apart, labels = distances(vectors), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    values = []
    for i in range(10):
        own = [apart[i, j] for j in range(10) if j != i and labels[j] == labels[i]]
        if not own:
            values.append(0.0)
            continue
        a = np.mean(own)
        b = min(np.mean(apart[i, labels == g]) for g in range(4) if g != labels[i])
        values.append((b - a) / max(a, b))
    assert silhouette(apart, labels) == pytest.approx(np.mean(values))
    assert silhouette(apart, np.zeros(10, np.intp)) == 0


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("method", ["medoid", "centroid"])
def test_leaving_one_out_is_the_same_as_really_leaving_it_out(method: Method, count: int) -> None:
    vectors = person(count, count, noise=0.8)
    expected = []
    for n in range(count):
        rest = np.delete(vectors, n, axis=0)
        expected.append(float((choose(rest, method) @ vectors[n]).max()))
    np.testing.assert_allclose(held_out(vectors, method), expected, atol=1e-5)


def test_leaving_one_out_of_groups_that_stay() -> None:
    vectors = three_faces()
    labels = groups(vectors, "kmeans")
    expected = []
    for n, vector in enumerate(vectors):
        rest = np.arange(len(vectors)) != n
        means = [unit(vectors[rest & (labels == g)].astype(float).mean(0)) for g in range(3)]
        expected.append(max(float(m @ vector) for m in means))
    np.testing.assert_allclose(held_out(vectors, "kmeans"), expected, atol=1e-5)


def test_one_photo_cannot_be_left_out() -> None:
    assert np.isnan(held_out(person(0, 1), "medoid")).all()


def test_ties_go_to_the_first_photo() -> None:
    same = np.repeat(person(0, 1), 4, axis=0)
    assert medoid(distances(same)) == 0
