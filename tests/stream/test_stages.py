"""What is counted of a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.crew import Channel, Crew
from stream.histogram import Histogram
from stream.stages import StageClock


@given(st.lists(st.floats(2e-3, 1e6), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_right_to_a_bucket(values: list[float], percent: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = float(np.percentile(values, percent, method="inverted_cdf"))
    assert math.isclose(histogram.percentile(percent), exact, rel_tol=0.0101)
    assert histogram.largest == max(values)


def test_a_histogram_of_nothing_and_of_the_very_short() -> None:
    histogram = Histogram()
    assert histogram.as_dict() == {"p50_ms": 0.0, "p95_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0}
    histogram.add(0.0)
    histogram.add(1e-9)
    histogram.add(1e12)
    assert histogram.percentile(50) <= 1.02e-3
    assert histogram.largest == 1e12


def test_a_stage_counts_calls_also_those_that_fail() -> None:
    clock = StageClock()
    for failure in (None, ValueError):
        try:
            with clock("decode"):
                if failure is not None:
                    raise failure
        except ValueError:
            pass
    stage = clock.stages["decode"]
    assert stage.calls == 2
    assert stage.as_dict().keys() >= {"calls", "cpu_ms", "wall_ms", "p50_ms", "p95_ms", "p99_ms", "first_at"}
    assert stage.walls.largest <= stage.wall_ms


def test_frames_are_under_way_in_order() -> None:
    clock = StageClock()
    clock.enters()
    clock.enters()
    clock.leaves()
    clock.leaves()
    with pytest.raises(IndexError):
        clock.leaves()
    assert clock.latency.largest > 0


def test_a_queue_tells_how_full_it_was_and_who_waited() -> None:
    crew = Crew()
    numbers: Channel[int] = crew.channel(2, "numbers")
    crew.channel(1)  # without a name: nobody's affair
    numbers.put(1)
    numbers.put(2)
    numbers.close()
    assert list(numbers) == [1, 2]
    queue = crew.queues()
    assert list(queue) == ["numbers"]
    filling = {"items": 2, "capacity": 2, "depth_mean": 1.5, "depth_max": 2}
    assert queue["numbers"] == {**filling, "put_wait_ms": 0.0, "take_wait_ms": 0.0}


def test_waiting_is_counted_on_both_sides() -> None:
    crew = Crew()
    numbers: Channel[int] = crew.channel(1, "numbers")
    back: Channel[int] = crew.channel(1, "back")

    def answer() -> None:
        for number in numbers:
            back.put(number)
        back.close()

    crew.start("answer", answer)
    answers = iter(back)
    for number in range(50):
        numbers.put(number)
        assert next(answers) == number
    numbers.close()
    crew.wait()
    assert crew.queues()["numbers"]["items"] == 50
    assert crew.queues()["back"]["take_wait_ms"] > 0
