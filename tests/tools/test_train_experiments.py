"""`iznet train experiments`: what it refuses, in its own process where TensorFlow would be set up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from tests.train.test_experiments import data as data
from tests.train.test_experiments import tiny
from tools import cli


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two layers; threads are fixed once TensorFlow runs."""
    import tensorflow as tf

    import train.experiments

    monkeypatch.setattr(train.experiments.Setting.__init__, "__defaults__", _defaults(train.experiments.Setting))
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda count: None)
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda count: None)


def _defaults(kind: type) -> tuple[object, ...]:
    """The defaults of a dataclass's constructor, with the toy networks in place of the real ones."""
    given = kind.__init__.__defaults__  # type: ignore[misc]
    return tuple(tiny if callable(d) and getattr(d, "__name__", "") == "build" else d for d in given)


def test_one_experiment_from_the_command_line(
    data: Path, embedder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["train", "experiments", "--data", str(data), "--out", str(out), "--embedder", str(embedder_file)]
    command += ["--side", "75", "--pretrain-steps", "2", "--pairs-share", "0.3", "--only", "nn2-triplet"]
    assert cli.run([*command, "--plan"]) == 0
    assert "nn2: " in capsys.readouterr().out
    assert not out.exists()
    assert cli.run([*command, "--table", str(tmp_path / "t")]) == 0
    said = capsys.readouterr()
    assert "| NN2, triplet |" in said.out
    assert "NN2, triplet: step" in said.err
    assert "nn2-triplet" in json.loads((tmp_path / "t.json").read_text("utf-8"))["rows"]
    assert cli.run(command) == 5
    assert "--resume" in capsys.readouterr().err
    assert cli.run([*command, "--resume", "--seed", "2"]) == 3
    assert "seed was 1, now 2" in capsys.readouterr().err
    assert cli.run([*command, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["side"] == 75


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "{tmp}"], 3, "people12.csv"),
        (["--data", "{data}", "--side", "64"], 3, "at least 75"),
        (["--data", "{data}", "--imagenet", "{tmp}/none.h5"], 3, "none.h5"),
        (["--data", "{data}", "--embedder", "{tmp}/none.onnx"], 3, "none.onnx"),
        (["--data", "{data}", "--only", "nn3-triplet"], 2, "nn3-triplet"),
        (["--data", "{data}", "--pairs-share", "0"], 2, "pairs-share"),
        ([], 2, "--data"),
    ],
)
def test_wrong_use_ends_with_its_code(
    arguments: list[str], code: int, message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [a.format(data=data, tmp=tmp_path) for a in arguments]
    assert cli.run(["train", "experiments", *filled, "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err
