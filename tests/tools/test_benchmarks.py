"""The other scripts of `benchmarks/`: their arithmetic, and that they run on a clip of a second."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import live_soak, others, profile, results, segments, soak
from benchmarks.loops import nearest, stepped
from stream.accuracy import Panel, PanelShot
from tests.tools.test_label import FRAMES, write_video

SPEED = {
    "ratios": {"label_to_transcode": {"wall": 1.05, "cpu": 1.1}, "record_to_decode": {"wall": 2.5, "cpu": 2.0}},
    "surplus_cpu_ms_per_frame": {"total": 1.7, "rest": 0.5},
    "label": {"first_frame_seconds": 1.4},
}


def row(table: str, work: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {work}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


FOLDER = Path(results.__file__).parent
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text("utf-8"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_commands_as_they_are_typed(script: str) -> None:
    module = importlib.import_module(f"benchmarks.{script}")
    commands = [line for line in (module.__doc__ or "").splitlines() if line.startswith("    ")]
    shown = CliRunner().invoke(module.main, ["--help"]).output.splitlines()
    assert commands
    assert [line for line in commands if f"  {line}" not in shown] == []


def test_goals_are_judged_one_by_one() -> None:
    names = {"iznet label": {"f1": 0.9875}, "iznet label --every-frame --two-pass": {"f1": 0.9915}}
    table = results.goals({"720p": SPEED, "names": names})
    assert row(table, "label, 720p, against") == ["≤ 1.1 × wall", "1.05", "yes"]
    assert row(table, "label `--no-video`") == ["≤ 1.9 × wall", "2.5", "no"]
    assert row(table, "CPU beyond") == ["≤ 1.6 ms a frame", "1.7", "no"]
    assert row(table, "of that, outside") == ["≤ 0.6 ms a frame", "0.5", "yes"]
    assert row(table, "names right") == ["≥ 0.99 F1", "0.988", "no"]
    assert row(table, "behind `--every") == ["≤ 0.5 points of F1", "0.4", "yes"]
    assert row(table, "label, 1080p") == ["≤ 1.08 × wall", "not measured", ""]
    assert table.count("\n") == len(results.GOALS) + 1


def test_growth_is_that_after_the_warm_up() -> None:
    steep = [(float(t), 100.0 + 5 * t) for t in range(60)]
    flat = [(float(t), 400.0 + (t % 2)) for t in range(60, 600)]
    assert abs(soak.growth([*steep, *flat])) < 1
    assert soak.growth([*steep, *((t, 400 + (t - 60) / 36) for t in range(60, 600))]) == pytest.approx(100)
    assert soak.growth(steep) == 0.0


def test_the_memory_curve_is_a_picture() -> None:
    image = soak.picture([(0.0, 50.0), (30.0, 500.0), (600.0, 510.0)], "title")
    assert image.size == (1280, 480)
    blue = np.asarray(image)[:, :, 2].astype(int) - np.asarray(image)[:, :, 0]
    rows = np.nonzero((blue > 100).any(axis=1))[0]
    assert rows[-1] - rows[0] > 200, "the curve rises"


def test_a_live_soak_says_what_arrived() -> None:
    samples = [live_soak.Sample(5 + t, 300 + max(0, 20 - t), None, None, 10.0) for t in range(0, 601, 10)]
    found = live_soak.measured({"sent": 12_000, "recorded": 3000}, samples)
    assert (found["minutes"], found["frames_arrived_per_second"], found["frames_arrived_per_named"]) == (10, 20, 4)
    assert (found["peak_mb"], found["growth_mb_per_hour"]) == (320, 0)


def test_the_live_soak_that_is_kept_says_what_its_samples_do() -> None:
    kept = json.loads(live_soak.RESULT.read_text("utf-8"))
    samples = [live_soak.Sample(*sample) for sample in kept["samples"]]
    assert live_soak.measured(kept["frames"], samples).items() <= kept.items()


def test_names_by_cosine_and_by_distance() -> None:
    known = {"ann": np.array([1, 0], np.float32), "ben": np.array([0, 2], np.float32)}
    faces = np.array([[1, 0], [0.1, 0.995], [-1, 0]], np.float32)
    assert nearest(faces, known, 0.35, 0.6) == ["ann", "ben", None]
    assert nearest(faces, known, None, 0.6) == ["ann", None, None]


def test_truth_of_every_other_frame() -> None:
    panels = (Panel(0, 0, 1, 1, "ann", True),)
    shots = (PanelShot(0, 9, panels), PanelShot(10, 10, panels), PanelShot(11, 11, panels), PanelShot(12, 20, panels))
    assert [(s.first, s.last) for s in stepped(shots, 5)] == [(0, 1), (2, 2), (3, 4)]
    assert stepped(shots, 1) == shots


def test_a_profile_goes_by_thread_and_own_function() -> None:
    raw = (
        "thread (1): iznet-write;_write (stream/pipeline.py:12);draw (stream/a.py:3);memcpy (libc.so) 3\n"
        "thread (1): iznet-write;_write (stream/pipeline.py:12);draw (stream/a.py:9) 2\n"
        "thread (1): iznet-write;wait (threading.py:3) 7\n"
        "thread (2): MainThread;run (openvino/tools/x.py:1);main (tools/cli.py:1) 5"
    )
    threads = profile.by_thread(raw)
    assert threads == {"iznet-write": {"draw (stream/a.py)": 5}, "MainThread": {"main (tools/cli.py)": 5}}
    assert row(profile.text(threads), "iznet-write") == ["draw (stream/a.py)", "100.0%", "50.0%"]


def test_others_are_told_in_a_table() -> None:
    told = {
        "frames_per_second": {"ffmpeg transcode": 120.0, "iznet label": 110.0, "scrfd": 11.0},
        "faster_than": {"scrfd": 10.0},
        "names_f1": {"iznet label": 0.99},
    }
    assert row(others.text(told), "scrfd") == ["11.0", "10.0 ×", ""]
    assert row(others.text(told), "iznet label") == ["110.0", "", "0.990"]


def test_segments_against_one_encode(tmp_path: Path) -> None:
    video, out = write_video(tmp_path / "mv.mp4"), tmp_path / "segments.json"
    done = CliRunner().invoke(segments.main, [str(video), "--repeats", "1", "-o", str(out)])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    assert found["frames"] == FRAMES
    assert found["ratio"].keys() == {"wall", "cpu"}
    assert found["segments"]["bytes"] == found["one encode"]["bytes"], "as short a clip is one segment either way"


def test_a_soak_of_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imageio_ffmpeg")
    pytest.importorskip("psutil")
    video = write_video(tmp_path / "mv.mp4")
    soak.looped(video, 0.05, tmp_path / "long.mp4")
    curve, printed = soak.watch(["python", "-c", "import time; time.sleep(1); print('{\"frames\": 3}')"], every=0.1)
    assert printed == {"frames": 3}
    assert len(curve) > 3
    assert curve[-1][1] > 1
    from tests.stream.media import read

    assert len(read(tmp_path / "long.mp4").pictures) > 2 * FRAMES
