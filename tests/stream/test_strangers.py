"""Unknown tracks of one person get one number."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from stream.strangers import number_strangers


def people(seed: int, who: list[int], noise: float = 0.04) -> NDArray[np.float32]:
    """A unit `[N,128]` embedding a track; equal numbers are one person."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(128, max(who) + 1)))[0].T
    rows = centres[who] + noise * rng.normal(size=(len(who), 128))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def rows_of(apart: NDArray[np.bool_]) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in apart]


def test_nobody_and_one() -> None:
    assert number_strangers(np.zeros((0, 8), np.float32), [], 0.5).tolist() == []
    assert number_strangers(np.ones((1, 1), np.float32), [()], 0.5).tolist() == [1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=20), st.integers(0, 1000))
def test_numbers_are_those_of_the_people_in_order_of_appearance(who: list[int], seed: int) -> None:
    order = {person: number for number, person in enumerate(dict.fromkeys(who), 1)}
    got = number_strangers(people(seed, who), [()] * len(who), 0.4)
    assert got.tolist() == [order[person] for person in who]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 14), st.integers(0, 1000))
def test_two_on_one_frame_are_never_one(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = np.triu(rng.random((count, count)) < 0.3, 1)
    apart = apart | apart.T
    numbers = number_strangers(people(seed, [0] * count), rows_of(apart), 0.4)
    assert not (apart & (numbers[:, None] == numbers[None])).any()


def test_twins_on_one_frame_stay_two_and_each_finds_its_later_track() -> None:
    rows = people(1, [0, 1, 0, 1])
    assert number_strangers(rows, [[1], [0], [], []], 0.4).tolist() == [1, 2, 1, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 25), st.floats(0.05, 1.5), st.floats(0.0, 0.4), st.integers(0, 1000))
def test_groups_are_those_of_scipy(count: int, cut: float, share: float, seed: int) -> None:
    """SciPy knows no pairs that are kept apart; one so far apart that no mean with it is near comes to the same."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    apart = np.triu(rng.random((count, count)) < share, 1)
    apart |= apart.T
    distance = 1.0 - rows.astype(np.float64) @ rows.astype(np.float64).T
    distance = np.where(apart, 4.0 * count * count, (distance + distance.T) / 2)
    np.fill_diagonal(distance, 0.0)
    theirs = fcluster(linkage(squareform(distance, checks=False), "average"), cut, "distance")
    ours = number_strangers(rows, rows_of(apart), 1.0 - cut)
    np.testing.assert_array_equal(ours[:, None] == ours[None], theirs[:, None] == theirs[None])


def test_whoever_is_alone_has_a_number_alone() -> None:
    assert number_strangers(people(1, [0, 0, 1, 0]), [()] * 4, 0.4, {1}).tolist() == [1, 2, 3, 1]


def test_memory_grows_with_the_tracks_not_with_their_pairs() -> None:
    """A table of all pairs of these would be 50 MB."""
    rng = np.random.default_rng(0)
    who = rng.integers(0, 40, 2500).tolist()
    rows = people(0, who)
    tracemalloc.start()
    numbers = number_strangers(rows, [()] * len(rows), 0.4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
    assert len(set(zip(who, numbers.tolist(), strict=True))) == 40 == numbers.max()
