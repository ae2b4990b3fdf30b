"""Searching the nearest person, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.nearest import nearest_other, two_nearest


def reference(
    x: NDArray[np.float32], prototypes: NDArray[np.float32], owners: NDArray[np.int32]
) -> tuple[list[int], list[float], list[float]]:
    who, first, second = [], [], []
    for cosines in x.astype(np.float64) @ prototypes.T.astype(np.float64):
        best = int(np.argmax(cosines))
        others = cosines[owners != owners[best]]
        who.append(int(owners[best]))
        first.append(float(np.clip(cosines[best], -1, 1)))
        second.append(float(np.clip(others.max(initial=-1.0), -1, 1)))
    return who, first, second


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 12), st.integers(0, 9), st.integers(1, 20))
def test_coarse_vectors_with_many_ties(seed: int, prototypes: int, people: int, faces: int, dimension: int) -> None:
    """Components of −1, 0 and 1 have exact products, so equal cosines are equal in both."""
    rng = np.random.default_rng(seed)
    p = rng.integers(-1, 2, (prototypes, dimension)).astype(np.float32)
    x = rng.integers(-1, 2, (faces, dimension)).astype(np.float32)
    owners = rng.integers(0, people, prototypes).astype(np.int32)
    who, first, second = two_nearest(x, p, owners)
    expected = reference(x, p, owners)
    assert who.tolist() == expected[0]
    np.testing.assert_array_equal(first, expected[1])
    np.testing.assert_array_equal(second, expected[2])


@pytest.mark.parametrize(("people", "each", "faces"), [(1, 1, 1), (1, 5, 3), (2, 1, 4), (500, 5, 40), (100_000, 1, 3)])
def test_unit_vectors_of_any_number_of_people(people: int, each: int, faces: int) -> None:
    rng = np.random.default_rng(people)
    p = rng.normal(size=(people * each, 128))
    p = (p / np.linalg.norm(p, axis=1, keepdims=True)).astype(np.float32)
    x = (p[rng.integers(len(p), size=faces)] + 0.05 * rng.normal(size=(faces, 128))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    owners = rng.permutation(np.arange(people * each, dtype=np.int32) % people)
    who, first, second = two_nearest(x, p, owners)
    expected = reference(x, p, owners)
    assert who.tolist() == expected[0]
    np.testing.assert_allclose(first, expected[1], atol=1e-6)
    np.testing.assert_allclose(second, expected[2], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 6))
def test_the_nearest_other_person(seed: int, prototypes: int, people: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.normal(size=(prototypes, 8))
    p = (p / np.linalg.norm(p, axis=1, keepdims=True)).astype(np.float32)
    owners = rng.integers(0, people, prototypes).astype(np.int32)
    who, cosine = nearest_other(p, owners, p, owners)
    for n in range(prototypes):
        others = np.flatnonzero(owners != owners[n])
        if not len(others):
            assert (who[n], cosine[n]) == (-1, -1)
            continue
        best = max(float(p[n].astype(float) @ p[m]) for m in others)
        assert cosine[n] == pytest.approx(best, abs=1e-6)
        assert float((p[owners == who[n]] @ p[n]).max()) == pytest.approx(best, abs=1e-6)
