"""Takes and shots against a slow reference, and the editors' grid."""

from __future__ import annotations

import fractions
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.takes import Ruler, Shot, Take, cast, placed_shots, shots, takes
from stream.tracks import RecordedFrame, read
from tests.stream.export import records


def test_the_stage(tmp_path: Path) -> None:
    record = records.stage_record(tmp_path)
    assert shots(record.frames) == [Shot(0, 0, 24), Shot(1, 25, 39)]
    assert takes(record.frames) == [
        Take("Yuri", 0, 0, 24, (0,)),
        Take("최예나", 0, 10, 19, (1,)),
        Take("Yuri", 1, 25, 39, (3,)),
    ]
    assert cast(record) == ("Yuri", "최예나")


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from("abc"))), max_size=30))
def test_takes_agree_with_looking_at_every_frame(script: list[tuple[bool, set[str]]]) -> None:
    frames, shot = [], 0
    for i, (cut, names) in enumerate(script):
        shot += cut and i > 0
        frames.append(RecordedFrame(i, i, i / 25, shot, tuple(records.face(ord(n), n) for n in sorted(names))))
    found = takes(frames)
    shown = {(take.name, i) for take in found for i in range(take.first, take.last + 1)}
    assert shown == {(name, i) for i, (_, names) in enumerate(script) for name in names}
    for take in found:
        assert {frames[i].shot for i in range(take.first, take.last + 1)} == {take.shot}
        for outside in (take.first - 1, take.last + 1):
            if 0 <= outside < len(frames) and frames[outside].shot == take.shot:
                assert take.name not in script[outside][1]
    assert [take.first for take in found] == sorted(take.first for take in found)


@settings(deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.data())
def test_how_long_frames_last_together(steps: list[int], data: st.DataObject) -> None:
    pts = [sum(steps[:i]) for i in range(len(steps))]
    silences = sorted(data.draw(st.sets(st.integers(1, max(1, len(pts) - 1))))) if len(pts) > 1 else []
    ruler = Ruler(pts, Fraction(1, 1000), silences)
    at = sorted(data.draw(st.sets(st.integers(0, len(pts) - 1))))
    assert ruler.seconds(at) == sum((ruler.end(i) - ruler.start(i) for i in at), Fraction(0))


def test_an_hour_takes_no_more_fractions_than_a_minute() -> None:
    def fractions_of(length: int) -> int:
        calls = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event == "call" and frame.f_code.co_filename == fractions.__file__

        pts, base = [1001 * i for i in range(length)], Fraction(1, 30000)
        sys.setprofile(count)
        try:
            Ruler(pts, base).seconds(range(length))
        finally:
            sys.setprofile(None)
        return calls

    assert 0 < fractions_of(100) == fractions_of(3000)


@settings(deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.integers(-500, 500))
def test_places_rise_and_lie_near_their_time(steps: list[int], first: int) -> None:
    pts = [first]
    for step in steps:
        pts.append(pts[-1] + step)
    ruler = Ruler(pts, Fraction(1, 1000))
    places = [ruler.place(i) for i in range(len(pts))]
    assert places[0] == 0
    assert all(b >= a for a, b in pairwise(places))
    for i, place in enumerate(places):
        assert abs(place / ruler.rate - (ruler.start(i) - ruler.start(0))) <= 1 / (2 * ruler.rate)
        assert ruler.place_after(i) > place
        assert ruler.end(i) > ruler.start(i)


def test_frames_spaced_evenly_but_for_rounding_keep_their_index() -> None:
    ruler = Ruler([0, 33, 67, 100, 133, 167, 200], Fraction(1, 1000))
    assert [ruler.place(i) for i in range(7)] == list(range(7))
    assert ruler.length == 7


def test_a_gap_moves_what_follows() -> None:
    ruler = Ruler([0, 40, 80, 120, 400, 440], Fraction(1, 1000))
    assert [ruler.place(i) for i in range(6)] == [0, 1, 2, 3, 10, 11]


def test_what_was_silent_belongs_to_nobody() -> None:
    ruler = Ruler([0, 40, 80, 4000, 4040], Fraction(1, 1000), silences=[3])
    assert [ruler.place_after(i) for i in range(5)] == [1, 2, 3, 101, 102]
    assert ruler.seconds(range(5)) == Fraction(1, 5)


def test_one_frame_and_none() -> None:
    photo, nothing = Ruler([0], Fraction(1, 1000)), Ruler([], Fraction(1, 1000))
    assert (photo.end(0), photo.length, nothing.length) == (Fraction(1, 25), 1, 0)


def test_shots_follow_one_another_on_the_grid(tmp_path: Path) -> None:
    frames: records.Frames = [(i // 2, []) for i in range(12)]
    pts = [0, 40, 80, 120, 121, 122, 123, 200, 240, 280, 320, 360]
    record = read(records.write(tmp_path / "a.tracks.jsonl", frames, {}, pts=pts, time_base=Fraction(1, 1000)))
    placed = placed_shots(record, Ruler.of(record))
    assert [s.number for s, _, _ in placed] == [0, 1, 3, 4, 5]  # the third lasts 2 ms
    assert placed[0][1] == 0
    assert all(a[2] == b[1] for a, b in pairwise(placed))
    assert all(end > start for _, start, end in placed)


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_and_a_photo(length: int, tmp_path: Path) -> None:
    record = read(records.write(tmp_path / "a.tracks.jsonl", [(0, [])] * length, {}))
    assert len(placed_shots(record, Ruler.of(record))) == length
