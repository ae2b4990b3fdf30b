"""Rates and timecode, against OpenTimelineIO's and against counting frame by frame."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.timecode import is_drop_frame, is_steady, nominal_rate, timecode

NTSC = Fraction(30000, 1001)
RATES = [Fraction(r) for r in (24, 25, 30, 50, 60)] + [Fraction(1000 * r, 1001) for r in (24, 30, 48, 60)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("scale", [1000, 90000, 12800, 30000])
@pytest.mark.parametrize("first", [0, 777, -50])
def test_the_rate_is_found_whatever_the_ticks(rate: Fraction, scale: int, first: int) -> None:
    pts = [first + round(i * scale / rate) for i in range(200)]
    assert nominal_rate(pts, Fraction(1, scale)) == rate


def test_a_gap_does_not_change_the_rate() -> None:
    pts = [1001 * i for i in range(100)] + [1001 * i for i in range(130, 200)]
    assert nominal_rate(pts, Fraction(1, 30000)) == NTSC
    assert not is_steady(pts, Fraction(1, 30000), NTSC)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("scale", [1000, 90000, None])
def test_neither_do_many_that_are_missing(rate: Fraction, scale: int | None) -> None:
    """A phone's video in MKV: in ticks of a millisecond no step is that of the rate. In AVI a tick is a frame."""
    base = Fraction(1, scale) if scale else 1 / rate
    pts = [round(i / (rate * base)) for i in range(150) if i % 7 == 0 or i % 11 > 4]
    assert nominal_rate(pts, base) == rate


@pytest.mark.parametrize("other", [50, 55, 66])
def test_a_camera_that_slows_down_in_the_dark_leaves_nothing_out(other: int) -> None:
    """Two pictures 50 ms apart are no two steps of 33 ms."""
    for steps, ticks in (([33, 33, 34] * 20 + [other] * 40, 1000), ([3000] * 60 + [90 * other] * 40, 90_000)):
        pts = [sum(steps[:i]) for i in range(len(steps) + 1)]
        assert nominal_rate(pts, Fraction(1, ticks)) == 30


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.sampled_from(RATES), st.integers(1, 90000))
def test_steady_is_less_than_half_a_frame_from_its_place(steps: list[int], rate: Fraction, scale: int) -> None:
    pts, base = [sum(steps[:i]) for i in range(len(steps) + 1)], Fraction(1, scale)
    assert is_steady(pts, base, rate) == all(abs(p * base * rate - i) < Fraction(1, 2) for i, p in enumerate(pts))
    even = [round(i / (rate * base)) for i in range(30)]
    assert is_steady(even, base, rate) == all(abs(p * base * rate - i) < Fraction(1, 2) for i, p in enumerate(even))


@pytest.mark.parametrize("missing", range(1, 29))
def test_one_missing_frame_does_not_change_the_rate_of_a_short_clip(missing: int) -> None:
    pts = [512 * i for i in range(30) if i != missing]
    assert nominal_rate(pts, Fraction(1, 12800)) == 25
    assert nominal_rate([p * 1000 // 12800 for p in pts], Fraction(1, 1000)) == 25


def test_odd_rates_are_whole() -> None:
    assert nominal_rate([0, 1], Fraction(1, 23)) == 23
    assert nominal_rate([0, 2000, 4000], Fraction(1, 1000)) == 1
    assert nominal_rate([5], Fraction(1, 1000)) == 25
    assert nominal_rate([], Fraction(1, 1000)) == 25


def counted(frames: int, base: int, dropped: int) -> str:
    """The label of frame `frames`, by writing down every label in turn."""
    label = 0
    for _ in range(frames):
        label += 1
        seconds, rest = divmod(label, base)
        if rest == 0 and seconds % 60 == 0 and seconds // 60 % 10 != 0:
            label += dropped
    seconds, rest = divmod(label, base)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02};{rest:02}"


@pytest.mark.parametrize(("rate", "base", "dropped"), [(NTSC, 30, 2), (2 * NTSC, 60, 4)])
@pytest.mark.parametrize("frame", [0, 1, 1799, 1800, 1801, 3597, 3598, 3600, 17981, 17982, 17983, 19781, 19782, 40000])
def test_drop_frame_leaves_out_what_the_standard_says(rate: Fraction, base: int, dropped: int, frame: int) -> None:
    assert timecode(frame, rate) == counted(frame, base, dropped)


@settings(deadline=None)
@given(st.integers(0, 24 * 3600 * 23), st.sampled_from([rate for rate in RATES if rate != Fraction(48000, 1001)]))
def test_timecode_is_opentimelineios(frame: int, rate: Fraction) -> None:
    opentime = pytest.importorskip("opentimelineio").opentime
    time = opentime.RationalTime(frame, float(rate))
    assert timecode(frame, rate) == opentime.to_timecode(time, float(rate), is_drop_frame(rate))


def test_a_day_later_it_starts_again() -> None:
    assert timecode(24 * 3600 * 25 + 3, Fraction(25)) == "00:00:00:03"
