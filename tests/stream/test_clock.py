"""Times that rise."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.clock import Clock, with_next

MS = Fraction(1, 1000)


def settled(stamps: list[int | None], least: int = 1) -> list[int]:
    clock = Clock(MS, 40, least)
    return [clock.settle(stamp, following) for stamp, following in with_next(stamps)]


def test_rising_times_are_left_alone() -> None:
    stamps: list[int | None] = [-80, 0, 1, 40, 9000, 9001]
    clock = Clock(MS, 40)
    assert [clock.settle(a, b) for a, b in with_next(stamps)] == stamps
    assert clock.moved == clock.derived == 0


def test_missing_times_follow_the_one_before() -> None:
    assert settled([None, None, 100, None, 200]) == [0, 40, 100, 140, 200]


def test_a_single_wild_time_does_not_move_what_follows() -> None:
    assert settled([0, 40, 95_397_000, 120, 160]) == [0, 40, 80, 120, 160]
    assert settled([95_397_000, 40, 80]) == [0, 40, 80]


def test_a_clock_set_back_goes_on_with_the_same_distances() -> None:
    assert settled([50_000, 50_040, 50_080, 0, 40, 100]) == [50_000, 50_040, 50_080, 50_120, 50_160, 50_220]


def test_equal_times_are_moved_only_where_they_must_be() -> None:
    assert settled([0, 40, 40, 40, 80]) == [0, 40, 41, 42, 80]
    assert settled([0, 40, 40, 80], least=0) == [0, 40, 40, 80]


@given(st.lists(st.none() | st.integers(-10_000, 10_000_000), max_size=40))
def test_whatever_comes_in_rises(stamps: list[int | None]) -> None:
    times = settled(stamps)
    assert len(times) == len(stamps)
    assert all(b > a for a, b in pairwise(times))
