"""Screen time against counting frame by frame, and the timeline's geometry and pictures."""

from __future__ import annotations

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
from stream.styles import PALETTE
from stream.summary import overview
from stream.timeline_plot import Bar, Text, picture, plot, timeline
from stream.tracks import Tracks, read
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


def test_a_row_a_person_and_the_shots_underneath(record: Tracks) -> None:
    drawn = timeline(record)
    bars = [shape for shape in drawn.shapes if isinstance(shape, Bar) and shape.title]
    yuri = [bar for bar in bars if bar.title.startswith("Yuri")]
    (yena,) = [bar for bar in bars if bar.title.startswith("최예나")]
    stranger = [bar for bar in bars if bar.title.startswith("somebody unknown")]
    shots = [bar for bar in bars if bar.title.startswith("shot")]
    assert (len(yuri), len(stranger), len(shots)) == (2, 1, 2)
    assert yuri[0].top == yuri[1].top < yena.top < stranger[0].top < shots[0].top == shots[1].top
    whole = shots[0].width + shots[1].width
    assert shots[0].width / whole == pytest.approx(25 / 40)
    assert yena.left - shots[0].left == pytest.approx(whole * 10 / 40)
    assert yena.width == pytest.approx(whole * 10 / 40)
    assert (yuri[0].colour, yena.colour) == PALETTE[:2]
    for shape in drawn.shapes:
        if isinstance(shape, Bar):
            assert 0 <= shape.left <= shape.left + shape.width <= drawn.width + 1
            assert 0 <= shape.top <= shape.top + shape.height <= drawn.height
    names = [shape.text for shape in drawn.shapes if isinstance(shape, Text) and shape.anchor == "right"]
    assert [name for name in names if name in ("Yuri", "최예나", "unknown", "shots")] == [
        "Yuri",
        "최예나",
        "unknown",
        "shots",
    ]


def test_the_picture_shows_the_bars(record: Tracks) -> None:
    drawn = timeline(record)
    pixels = picture(drawn)
    for bar in drawn.shapes:
        if isinstance(bar, Bar) and bar.title:
            middle = pixels[round(bar.top + bar.height / 2), round(bar.left + bar.width / 2)]
            np.testing.assert_allclose(middle, np.array(bar.colour) * 255, atol=1)


@pytest.mark.parametrize("length", [0, 1, 40])
def test_the_page_is_sound(length: int, tmp_path: Path) -> None:
    odd = '<script>"&'
    frames: records.Frames = [(0, [records.face(0, odd)])] * length
    record = read(records.write(tmp_path / "a.tracks.jsonl", frames, {0: odd}))
    out = plot(record, tmp_path / "a.html")
    text = out.read_text("utf-8")
    assert "<script" not in text
    drawing = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    titles = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title and title.startswith(odd) for title in titles) == (length > 0)
    with Image.open(plot(record, tmp_path / "a.png")) as image:
        assert image.width == timeline(record).width


def test_what_cannot_be_written(record: Tracks, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.svg"):
        plot(record, tmp_path / "a.svg")
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        plot(record, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"mine"
