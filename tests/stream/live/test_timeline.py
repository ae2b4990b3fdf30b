"""One line of time through the breaks of a feed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stream.live.timeline import DRIFT, TICK, Timeline


def seconds(pts: int) -> float:
    return float(pts * TICK)


def test_the_feeds_own_distances_count_not_the_jitter_of_their_arrival() -> None:
    line = Timeline(began=50.0)
    late = [0.0, 0.02, 0.005, 0.08, 0.0]
    places = [line.place(seconds=1000 + n / 25, arrived=51.0 + n / 25 + late[n]) for n in range(5)]
    assert [place.pts - places[0].pts for place in places] == [3600 * n for n in range(5)]
    assert [place.broken for place in places] == [True, False, False, False, False]
    assert seconds(places[0].pts) == 1.0


def test_a_new_connection_begins_where_its_first_picture_arrives() -> None:
    line = Timeline(began=0.0)
    line.place(seconds=500.0, arrived=1.0)
    line.breaks()
    again = line.place(seconds=0.0, arrived=9.0)
    assert again.broken
    assert seconds(again.pts) == 9.0


@pytest.mark.parametrize("jump", [-300.0, -2.0, 2.0, 86400.0])
def test_stamps_that_jump_break_and_go_on_from_the_arrival(jump: float) -> None:
    line = Timeline(began=0.0)
    line.place(seconds=100.0, arrived=1.0)
    before = line.place(seconds=100.04, arrived=1.04)
    after = line.place(seconds=100.08 + jump, arrived=1.08)
    following = line.place(seconds=100.12 + jump, arrived=1.12)
    assert (before.broken, after.broken, following.broken) == (False, True, False)
    assert seconds(after.pts) == pytest.approx(1.08, abs=1e-4)
    assert following.pts - after.pts == 3600


def test_stamps_that_stand_still_or_go_back_a_little_still_rise() -> None:
    line = Timeline(began=0.0)
    places = [line.place(seconds=s, arrived=1.0) for s in (5.0, 5.0, 4.9, 5.0, 5.2)]
    assert [b.pts > a.pts for a, b in pairwise(places)] == [True] * 4
    assert not any(place.broken for place in places[1:])


def test_pictures_without_a_stamp_stand_where_they_arrive() -> None:
    line = Timeline(began=10.0)
    places = [line.place(seconds=None, arrived=10.5 + n / 10) for n in range(3)]
    assert [seconds(place.pts) for place in places] == pytest.approx([0.5, 0.6, 0.7])
    assert [place.broken for place in places] == [True, False, False]


def test_a_clock_that_runs_faster_is_led_back_without_a_break() -> None:
    line = Timeline(began=0.0)
    fast = 1.001  # ten times worse than any crystal
    ahead = []
    for n in range(60_000):  # forty minutes
        place = line.place(seconds=n / 25 * fast, arrived=n / 25)
        assert not place.broken or n == 0
        ahead.append(seconds(place.pts) - n / 25)
    assert max(ahead) < DRIFT + 0.1
    assert ahead[-1] == pytest.approx(DRIFT, abs=0.1)


def test_nothing_stands_before_the_run_began() -> None:
    line = Timeline(began=10.0)
    assert line.place(seconds=3.0, arrived=9.0).pts == 0
