"""Screen time against counting frame by frame, and the timeline as lanes, picture and page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.errors import OutputError, UsageError
from stream.frames import TrackVerdict
from stream.styles import PALETTE
from stream.summary import UNKNOWN_ROWS, overview
from stream.timeline import Lane, Span, Timeline, timeline
from stream.timeline_page import page
from stream.timeline_plot import BAR, GAP, HEAD, ROW, WIDTH, across, picture, plot
from stream.tracks import Tracks, TracksWriter, read
from tests.stream.export import records


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(
        st.tuples(st.integers(1, 60), st.booleans(), st.sets(st.sampled_from("abc"))), min_size=1, max_size=20
    )
)
def test_every_figure_by_counting(script: list[tuple[int, bool, set[str]]], tmp_path: Path) -> None:
    pts, shot, frames = [100], 0, []
    for i, (step, cut, names) in enumerate(script):
        pts.append(pts[-1] + step)
        shot += cut and i > 0
        frames.append((shot, [records.face(ord(n), n) for n in sorted(names)]))
    times = pts[: len(frames)]
    path = records.write(
        tmp_path / "a.tracks.jsonl", frames, {ord(n): n for n in "abc"}, pts=times, time_base=Fraction(1, 100)
    )
    found = overview(read(path))
    mean = (times[-1] - times[0]) / max(1, len(times) - 1)
    last = mean if len(times) > 1 else 100 / 25  # the only frame lasts one of the usual rate
    lengths = [*(b - a for a, b in pairwise(times)), last]

    def seconds(which: list[int]) -> Any:
        return pytest.approx(sum(lengths[i] for i in which) / 100, abs=0.0011)

    seen = {n: [i for i, (_, _, names) in enumerate(script) if n in names] for n in "abc"}
    assert {p.name for p in found.people} == {n for n in "abc" if seen[n]}
    for person in found.people:
        at = seen[person.name]
        assert (person.frames, person.seconds) == (len(at), seconds(at))
        assert person.share == pytest.approx(len(at) / len(script), abs=1e-4)
        assert person.first == pytest.approx(times[at[0]] / 100, abs=0.001)
        assert person.last == pytest.approx((times[at[-1]] + lengths[at[-1]]) / 100, abs=0.001)
        runs = [[at[0]]]
        for i in at[1:]:
            if i == runs[-1][-1] + 1 and frames[i][0] == frames[i - 1][0]:
                runs[-1].append(i)
            else:
                runs.append([i])
        assert person.takes == len(runs)
        assert person.longest[1] - person.longest[0] == pytest.approx(
            max(sum(lengths[i] for i in run) for run in runs) / 100, abs=0.0011
        )
    together = {pair.names: pair for pair in found.together}
    for a, b in combinations("abc", 2):
        both = sorted(set(seen[a]) & set(seen[b]))
        assert ((a, b) in together) == bool(both)
        if both:
            assert (together[a, b].frames, together[a, b].seconds) == (len(both), seconds(both))
    assert found.seconds == seconds(list(range(len(script))))
    assert found.shots == len({shot for shot, _ in frames})


@pytest.fixture
def record(tmp_path: Path) -> Tracks:
    return records.stage_record(tmp_path)


def test_a_lane_a_person_and_the_shots_underneath(record: Tracks) -> None:
    drawn = timeline(record)
    assert [(lane.name, lane.known, len(lane.spans)) for lane in drawn.lanes] == [
        ("Yuri", True, 2),
        ("최예나", True, 1),
        ("unknown, track 2", False, 1),
    ]
    yuri, yena, stranger = drawn.lanes
    assert yuri.numbers == "1.3 s · 100.0 %"
    assert [drawn.share(t) for t in (yena.spans[0].start, yena.spans[0].end)] == pytest.approx([10 / 40, 20 / 40])
    assert [drawn.share(t) for t in (stranger.spans[0].start, stranger.spans[0].end)] == pytest.approx([25 / 40, 1])
    assert [drawn.share(span.end) for span in drawn.shots.spans] == pytest.approx([25 / 40, 1])
    assert yena.spans[0].title == "최예나: 0:00.3 to 0:00.7 (0.3 s)"
    assert (yuri.spans[0].colour, yena.spans[0].colour) == PALETTE[:2]
    assert all(0 <= drawn.share(mark) <= 1 for mark in drawn.marks)


def test_bars_that_no_pixel_holds_do_not_fill_the_gaps() -> None:
    """Somebody on every fifth of a thousand seconds is there a fifth of the time; one bar alone is widened to be
    seen."""
    black = (0.0, 0.0, 0.0)
    often, once, never = (
        Lane("A", "", True, tuple(Span(at, at + length, "A", black) for at in starts))
        for starts, length in ((range(0, 10_000, 5), 1), ((5000,), 0.01), ((), 0))
    )
    drawn = Timeline("", "", 0, 10_000, (often, once, never), never, (0,))
    rows = [picture(drawn)[HEAD + i * ROW + BAR // 2, :, 0] / 255 for i in range(3)]
    ink = [(rows[2] - row).sum() / rows[2][WIDTH // 2] for row in rows]
    whole = across(drawn, 10_000) - across(drawn, 0)
    assert ink[0] / whole == pytest.approx(0.2, abs=0.03)
    assert ink[1] == pytest.approx(1, abs=0.1)
    (thin,) = re.findall(r'<path fill="#000000" d="([^"]*)"/>', page(drawn))
    shares = [float(width) / 100 for width in re.findall(r"0h([\d.]+)v", thin)]
    assert len(shares) == 1999
    assert sum(shares) == pytest.approx(0.2, abs=0.001)
    assert page(drawn).count('class="alone"') == 2


def test_strangers_are_people_and_a_crowd_shares_a_lane(tmp_path: Path) -> None:
    """Tracks 0 and 1 are one stranger in two shots; of thirty others the last ones are seen shortest."""
    crowd = 30
    writer = TracksWriter.open(tmp_path / "c.tracks.jsonl", records.header())
    for i in range(40):
        faces = [records.face(i // 20)] + [records.face(2 + n) for n in range(crowd) if i < 35 - n]
        writer.frame(index=i, pts=1001 * i, shot=i // 20, faces=faces)
    for track in range(crowd + 2):
        writer.track(TrackVerdict(track, 0, "unknown", None, None, 0, 0, 1, 1 if track < 2 else track))
    writer.finish()
    record = read(tmp_path / "c.tracks.jsonl")
    found = overview(record)
    assert found.people == ()
    assert [(p.name, p.frames, p.takes) for p in found.strangers[:2]] == [("unknown 1", 40, 2), ("unknown 2", 35, 2)]
    assert len(found.strangers) == crowd + 1
    lanes = timeline(record).lanes
    assert [lane.name for lane in lanes[-2:]] == ["unknown 8", "23 more unknown"]
    assert len(lanes) == UNKNOWN_ROWS + 1
    (early, late) = lanes[-1].spans  # until the longest seen of the rest goes, cut once
    assert (late.end - early.start) * 30000 / 1001 == pytest.approx(35 - (UNKNOWN_ROWS - 1))


def test_the_picture_shows_the_bars(record: Tracks) -> None:
    drawn = timeline(record)
    pixels = picture(drawn)
    places = [HEAD + i * ROW for i in range(len(drawn.lanes))] + [HEAD + len(drawn.lanes) * ROW + GAP]
    for lane, top in zip((*drawn.lanes, drawn.shots), places, strict=True):
        for span in lane.spans:
            middle = pixels[top + BAR // 2, round(across(drawn, (span.start + span.end) / 2))]
            np.testing.assert_allclose(middle, np.array(span.colour) * 255, atol=1)
    before = pixels[HEAD + ROW + BAR // 2, round(across(drawn, drawn.lanes[1].spans[0].start)) - 2]
    assert np.ptp(before) < 8  # the lane's grey, before Yena comes


@pytest.mark.parametrize("length", [0, 1, 40])
def test_the_page_is_sound(length: int, tmp_path: Path) -> None:
    odd = '<script>"&'
    frames: records.Frames = [(0, [records.face(0, odd)])] * length
    record = read(records.write(tmp_path / "a.tracks.jsonl", frames, {0: odd}))
    out = plot(record, tmp_path / "a.html")
    text = out.read_text("utf-8")
    assert "<script" not in text
    assert "http" not in text  # nothing is fetched
    # Well-formed as XML too, once the two elements without an end are taken out.
    root = ET.fromstring(re.sub(r"<!DOCTYPE html>|<meta [^>]*>", "", text))
    bars = [element.attrib for element in root.iter("li") if "title" in element.attrib]
    assert any(bar["title"].startswith(odd) for bar in bars) == (length > 0)
    for bar in bars:
        left, width = (float(value) for value in re.findall(r"([\d.]+)%", bar["style"]))
        assert 0 <= left <= left + width <= 100.01
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    assert rows[1:] == ([] if not length else [[odd, "0:00.0", *rows[1][2:]]])
    with Image.open(plot(record, tmp_path / "a.png")) as image:
        assert image.width == WIDTH


def test_what_cannot_be_written(record: Tracks, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.svg"):
        plot(record, tmp_path / "a.svg")
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        plot(record, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("end", [9.0, 10.0, 10.9, 60.0])
def test_the_times_of_the_axis_do_not_overlap(end: float) -> None:
    """A late one is written to the left of its mark, where the one before would be."""
    marks = tuple(float(n) for n in range(0, int(end) + 1, 1 if end < 20 else 10))
    drawn = Timeline("mv.mp4", "", 0.0, end, (), Lane("shots", "", False, ()), marks)
    found = re.findall(r'<li( class="late")? style="left:([\d.]+)%">([^<]*)</li>', page(drawn))
    assert len(found) == len(marks)
    room = 7.5  # per cent that a time takes
    places = [
        (float(left) - room, float(left)) if late else (float(left), float(left) + room)
        for late, left, words in found
        if words.strip()
    ]
    assert all(one[1] <= other[0] for one, other in pairwise(places))
    assert len(places) >= len(marks) - 1
    assert found[0][2] == "0:00.0"


@pytest.mark.parametrize(("duration", "seconds", "appearances"), [(None, 0.16, 2), (100.0, 80.053, 1)])
def test_a_camera_that_was_gone_showed_nobody(
    duration: float | None, seconds: float, appearances: int, tmp_path: Path
) -> None:
    """The last picture of a file's shot stands until the next one; that of a live source stood for no minute."""
    pts = [0, 3600, 5_400_000, 5_403_600]
    frames = [(shot, [records.face(shot, "Yuri")]) for shot in (0, 0, 1, 1)]
    path = records.write(
        tmp_path / "a.tracks.jsonl",
        frames,
        {0: "Yuri", 1: "Yuri"},
        pts=pts,
        time_base=Fraction(1, 90_000),
        duration=duration,
    )
    record = read(path)
    assert record.summary is not None
    (written,), found = record.summary.people, overview(record)
    (person,) = found.people
    assert (person.seconds, person.appearances) == (written.seconds, written.appearances)
    assert (found.seconds, person.seconds, len(person.appearances)) == (seconds, seconds, appearances)
