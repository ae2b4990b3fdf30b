"""The freshest frame, and the account of the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.live.freshest import CAUSES, Cause, Freshest


def balanced(room: Freshest[Any]) -> bool:
    tally = room.tally
    return tally.came == tally.went + tally.dropped + room.waiting


def test_a_newer_frame_takes_the_place_of_the_one_that_waits() -> None:
    room = Freshest[int](0.2)
    for n in range(4):
        room.offer(n, arrived=n / 30)
    assert room.take(now=0.11) == 3
    assert room.take(now=0.11) is None
    assert room.tally.as_dict() == {"superseded": 3}
    assert (room.tally.came, room.tally.went) == (4, 1)


def test_a_frame_is_taken_up_to_the_bound_and_not_beyond() -> None:
    room = Freshest[int](0.25)
    room.offer(1, arrived=10.0)
    assert room.take(now=10.25) == 1
    room.offer(2, arrived=11.0)
    assert room.take(now=11.2500001) is None
    assert room.tally.as_dict() == {"stale": 1}
    assert not room.waiting


@pytest.mark.parametrize("cause", CAUSES)
def test_what_waits_can_be_dropped_for_any_cause_once(cause: Cause) -> None:
    room = Freshest[int](1.0)
    room.offer(1, arrived=0.0)
    room.clear(cause)
    room.clear(cause)
    assert room.take(now=0.0) is None
    assert room.tally.as_dict() == {cause: 1}


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_lets_nothing_through_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="max_staleness"):
        Freshest[int](bound)


def test_four_times_more_frames_than_can_be_analysed_leave_every_fourth_and_none_old() -> None:
    room = Freshest[float](0.2)
    taken = []
    for n in range(400):
        arrived = n / 30
        room.offer(arrived, arrived)
        if n % 4 == 3:
            taken.append(arrived + 0.004 - (room.take(now=arrived + 0.004) or 0.0))
    assert len(taken) == 100
    assert max(taken) == pytest.approx(0.004)
    assert room.tally.as_dict() == {"superseded": 300}
    assert balanced(room)


@given(
    st.lists(
        st.tuples(st.sampled_from(["offer", "take", "lost", "ended"]), st.floats(0.0, 0.5, allow_nan=False)),
        max_size=60,
    )
)
def test_every_frame_is_accounted_for_whatever_happens(steps: list[tuple[str, float]]) -> None:
    room = Freshest[int](0.2)
    now = 0.0
    for n, (what, pause) in enumerate(steps):
        now += pause
        if what == "offer":
            room.offer(n, now)
        elif what == "take":
            room.take(now)
        else:
            room.clear("lost" if what == "lost" else "ended")
        assert balanced(room)
