"""Measuring: the arithmetic, the tables and pictures, and that every command really runs. Nothing is timed here."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, MissingError
from stream.bench import costs, networks, plain, report
from stream.bench.costs import Cost, ratios, run, summary
from stream.bench.drawing import Bar, Line, Text, paint
from stream.bench.measure import DECODES, LABEL, RECORD, START_UP, TRANSCODES, Plan, commands, compared, label_arguments
from stream.bench.plot import parts, plot
from stream.bench.sweep import analyse
from tests.stream import media

RUN = {
    "frames": 200,
    "networks": {
        "detector": {"inferences": 50, "items": 50},
        "coarse": {"inferences": 20, "items": 20},
        "embedder": {"inferences": 10, "items": 20},
    },
    "stages": {
        "decode": {"calls": 201, "cpu_ms": 100.0, "wall_ms": 300.0},
        "detect": {"calls": 50, "cpu_ms": 20.0, "wall_ms": 30.0},
        "scale": {"calls": 50, "cpu_ms": 20.0, "wall_ms": 30.0},
        "draw": {"calls": 200, "cpu_ms": 40.0, "wall_ms": 50.0},
    },
}
ALONE = {
    "batch": 1,
    "detector": {"cpu_ms": 2.0, "wall_ms": 1.0},
    "coarse": {"cpu_ms": 0.5, "wall_ms": 0.3},
    "embedder": {"cpu_ms": 1.0, "wall_ms": 1.0},
}
COSTS = {
    DECODES[0]: [Cost(0.5, 0.8), Cost(0.5, 0.8), Cost(0.5, 0.8)],
    DECODES[1]: [Cost(0.4, 0.8), Cost(0.4, 0.8), Cost(0.4, 0.8)],
    TRANSCODES[0]: [Cost(2.0, 3.0), Cost(1.0, 2.0), Cost(9.0, 9.0)],
    TRANSCODES[1]: [Cost(2.5, 3.0), Cost(2.5, 2.0), Cost(9.0, 9.0)],
    RECORD: [Cost(0.6, 1.0), Cost(0.6, 1.0), Cost(0.8, 1.0)],
    LABEL: [Cost(3.0, 5.0, 400), Cost(1.5, 4.0, 500), Cost(10.0, 11.0, 450)],
    START_UP: [Cost(0.5, 1.0), Cost(0.5, 1.0), Cost(0.5, 1.0)],
}


def test_medians_a_frame() -> None:
    assert summary(COSTS[LABEL], 200) == {
        "wall_seconds": 3.0,
        "cpu_seconds": 5.0,
        "wall_ms_per_frame": 15.0,
        "cpu_ms_per_frame": 25.0,
        "frames_per_second": 66.7,
        "peak_mb": 500,
    }


def test_ratios_are_taken_turn_by_turn() -> None:
    """A turn in which the machine was twice as slow for both sides changes nothing."""
    label = [Cost(3.0, 6.0), Cost(6.0, 12.0), Cost(30.0, 60.0)]
    transcode = [Cost(2.0, 4.0), Cost(4.0, 8.0), Cost(20.0, 40.0)]
    assert ratios(label, transcode) == {"wall": 1.5, "cpu": 1.5}


def test_what_labelling_costs_beyond_what_cannot_be_avoided() -> None:
    found = compared(COSTS, [RUN, RUN, RUN], ALONE, 200)
    assert found["baselines"] == {"transcode": TRANSCODES[0], "decode": DECODES[1]}, "the faster ones"
    assert found["ratios"]["label_to_transcode"] == {"wall": 1.5, "cpu": 1.667}
    assert found["ratios"]["label_without_startup_to_transcode"] == {"wall": 1.056, "cpu": 1.333}
    assert found["ratios"]["record_to_decode"]["wall"] == 1.5
    assert found["startup"] == {"wall_seconds": 0.5, "cpu_seconds": 1.0}
    # 50 × 2 ms, 20 × 0.5 ms of second looks and 10 × 1 ms on 200 frames.
    assert [n["cpu_ms_per_frame"] for n in found["networks"].values()] == [0.5, 0.05, 0.05]
    surplus = found["surplus_cpu_ms_per_frame"]
    assert surplus == {"total": 10.0, "without_startup": 5.0, "networks": 0.6, "scaler": 0.1, "rest": 4.3}


def test_the_record_need_not_be_measured() -> None:
    some = {name: taken for name, taken in COSTS.items() if name not in (*DECODES, RECORD)}
    found = compared(some, [RUN, RUN, RUN], ALONE, 200)
    assert "decode" not in found["baselines"]
    assert "record_to_decode" not in found["ratios"]
    assert "The record alone" not in report.text({**result(), **found})
    assert "The record alone" in report.text(result())


def test_one_is_told_as_one() -> None:
    once = result()
    once["settings"]["repeats"] = once["machine"]["cpus"] = 1
    assert "medians of 1 turn on Some CPU, 1 CPU, load" in report.text(once)


def result(cpu: float = 25.0) -> dict[str, Any]:
    stage = {"calls": 200, "cpu_ms": 20.0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0}
    queue = {"items": 200, "capacity": 8, "depth_mean": 4.0, "depth_max": 8, "put_wait_ms": 1.0, "take_wait_ms": 2.0}
    return {
        "clip": {"name": "clip.mp4", "width": 1280, "height": 720, "codec": "h264", "frames": 200, "seconds": 8.0},
        "settings": {"encoder": "x264", "preset": "veryfast", "crf": 20, "repeats": 3, "engine": {"threads": "1"}},
        "machine": {"cpu": "Some CPU", "cpus": 2, "system": "Linux x86_64", "load_before": 0.1},
        "versions": {},
        "commands": {name: summary(taken, 200) | {"cpu_ms_per_frame": cpu} for name, taken in COSTS.items()},
        "label": {
            "frames": 200,
            "dropped": 0,
            "first_frame_seconds": 1.25,
            "latency": {"p50_ms": 900.0, "p95_ms": 1000.0, "p99_ms": 1100.0, "max_ms": 1200.0},
            "stages": {
                name: {**stage, "cpu_ms_per_frame": 0.1, "wall_ms_per_frame": 0.2, "first_after": 1.0}
                for name in ("decode", "scale", "detect", "draw")
            },
            "queues": {"decoded": queue},
            "batches": {"detector": 1.0, "embedder": 2.0},
        },
        **compared(COSTS, [RUN, RUN, RUN], ALONE, 200),
    }


def test_the_report_says_what_was_compared() -> None:
    said = report.text(result())
    for words in (
        "200 frames of clip.mp4 (1280x720, h264), x264 veryfast crf 20 on both sides, threads of the networks: 1",
        "medians of 3 turns on Some CPU, 2 CPUs, load 0.1 before",
        "**1.50 ×** the time and **1.67 ×** the CPU of the plain transcode (ffmpeg transcode)",
        "1.06 × and 1.33 × without its start of 0.5 s",
        "First frame encoded 1.2 s after the start; at most 500 MB; 0 frames dropped",
        "p50 900 ms, p95 1000, p99 1100",
        "beyond the transcode: 10.00, of which start-up 5.00, networks 0.60, scaler 0.10, the rest 4.30",
    ):
        assert words in said
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert any(row.startswith("| `iznet label` ") and " 25.00 |" in row for row in rows)
    assert any(row.startswith("| embedder ") and "0.050" in row and " 2.0 |" in row for row in rows)
    assert any(row.startswith("| decoded ") for row in rows)


def test_a_table_is_as_wide_on_every_line() -> None:
    lines = report.table(("a", "bcd"), [("longer", "1"), ("x", "22")]).splitlines()
    assert lines == ["| a      | bcd |", "| :----- | --: |", "| longer |   1 |", "| x      |  22 |"]


def test_changes_are_said_command_by_command_and_stage_by_stage() -> None:
    old, new = result(20.0), result(25.0)
    new["label"]["stages"]["draw"]["cpu_ms_per_frame"] = 0.05
    new["label"]["stages"]["new one"] = old["label"]["stages"]["draw"]
    del new["label"]["stages"]["detect"]
    said = report.compare(old, new)
    assert "Not the same" not in said
    for start, end in (
        ("| `iznet label` ", "| +25.0% |"),
        ("| stage draw ", "| -50.0% |"),
        ("| stage detect ", "|-100.0% |"),
        ("| stage new one ", "| new |"),
        ("| label_to_transcode (wall) ", "| +0.0% |"),
    ):
        row = next(line for line in said.splitlines() if line.startswith(start))
        assert row.replace(" ", "").endswith(end.replace(" ", ""))
    for some, all_of_them in ((old, new), (new, old)):
        fewer = some | {"commands": {name: some["commands"][name] for name in TRANSCODES}}
        rows = report.compare(fewer, all_of_them)
        assert TRANSCODES[0] in rows
        assert RECORD not in rows, "what was not run has not become faster"
    other = copy.deepcopy(new)
    other["machine"]["cpu"], other["machine"]["load_before"] = "Another", 7
    assert f"Not the same machine: cpu {old['machine']['cpu']} then, Another now.\n\n|" in report.compare(old, other)
    new["machine"]["load_before"] = 7
    assert "Not the same" not in report.compare(old, new)


def test_the_picture_has_all_of_the_parts(tmp_path: Path) -> None:
    listed = dict(parts(result()))
    assert listed["networks"] == 0.6
    assert listed["start-up"] == 5.0
    assert "decode" not in listed, "that is in the transcode"
    whole = result()["commands"][TRANSCODES[0]]["cpu_ms_per_frame"] + 10.0
    assert sum(listed.values()) == pytest.approx(whole)
    path = plot(result(), tmp_path / "where.png")
    with Image.open(path) as image:
        assert image.size[0] == 1280
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 5


def test_shapes_are_where_they_were_put() -> None:
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    picture = paint(60, 40, [Bar(10, 5, 20, 10, red), Line(((0, 30), (59, 30)), blue, 1)])
    assert np.all(picture[5:15, 10:30] == (255, 0, 0))
    assert not np.any(np.all(picture[15:29] == (255, 0, 0), axis=2))
    assert np.all(picture[30] == (0, 0, 255))
    for anchor, inside in (("left", slice(30, 60)), ("right", slice(0, 30))):
        ink = paint(60, 40, [Text(30, 20, "ab", 14, red, anchor)])[..., 1] < 128  # type: ignore[arg-type]
        assert ink.any()
        assert ink.sum() == ink[:, inside].sum()


def test_options_reach_the_labelling_commands(tmp_path: Path) -> None:
    plan = Plan(Path("a.webm"), ("label",), Path("g"), engine={"threads": 2, "detector": Path("d.onnx"), "size": 640})
    words = label_arguments(plan)
    assert words == ["--json", "--overwrite", "--gallery", "g", "--detector", "d.onnx", "--threads", "2"]
    todo = commands(plan, tmp_path, "ffmpeg")
    assert todo[LABEL][-len(words) - 2 : -2] == words
    assert str(tmp_path / "out.mkv") in todo[TRANSCODES[0]], "WebM cannot be written"
    assert todo[TRANSCODES[0]][-7:-1] == ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20"]


def test_a_command_is_measured_with_its_threads_and_no_others() -> None:
    cost, printed = run([sys.executable, "-c", "x = b'x' * 150_000_000; sum(range(2_000_000)); print('done')"])
    assert printed == "done\n"
    assert cost.cpu > 0
    assert cost.peak > 150
    keep = bytearray(b"x") * 300_000_000  # what this process has in use is not the command's
    small, _ = run([sys.executable, "-S", "-c", "pass"])
    assert small.peak < 100 < len(keep) / 1e6


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(InputError, match="oh no"):
        run([sys.executable, "-c", "raise SystemExit('oh no')"])
    with pytest.raises(MissingError, match="no-such-program"):
        run(["no-such-program"])


def test_the_plain_transcode_keeps_frames_times_and_sound(tmp_path: Path) -> None:
    source = media.write(tmp_path / "a.mp4", media.Video(frames=20, pts=media.vfr(20, 512)), [media.audio()])
    assert plain.decode(str(source)) == 20
    assert plain.transcode(str(source), str(tmp_path / "b.mp4"), "libx264", "ultrafast", "30") == 20
    before, after = media.read(source), media.read(tmp_path / "b.mp4")
    assert after.times == before.times
    assert [data for _, data in after.packets[1]] == [data for _, data in before.packets[1]]


def test_networks_are_measured_by_themselves(detector: Detector, embedder: Embedder) -> None:
    before = detector.session.work.items
    found = networks.measure(detector, embedder, 320, 240, 2)
    rounds = networks.ROUNDS + networks.ROUNDS // 10
    assert detector.session.work.items - before >= 2 * rounds
    assert found["batch"] == 2
    assert found["coarse"]["cpu_ms"] >= 0
    assert found["detector"]["cpu_ms"] > 0


def test_how_often_faces_are_looked_for_can_be_told(detector_file: Path, tmp_path: Path) -> None:
    from tests.stream.test_label import HEIGHT, WIDTH, stage

    video = media.Video(frames=20, width=WIDTH, height=HEIGHT, picture=stage)
    source = media.write(tmp_path / "a.mp4", video)
    options = {
        "device": "auto",
        "backend": None,
        "precision": "auto",
        "threads": 1,
        "size": 320,
        "gallery": None,
        "detector": str(detector_file),
        "embedder": None,
    }
    looks = [analyse(str(source), {**options, "longest": longest})["looks"] for longest in (0.0, 0.2, 0.4)]
    assert looks[0] == 20, "those at coarse copies are a part of them"
    assert looks[0] > looks[1] >= looks[2]


def test_the_machine_and_versions_are_told() -> None:
    assert costs.machine().keys() == {"cpu", "cpus", "gpu", "system", "load_before"}
    assert costs.versions()["av"] != "not installed"
    json.dumps([costs.machine(), costs.versions()])
