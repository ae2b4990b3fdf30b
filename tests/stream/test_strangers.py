"""Unknown tracks of one person get one number."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from stream.strangers import average_linkage, number_strangers


def people(seed: int, who: list[int], noise: float = 0.04) -> NDArray[np.float32]:
    """A unit `[N,128]` embedding a track; equal numbers are one person."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(128, max(who) + 1)))[0].T
    rows = centres[who] + noise * rng.normal(size=(len(who), 128))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_nobody_and_one() -> None:
    assert number_strangers(np.zeros((0, 8), np.float32), np.zeros((0, 0), bool), 0.5).tolist() == []
    assert number_strangers(np.ones((1, 1), np.float32), np.zeros((1, 1), bool), 0.5).tolist() == [1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=20), st.integers(0, 1000))
def test_numbers_are_those_of_the_people_in_order_of_appearance(who: list[int], seed: int) -> None:
    order = {person: number for number, person in enumerate(dict.fromkeys(who), 1)}
    got = number_strangers(people(seed, who), np.zeros((len(who), len(who)), bool), 0.4)
    assert got.tolist() == [order[person] for person in who]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 14), st.integers(0, 1000))
def test_two_on_one_frame_are_never_one(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = np.triu(rng.random((count, count)) < 0.3, 1)
    apart = apart | apart.T
    numbers = number_strangers(people(seed, [0] * count), apart, 0.4)
    assert not (apart & (numbers[:, None] == numbers[None])).any()


def test_twins_on_one_frame_stay_two_and_each_finds_its_later_track() -> None:
    rows = people(1, [0, 1, 0, 1])
    apart = np.zeros((4, 4), bool)
    apart[0, 1] = apart[1, 0] = True
    assert number_strangers(rows, apart, 0.4).tolist() == [1, 2, 1, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 25), st.floats(0.05, 1.5), st.integers(0, 1000))
def test_groups_are_those_of_scipy(count: int, cut: float, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(count, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    distance = 1.0 - rows @ rows.T
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    theirs = fcluster(linkage(squareform(distance, checks=False), "average"), cut, "distance")
    ours = average_linkage(distance, cut)
    np.testing.assert_array_equal(ours[:, None] == ours[None], theirs[:, None] == theirs[None])
