"""The end-to-end benchmark's arithmetic and table; nothing is timed here."""

from __future__ import annotations

import sys
from typing import Any

import click
import pytest

from benchmarks import end_to_end
from benchmarks.end_to_end import Cost


def result() -> dict[str, Any]:
    return {
        "video": "clip.mp4",
        "frames": 200,
        "settings": {"encoder": "x264", "preset": "veryfast", "crf": 20},
        "gallery": True,
        "repeats": 3,
        "machine": {"cpu": "Some CPU", "cpus": 2, "system": "Linux x86_64", "load_before": 0.1},
        "versions": {},
        "commands": {
            "ffmpeg transcode": end_to_end._summary([Cost(2.0, 3.0), Cost(1.0, 2.0), Cost(9.0, 9.0)], 200),
            "iznet label": end_to_end._summary([Cost(4.0, 5.0)], 200),
        },
        "stages": end_to_end._stages([{"decode": {"calls": 200, "cpu_ms": 100.0, "wall_ms": 300.0}}] * 3, 200),
        "startup": {"wall_seconds": 2.0, "cpu_seconds": 3.0},
        "label_fps": 50.0,
        "ratio": {"wall": 2.0, "cpu": 1.5},
        "ratio_without_startup": {"wall": 1.75, "cpu": 1.25},
    }


def test_medians_a_frame() -> None:
    transcode = result()["commands"]["ffmpeg transcode"]
    assert transcode == {
        "wall_seconds": 2.0,
        "cpu_seconds": 3.0,
        "cpu_ms_per_frame": 15.0,
        "frames_per_second": 100.0,
    }
    assert result()["stages"]["decode"] == {"calls": 200, "cpu_ms_per_frame": 0.5, "wall_ms_per_frame": 1.5}


def test_ratios_are_taken_turn_by_turn() -> None:
    """A turn in which the machine was twice as slow for both sides changes nothing."""
    label = [Cost(3.0, 6.0), Cost(6.0, 12.0), Cost(30.0, 60.0)]
    transcode = [Cost(2.0, 4.0), Cost(4.0, 8.0), Cost(20.0, 40.0)]
    assert end_to_end._ratios(label, transcode) == {"wall": 1.5, "cpu": 1.5}


def test_the_table_says_what_was_compared() -> None:
    table = end_to_end.table(result())
    for words in ("200 frames of clip.mp4", "x264 veryfast crf 20", "Some CPU", "| `iznet label` | 25.00 | 50 |"):
        assert words in table
    assert "**1.25 ×** the CPU and **1.75 ×** the time" in table
    assert "3.0 s of CPU to start up (1.50 × and 2.00 × with it" in table


def test_the_table_replaces_the_old_one_and_nothing_else() -> None:
    page = f"before\n{end_to_end.BEGIN}\nold\n{end_to_end.END}\nafter\n"
    assert end_to_end.insert(page, "new") == f"before\n{end_to_end.BEGIN}\nnew\n{end_to_end.END}\nafter\n"
    with pytest.raises(click.ClickException):
        end_to_end.insert("no marks", "new")


def test_cpu_of_the_whole_process_is_counted() -> None:
    cost, printed = end_to_end.run([sys.executable, "-c", "sum(range(2_000_000)); print('done')"])
    assert printed == "done\n"
    assert cost.cpu > 0
    with pytest.raises(click.ClickException, match="oh no"):
        end_to_end.run([sys.executable, "-c", "raise SystemExit('oh no')"])
