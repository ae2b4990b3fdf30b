"""How long to wait for a feed that was lost."""

from __future__ import annotations

import itertools

import pytest

from stream.live.reconnect import Backoff


def waits(backoff: Backoff, count: int) -> list[float | None]:
    return [backoff.failed() for _ in range(count)]


def test_waits_double_up_to_the_longest() -> None:
    assert waits(Backoff(first=1, longest=10, jitter=0), 6) == [1, 2, 4, 8, 10, 10]


def test_without_a_limit_it_never_gives_up_nor_overflows() -> None:
    backoff = Backoff(longest=30, jitter=0)
    assert all(wait is not None and 0 < wait <= 30 for wait in waits(backoff, 2000))


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_it_gives_up_after_so_many_failures_in_a_row(retries: int) -> None:
    backoff = Backoff(retries, jitter=0)
    assert [wait is None for wait in waits(backoff, retries + 2)] == [False] * retries + [True, True]


def test_a_success_begins_the_count_and_the_waits_anew() -> None:
    backoff = Backoff(2, first=1, jitter=0)
    assert waits(backoff, 3) == [1, 2, None]
    backoff.succeeded()
    assert waits(backoff, 3) == [1, 2, None]


def test_chance_moves_waits_within_its_part_and_the_seed_decides() -> None:
    plain = waits(Backoff(jitter=0), 8)
    moved = waits(Backoff(jitter=0.5, seed="door"), 8)
    assert moved == waits(Backoff(jitter=0.5, seed="door"), 8)
    assert moved != waits(Backoff(jitter=0.5, seed="stage"), 8)
    for wait, full in zip(moved, plain, strict=True):
        assert wait is not None
        assert full is not None
        assert full / 2 <= wait <= full


def test_cameras_that_went_down_together_do_not_ask_together() -> None:
    first = [Backoff(seed=f"{n} camera").failed() for n in range(8)]
    assert len(set(first)) == 8


@pytest.mark.parametrize(
    ("retries", "first", "longest", "jitter"), [(-1, 1, 2, 0), (None, 0, 2, 0), (None, 3, 2, 0), (None, 1, 2, 1.5)]
)
def test_settings_without_sense_are_refused(retries: int | None, first: float, longest: float, jitter: float) -> None:
    with pytest.raises(ValueError, match="got"):
        Backoff(retries, first=first, longest=longest, jitter=jitter)


def test_waits_are_never_shorter_than_chance_allows_over_a_long_outage() -> None:
    backoff = Backoff(first=0.5, longest=30, jitter=0.5, seed=1)
    for wait in itertools.islice(iter(backoff.failed, None), 500):
        assert wait is not None
        assert wait >= 0.25
