"""The samplers against an enumeration of everything they can draw, and a chi-square test of what they do draw."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from engine.errors import InputError
from train.sampling.segment_tree import Interval, SegmentTree, partition
from train.sampling.uniform import Classes, UniformPairs, UniformTriplets

Over = Literal["triplets", "pairs"]
LETTERS = ["Γ", "Λ", "★", "◇", "□"]
CLASSES = [1, 1, 2, 2, 2]


class Scripted:
    """Stands in for the random generator: gives back the numbers it was told, and notes the ranges asked for."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._left = list(numbers)
        self.ranges: list[int] = []

    def integers(self, low: int, high: int | NDArray[np.int64], count: int = 1) -> NDArray[np.int64]:
        self.ranges.append(int(np.ravel(high)[0]) - low)
        return np.array([low + (self._left.pop(0) if self._left else 0)])


def exact(sampler: UniformTriplets) -> dict[tuple[int, ...], Fraction]:
    """The probability of every triplet (anchor and positive in order of position), by following every possible draw."""
    chances: dict[tuple[int, ...], Fraction] = Counter()  # type: ignore[assignment]

    def follow(numbers: tuple[int, ...]) -> None:
        script = Scripted(numbers)
        row = sampler.draw(script, 1)[0].tolist()  # type: ignore[arg-type]
        if len(numbers) == len(script.ranges):
            chances[(*sorted(row[:2]), row[2])] += Fraction(1, math.prod(script.ranges))
            return
        for number in range(script.ranges[len(numbers)]):
            follow((*numbers, number))

    follow(())
    return chances


def tally(rows: NDArray[np.intp], photos: int) -> dict[tuple[int, ...], int]:
    """How often each row occurs."""
    width = rows.shape[1]
    codes, counts = np.unique(np.ravel_multi_index(tuple(rows.T), (photos,) * width), return_counts=True)
    shown = np.stack(np.unravel_index(codes, (photos,) * width), axis=1).tolist()
    return {tuple(row): int(n) for row, n in zip(shown, counts, strict=True)}


def all_triplets(labels: list[int]) -> set[tuple[int, ...]]:
    n = range(len(labels))
    return {
        (a, p, k)
        for a, p in itertools.combinations(n, 2)
        for k in n
        if labels[a] == labels[p] and labels[k] != labels[a]
    }


def test_the_nine_triplets_are_equally_likely() -> None:
    """The example of C₁ = {Γ, Λ} and C₂ = {★, ◇, □}, worked out in fractions."""
    chances = exact(UniformTriplets(Classes(CLASSES)))
    assert set(chances) == all_triplets(CLASSES)
    assert set(chances.values()) == {Fraction(1, 9)}
    with_first_pair = sum(c for t, c in chances.items() if {LETTERS[t[0]], LETTERS[t[1]]} == {"Γ", "Λ"})
    assert with_first_pair == Fraction(1, 3)


def test_pairs_can_be_made_equally_likely_instead() -> None:
    """Anchor class with C(n,2) / ΣC(n,2): each of the four pairs in a quarter of the draws."""
    chances = exact(UniformTriplets(Classes(CLASSES), over="pairs"))
    assert set(chances) == all_triplets(CLASSES)
    pairs: Counter[tuple[int, ...]] = Counter()
    for triplet, chance in chances.items():
        pairs[triplet[:2]] += chance  # type: ignore[assignment]
    assert set(pairs.values()) == {Fraction(1, 4)}
    assert {chances[t] for t in chances if t[:2] == (0, 1)} == {Fraction(1, 12)}


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5))
@settings(max_examples=30, deadline=None)
def test_every_triplet_of_small_classes_is_equally_likely(labels: list[int]) -> None:
    wanted = all_triplets(labels)
    classes = Classes(np.array(labels), count=4)
    if not wanted:
        with pytest.raises(InputError, match="no triplet"):
            UniformTriplets(classes)
        return
    sampler = UniformTriplets(classes)
    assert sampler.total == len(wanted)
    assert exact(sampler) == dict.fromkeys(wanted, Fraction(1, len(wanted)))


@pytest.mark.parametrize("sizes", [(2, 3), (4, 1, 2), (0, 5, 2, 1), (6, 2, 2, 0)])
def test_a_million_draws_are_uniform(sizes: tuple[int, ...]) -> None:
    """Chi-square over all triplets and pairs; drawn at once, in a handful of calls to the generator."""
    labels = [c for c, n in enumerate(sizes) for _ in range(n)]
    classes = Classes(np.array(labels), count=len(sizes))
    rng = np.random.default_rng(5)
    drawn = UniformTriplets(classes).draw(rng, 1_000_000)
    assert drawn.shape == (1_000_000, 3)
    drawn[:, :2].sort(axis=1)
    counts = tally(drawn, len(labels))
    assert set(counts) == all_triplets(labels)
    assert chisquare(list(counts.values())).pvalue > 1e-3
    pairs = UniformPairs(classes)
    for draw, same, total in (
        (pairs.draw_positive, True, pairs.positives),
        (pairs.draw_negative, False, pairs.negatives),
    ):
        counts = tally(np.sort(draw(rng, 1_000_000), axis=1), len(labels))
        wanted = {(i, j) for i, j in itertools.combinations(range(len(labels)), 2) if (labels[i] == labels[j]) == same}
        assert set(counts) == wanted
        assert total == len(wanted)
        assert chisquare(list(counts.values())).pvalue > 1e-3


def test_the_anchor_order_is_uniform_too() -> None:
    counts = tally(UniformTriplets(Classes(CLASSES)).draw(np.random.default_rng(1), 90_000), 5)
    assert len(counts) == 18
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_choosing_classes_uniformly_would_be_noticed() -> None:
    """The test above has teeth: the scheme that the weights replace fails it."""
    classes = Classes(CLASSES)
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 2, 100_000)
    sizes = classes.sizes[owner]
    anchor, positive = classes.pair(owner, rng.integers(0, sizes), rng.integers(0, sizes - 1))
    drawn = np.stack([anchor, positive, classes.outside(owner, rng.integers(0, 5 - sizes))], axis=1)
    drawn[:, :2].sort(axis=1)
    counts = tally(drawn, 5)
    assert chisquare(list(counts.values())).pvalue < 1e-100
    assert sum(n for t, n in counts.items() if t[:2] == (0, 1)) / 100_000 == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("over", ["triplets", "pairs"])
def test_edge_classes(over: Over) -> None:
    """Of 0, 1 and 2 photos: nothing, only a negative, one pair."""
    classes = Classes(np.array([1, 2, 2]), count=4)
    assert classes.sizes.tolist() == [0, 1, 2, 0]
    drawn = UniformTriplets(classes, over).draw(np.random.default_rng(0), 50)
    assert {tuple(sorted(t[:2])) for t in drawn.tolist()} == {(1, 2)}
    assert set(drawn[:, 2].tolist()) == {0}


@pytest.mark.parametrize("labels", [[], [0], [0, 1, 2], [0, 0, 0]])
def test_where_nothing_can_be_drawn_it_is_said(labels: list[int]) -> None:
    classes = Classes(np.array(labels, np.intp), count=4)
    with pytest.raises(InputError, match=r"needs.* two photos"):
        UniformTriplets(classes)
    with pytest.raises(InputError, match=r"needs.* two photos"):
        UniformPairs(classes)


def test_a_draw_is_half_of_each_kind_and_repeatable() -> None:
    labels = np.arange(40) // 4
    sampler = UniformPairs(Classes(labels))
    pairs, same = sampler.draw(np.random.default_rng(2), 33)
    assert same.sum() == 16
    np.testing.assert_array_equal(labels[pairs[:, 0]] == labels[pairs[:, 1]], same)
    assert same[:16].any()
    assert not same[:16].all()
    again, _ = sampler.draw(np.random.default_rng(2), 33)
    np.testing.assert_array_equal(pairs, again)


def test_names_and_any_order_of_photos() -> None:
    labels = ["yuri", "minju", "yuri", "sakura", "minju", "yuri"]
    drawn = UniformTriplets(Classes(labels)).draw(np.random.default_rng(0), 2000)
    names = np.array(labels)[drawn]
    assert (names[:, 0] == names[:, 1]).all()
    assert (names[:, 0] != names[:, 2]).all()
    assert (drawn[:, 0] != drawn[:, 1]).all()


@given(st.lists(st.integers(-20, 20), max_size=12, unique=True), st.lists(st.floats(-30, 30), max_size=30))
def test_a_point_is_found_where_a_search_from_left_to_right_finds_it(bounds: list[int], points: list[float]) -> None:
    ends = [-math.inf, *sorted(map(float, bounds)), math.inf]
    tree = SegmentTree([Interval(a, b) for a, b in itertools.pairwise(ends)])
    asked = [*points, *map(float, bounds)]
    found = tree.find(np.array(asked))
    assert found.tolist() == [
        next(k for k, i in enumerate(tree.intervals) if i.low <= point < i.high) for point in asked
    ]


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ([], "reach from -inf"),
        ([Interval(0, math.inf)], "reach from -inf"),
        ([Interval(-math.inf, 0)], "reach from -inf"),
        ([Interval(-math.inf, 0), Interval(1, math.inf)], "gap"),
        ([Interval(-math.inf, 2), Interval(1, math.inf)], "overlap"),
        ([Interval(-math.inf, 1), Interval(1, 1), Interval(1, math.inf)], "empty"),
    ],
)
def test_intervals_must_be_disjoint_and_complete_the_line(intervals: list[Interval], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentTree(intervals)


def test_weights_become_whole_numbers_exactly() -> None:
    tree, positions = partition([3, 0, 2**52, 1])
    last = 2**52 + 3
    assert positions[tree.find(np.array([0, 2, 3, last - 1, last]))].tolist() == [0, 0, 2, 2, 3]
    for wrong in ([], [0, 0], [-1, 3], [2**53]):
        with pytest.raises(ValueError, match="weights"):
            partition(wrong)
