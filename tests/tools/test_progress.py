"""What a run says of itself while it goes on."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from tools.progress import FrameProgress, StepProgress, describe


@pytest.mark.parametrize(
    ("done", "total", "seconds", "counted", "said"),
    [
        (1, 360, 0.0, 0, "1 of 360 frames"),
        (90, 360, 3.0, 90, "90 of 360 frames, 30.0 FPS, 0:00:09 left"),
        (90, 360, 3.0, 60, "90 of 360 frames, 20.0 FPS, 0:00:14 left"),
        (10, 36_010, 1.0, 10, "10 of 36010 frames, 10.0 FPS, 1:00:00 left"),
        (360, 360, 12.0, 360, "360 of 360 frames, 30.0 FPS"),
        (400, 360, 10.0, 400, "400 of 360 frames, 40.0 FPS"),
        (90, None, 3.0, 90, "90 frames, 30.0 FPS"),
    ],
)
def test_describe(done: int, total: int | None, seconds: float, counted: int, said: str) -> None:
    assert describe(done, total, seconds, counted) == said


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with FrameProgress("mv.mp4", Console(file=io.StringIO()), every=0.0) as progress:
        progress(30, 60)
        progress(60, 60)
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == "mv.mp4: 30 of 60 frames"
    assert second.startswith("mv.mp4: 60 of 60 frames, ")


def test_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with FrameProgress("mv.mp4", Console(file=io.StringIO()), every=3600.0) as progress:
        for done in range(100):
            progress(done, 100)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with FrameProgress("[mv].mp4", console) as progress:
        progress(30, 60)
    assert "[mv].mp4" in screen.getvalue()
    assert "30 of 60 frames" in screen.getvalue()


def test_quiet_is_quiet_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (Console(file=io.StringIO()), Console(file=(screen := io.StringIO()), force_terminal=True)):
        with FrameProgress("mv.mp4", console, every=0.0, quiet=True) as progress:
            progress(30, 60)
    assert capsys.readouterr().err == ""
    assert screen.getvalue() == ""


def test_every_part_has_a_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with StepProgress("detector", Console(file=io.StringIO())) as progress:
        for part in ("reading", "building"):
            for done in range(4):
                progress(part, done, 3)
    assert capsys.readouterr().err.splitlines() == ["detector: reading", "detector: building"]


def test_every_part_has_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    with StepProgress("[own]", Console(file=screen, force_terminal=True, width=100)) as progress:
        progress("reading", 3, 3)
        progress("building", 1, 3)
    assert "[own]: reading" in screen.getvalue()
    assert "[own]: building" in screen.getvalue()
    with StepProgress("detector", Console(file=(quiet := io.StringIO())), quiet=True) as progress:
        progress("reading", 1, 3)
    assert quiet.getvalue() == capsys.readouterr().err == ""


def test_every_pass_has_a_rate_of_its_own_and_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with FrameProgress("mv.mp4", Console(file=io.StringIO()), every=0.0, passes=2) as progress:
        for done, seconds in ((10, 0.0), (60, 1.0), (10, 11.0), (20, 12.0)):
            now = seconds
            progress(done, 60)
    assert capsys.readouterr().err.splitlines() == [
        "mv.mp4: pass 1 of 2: 10 of 60 frames",
        "mv.mp4: pass 1 of 2: 60 of 60 frames, 50.0 FPS",
        "mv.mp4: pass 2 of 2: 10 of 60 frames",
        "mv.mp4: pass 2 of 2: 20 of 60 frames, 10.0 FPS, 0:00:04 left",
    ]
