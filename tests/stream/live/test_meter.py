"""What is counted, and how Prometheus reads it."""

from __future__ import annotations

import re

import pytest

from stream.live.meter import LatencyHistogram, Metric, Recent, exposition, histogram_samples
from stream.live.presence import GAP, LatelySeen

LINE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="(\\.|[^"\\\n])*",?)*\})? [0-9.e+-]+')


def test_buckets_hold_their_upper_bound_and_only_grow() -> None:
    histogram = LatencyHistogram((0.1, 0.2, 0.4))
    for seconds in (0.1, 0.1000001, 0.2, 0.39, 0.41, 50.0):
        histogram.add(seconds)
    assert histogram.cumulative() == [1, 3, 4, 6]
    assert histogram.count == 6
    assert histogram.total == pytest.approx(51.2000001)


@pytest.mark.parametrize("bounds", [(), (0.2, 0.1), (0.1, 0.1)])
def test_bounds_have_to_rise(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rise"):
        LatencyHistogram(bounds)


def test_recent_frames_alone_count_for_how_it_is_now() -> None:
    recent = Recent(frames=10)
    assert recent.percentile(95) is None
    assert recent.rate(now=0.0) == 0.0
    for n in range(40):
        recent.add(now=n / 10, seconds=1.0 if n < 30 else 0.05)
    assert recent.percentile(95) == 0.05
    assert recent.rate(now=3.9) == pytest.approx(10.0)
    assert recent.rate(now=60.0) == 0.0  # nothing has come for long


def test_a_series_survives_any_name() -> None:
    names = ['door "left"', "back\\slash", "two\nlines", "문"]
    text = exposition([Metric("iznet_up", "Whether.", "gauge", [("", {"camera": name}, 1) for name in names])])
    lines = text.splitlines()
    assert lines[:2] == ["# HELP iznet_up Whether.", "# TYPE iznet_up gauge"]
    assert len(lines) == 2 + len(names)
    assert all(LINE.fullmatch(line) for line in lines[2:])


def test_a_histogram_is_written_with_infinity_sum_and_count() -> None:
    histogram = LatencyHistogram((0.1,))
    histogram.add(0.05)
    histogram.add(3.0)
    text = exposition([Metric("lag", "Lag.", "histogram", histogram_samples(histogram, {"camera": "a"}))])
    assert text.splitlines()[2:] == [
        'lag_bucket{camera="a",le="0.1"} 1',
        'lag_bucket{camera="a",le="+Inf"} 2',
        'lag_sum{camera="a"} 3.05',
        'lag_count{camera="a"} 2',
    ]


def test_a_short_absence_is_one_stay_and_a_long_one_two() -> None:
    lately = LatelySeen(window=100)
    for time in (0.0, 0.5, 0.5 + GAP, 5.0, 5.1):
        lately.see(["yuri"], time)
    assert lately.stays(now=6.0) == {"yuri": [(0.0, 1.5), (5.0, 5.1)]}


def test_what_lies_before_the_window_is_cut_off_and_forgotten() -> None:
    lately = LatelySeen(window=10)
    for second in range(8):
        lately.see(["yuri", "yena"] if second < 3 else ["yuri"], float(second))
    assert lately.stays(now=15.0) == {"yuri": [(5.0, 7.0)]}
    assert "yena" not in lately._stays
    assert lately.stays(now=30.0) == {}
    assert lately._stays == {}
