"""`iznet bench accuracy` on a small video whose faces are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.cli import run

NOTHING = '{"type": "summary", "frames": 2, "dropped": {}, "people": []}'


def small_record(path: Path, name: str = '"ann"') -> Path:
    """Two frames, one face."""
    header = {
        "type": "header", "schema": "iznet.tracks/1.0",
        "source": {"path": "a.mp4", "width": 100, "height": 100, "rotation": 0, "time_base": "1/25", "duration": None},
        "models": {"detector": None, "embedder": None}, "gallery": None, "iznet": "0.1.0",
    }  # fmt: skip
    face = (
        f'{{"track": 0, "box": [10, 40, 30, 60], "score": 0.9, "name": {name}, "similarity": 0.8, '
        '"landmarks": [[1,1],[2,1],[1,2],[1,3],[2,3]]}'
    )
    rows = [json.dumps(header)]
    rows += [
        f'{{"type": "frame", "index": {i}, "pts": {i}, "time": {i / 25}, "shot": 0, "faces": [{face}]}}' for i in (0, 1)
    ]
    rows.append(
        '{"type": "track", "track": 0, "shot": 0, "verdict": "named", "name": "ann", "similarity": 0.8, '
        '"first": 0, "last": 1, "frames": 2}'
    )
    path.write_text("\n".join([*rows, NOTHING]) + "\n", encoding="utf-8")
    return path


def panels(path: Path) -> Path:
    panel = {"rect": [0, 0, 100, 100], "person": "ann", "known": True}
    path.write_text(json.dumps({"shots": [{"first": 0, "last": 1, "panels": [panel]}]}), encoding="utf-8")
    return path


def test_drawn_and_final_names_are_judged_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, truth = small_record(tmp_path / "a.tracks.jsonl", "null"), panels(tmp_path / "truth.json")
    assert run(["bench", "accuracy", str(source), "--truth", str(truth), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["drawn"]["recall"] == 0.0, "nothing was drawn"
    assert result["final"]["recall"] == 1.0, "but the verdict knows"
    assert run(["bench", "accuracy", str(source), "--truth", str(truth)]) == 0
    assert "final names: F1 1.0000" in capsys.readouterr().out


def test_box_truth_gives_idf1_and_hota(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, truth = small_record(tmp_path / "a.tracks.jsonl"), tmp_path / "gt.txt"
    truth.write_text("1,3,11,41,20,20,1\n2,3,11,41,20,20,1\n", "utf-8")  # pixels count from 1 there
    assert run(["bench", "accuracy", str(source), "--truth", str(truth), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tracks"]["hota"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{record}", "--truth", "{folder}/none.json"], 3, "none.json"),
        (["{record}", "--truth", "{folder}/truth.csv"], 2, "truth.csv"),
        (["{record}", "--truth", "{truth}", "-g", "x.gallery"], 2, "record already"),
        (["{record}", "--truth", "{truth}", "--every-frame", "--threads", "2"], 2, "--every-frame, --threads would"),
        (["{record}", "--truth", "{truth}", "--minimum", "20"], 2, "--minimum would do nothing for panels"),
        (["{record}", "--truth", "{folder}/long.txt"], 3, "the truth goes to frame 2, the record has 2 frames"),
        (["{folder}/none.mp4", "--truth", "{truth}"], 3, "none.mp4"),
        (["{record}", "--truth", "{folder}/empty.json"], 3, "holds no shot to judge by"),
        (["{record}", "--truth", "{folder}/empty.txt"], 3, "holds no box to judge by"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {
        "record": str(small_record(tmp_path / "a.tracks.jsonl")),
        "truth": str(panels(tmp_path / "truth.json")),
        "folder": str(tmp_path),
    }
    (tmp_path / "empty.json").write_text('{"shots": []}', "utf-8")
    (tmp_path / "empty.txt").write_text("# nobody\n", "utf-8")
    (tmp_path / "long.txt").write_text("1,3,11,41,20,20,1\n3,3,11,41,20,20,1\n", "utf-8")
    assert run(["bench", "accuracy", *(a.format(**names) for a in arguments)]) == code
    assert says in capsys.readouterr().err
