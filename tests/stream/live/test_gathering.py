"""Whose frames are looked at together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.live.gathering import Gatherer

WAIT = 0.005


def test_alone_each_is_looked_at_at_once_and_in_turn() -> None:
    gatherer = Gatherer()
    assert gatherer.due([None, None, None], [True] * 3) is None
    assert gatherer.due([1.0, None, 2.0], [False, True, False]) == 1.0
    assert [gatherer.take([True, True, True]) for _ in range(4)] == [[0], [1], [2], [0]]
    assert gatherer.take([True, False, False]) == [0]
    assert gatherer.take([False, False, False]) == []


def test_the_first_waits_for_the_others_and_no_longer() -> None:
    gatherer = Gatherer(most=3, wait=WAIT)
    assert gatherer.due([1.0, None, None], [False, True, True]) == 1.0 + WAIT
    assert gatherer.due([1.0, 1.002, None], [False, False, True]) == 1.0 + WAIT
    assert gatherer.due([1.0, 1.002, 1.003], [False] * 3) == 1.0
    assert gatherer.take([True] * 3) == [0, 1, 2]
    assert gatherer.due([2.0, None, None], [False, True, True]) == 2.0 + WAIT


def test_nobody_waits_for_a_camera_that_gives_nothing() -> None:
    gatherer = Gatherer(most=3, wait=WAIT)
    assert gatherer.due([1.0, None, None], [False, False, False]) == 1.0


def test_no_more_are_waited_for_than_go_together() -> None:
    gatherer = Gatherer(most=2, wait=WAIT)
    assert gatherer.due([1.0, 1.001, None], [False, False, True]) == 1.0
    assert gatherer.take([True, True, True]) == [0, 1]
    assert gatherer.take([True, True, True]) == [2, 0]


def test_a_camera_that_gives_pictures_faster_than_they_are_held_back_does_not_put_it_off() -> None:
    gatherer = Gatherer(most=2, wait=WAIT)
    for step in range(10):
        due = gatherer.due([1.0 + step * WAIT / 2, None], [False, True])
        assert due == 1.0 + WAIT


@pytest.mark.parametrize(("most", "wait"), [(0, 0.0), (1, -0.1), (1, float("nan"))])
def test_numbers_that_make_no_sense(most: int, wait: float) -> None:
    with pytest.raises(ValueError, match="frames go together"):
        Gatherer(most, wait)


Moment = tuple[float, frozenset[int], bool]
"""Seconds since the one before; the cameras from which a frame comes then; whether the others still give pictures."""


@given(
    cameras=st.integers(1, 6),
    most=st.integers(1, 4),
    wait=st.sampled_from([0.0, 0.005, 0.02]),
    moments=st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.004, 0.03]), st.frozensets(st.integers(0, 5)), st.booleans()),
        max_size=60,
    ),
)
def test_whatever_comes_none_is_held_back_too_long_and_none_is_passed_over(
    cameras: int, most: int, wait: float, moments: list[Moment]
) -> None:
    """A run in which looking takes no time: at every moment all is looked at that is due."""
    gatherer = Gatherer(most, wait)
    now = 0.0
    arrived: list[float | None] = [None] * cameras
    held: list[float | None] = [None] * cameras
    """Since when somebody of each camera waits, the replaced included."""
    passed = [0] * cameras
    """Turns of others while one of each waited."""
    for pause, comers, others in moments:
        end = now + pause
        while True:
            coming = [others and arrival is None for arrival in arrived]
            due = gatherer.due(arrived, coming)
            assert (due is None) == all(arrival is None for arrival in arrived)
            if due is None or max(due, now) > end:
                break
            now = max(now, due)
            waiting = [arrival is not None for arrival in arrived]
            taken = gatherer.take(waiting)
            assert 0 < len(taken) <= most
            assert len(set(taken)) == len(taken)
            assert all(waiting[camera] for camera in taken)
            assert len(taken) == min(most, sum(waiting))
            for camera in range(cameras):
                if camera in taken:
                    since = held[camera]
                    assert since is not None
                    # Held back for others only: beyond the wait there are those who went before it.
                    assert now - since <= wait + 1e-9
                    arrived[camera] = held[camera] = None
                    passed[camera] = 0
                elif waiting[camera]:
                    passed[camera] += 1
                    assert passed[camera] < -(-cameras // most)
        now = end
        for camera in comers:
            if camera < cameras:
                arrived[camera] = now
                held[camera] = now if held[camera] is None else held[camera]
