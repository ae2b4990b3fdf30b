"""Figures in Markdown: page, card and README say what the JSON says, and the JSON is about the shipped network."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from benchmarks import detector as benchmark
from engine.modelfile import SHIPPED
from train.detector_text import card_figures, card_head, card_use, page, replaced, table


def row(name: str, size: int, ap: float) -> dict[str, Any]:
    names = ("8", "16", "32", "wide")
    return {
        "detector": name,
        "size": size,
        "ap": {n: ap + k / 100 for k, n in enumerate(names)},
        "interval": {n: [ap - 0.05, ap + 0.05] for n in names},
        "faces": {"8": 40, "16": 30, "32": 20, "wide": 10},
        "recall_of_12_boxes": 0.5,
        "threshold": 0.6,
        "precision": 0.95,
        "recall": 0.7,
        "parameters_m": 0.55,
        "gflop": 0.888,
    }


@pytest.mark.parametrize("none", [None, float("nan")])
def test_a_size_that_no_face_has_is_a_dash(none: float | None) -> None:
    nothing = row("iznet", 320, 0.5)
    nothing["ap"]["32"], nothing["interval"]["32"], nothing["recall"] = none, [none, none], none
    cells = table({"table": [nothing]})[-1].split(" | ")
    assert cells[2] == "0.500 (0.450–0.550)"
    assert (cells[4], cells[8]) == ("–", "–")


def bins(value: float) -> dict[str, Any]:
    return {"all": {"crops": 9, "recall": value}, "whole": {"crops": 4, "recall": value}}


def values() -> dict[str, Any]:
    return {
        "data": "val.zip",
        "pictures": 12,
        "detector": "ours",
        "sha256": "ab" * 32,
        "threshold": 0.6,
        "bf16_simulated": True,
        "table": [
            row("ours", 640, 0.8),
            row("ours", 320, 0.7),
            row("ours bf16", 640, 0.799),
            row("ours INT8", 640, 0.79),
            row("YuNet-n", 640, 0.75),
        ],
        "close_ups": {"ours": bins(0.991), "YuNet-n": bins(0.8)},
        "landmarks": {
            "ours": {"clean": {"faces": 7, "mean": 0.0395, "median": 0.031}},
            "SCRFD-2.5G": {
                "clean": {"faces": 6, "mean": 0.05, "median": 0.04},
                "profile": {"faces": 2, "mean": 0.2, "median": 0.2},
            },
        },
        "clips": {
            "frames": 5,
            "finds": 40,
            "confirmed_by_teachers": 36,
            "faces_by_eye": 2,
            "wrong": 1,
            "not_looked_at": 1,
            "precision": 0.95,
            "sure_faces": 50,
            "missed": 12,
        },
        "time": {
            "base": "YuNet-n",
            "rounds": 9,
            "openvino": {
                "ours": {"ms": 12.0, "ratio": 1.2},
                "ours INT8": {"ms": 6.0, "ratio": 0.6},
                "YuNet-n": {"ms": 10.0, "ratio": 1.0},
            },
            "onnxruntime": {"ours": {"ms": 14.0, "ratio": 1.4}},
        },
    }


def test_the_page_has_every_figure() -> None:
    text = page(values())
    table = text[text.index("| detector |") :].split("\n\n")[0].splitlines()
    assert len(table) == 7
    assert len({line.count("|") for line in table}) == 1
    cells = [cell.strip() for cell in table[2].strip("|").split("|")]
    assert cells[:4] == ["ours", "640", "0.800 (0.750–0.850)", "0.810 (0.750–0.850)"]
    assert cells[-6:] == ["0.500", "0.950", "0.700", "0.55 M", "0.89", "1.20 ×"]
    assert table[3].rstrip("| ").endswith("0.89"), "time is given at the first size"
    for words in (
        "| all | 9 | 0.991 | 0.800 |",
        "| clean | 7 | 4.0 | 3.1 | 6 | 5.0 | 4.0 |",
        "| profile |  |  |  | 2 | 20.0 | 20.0 |",
        "40 finds on 5 frames: 36 confirmed by the teachers, 2 faces by eye, 1 wrong, 1 not looked at",
        "| ours | 12.0 | 1.20 | 14.0 | 1.40 |",
        "| ours INT8 | 6.0 | 0.60 | – | – |",
        "simulated bfloat16",
    ):
        assert words in text


def test_the_card_says_what_precision_costs() -> None:
    use = card_use(values())
    assert "threshold 0.6 (`iznet.threshold`): precision 0.950 and recall 0.700 on val.zip at 640" in use
    assert "bf16 -0.0010" in use
    assert "INT8 -0.0100" in use
    assert "INT8 takes 0.50 × the time of f32" in use
    assert "0.55 M parameters, 0.44 G multiply–adds" in card_head(values())
    plain = copy.deepcopy(values())
    plain["table"] = plain["table"][:2]
    del plain["time"]
    assert "Against f32" not in card_use(plain)


def test_the_files_have_their_marks_and_are_stable() -> None:
    """Filling in twice changes nothing, and what is outside the marks stays."""
    made = benchmark.texts(values())
    assert set(made) == {benchmark.PAGE, benchmark.CARD, benchmark.README}
    card = made[benchmark.CARD]
    assert replaced(card, "figures", f"\n{card_figures(values())}\n", "card") == card
    assert "## Training" in card
    assert "val.zip at 640: 0.810" in made[benchmark.README]


@pytest.mark.skipif(not benchmark.RESULT.is_file(), reason="the shipped detector has not been measured yet")
def test_page_card_and_readme_are_the_measured_ones() -> None:
    measured = json.loads(benchmark.RESULT.read_text("utf-8"))
    for path, text in benchmark.texts(measured).items():
        assert path.read_text("utf-8") == text, f"{path.name}: run python -m benchmarks.detector"
    assert (SHIPPED / "detector.sha256").read_text("utf-8").split()[0] == measured["sha256"], (
        "measure the shipped network"
    )
