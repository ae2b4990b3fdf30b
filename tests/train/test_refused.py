"""What a training cannot begin with is refused before pictures are read and teachers asked, which may take hours."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from tools import cli

DETECTOR = "train detector --data no.zip --teachers no --out run"
EMBEDDER = "train embedder --data no --teachers no --out run"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (f"{DETECTOR} --resume", 3, "there is no checkpoint run/checkpoint.npz; start without --resume"),
        (f"{DETECTOR} --arch mobilenet --resume", 3, "there is no checkpoint run/checkpoint.npz"),
        (f"{DETECTOR} --warm-start no.keras", 3, "--warm-start no.keras: no such file"),
        (f"{DETECTOR} --remember no.keras", 3, "--remember no.keras: no such file"),
        (f"{DETECTOR} --arch darknet53 --remember file", 2, "--remember: not for --arch darknet53"),
        (f"{DETECTOR} --export file", 5, "file: is a file; name a folder"),
        (f"{DETECTOR} --out file", 5, "file: is a file; name a folder"),
        (f"{DETECTOR} --show-batch sheet.jpg", 2, "--show-batch sheet.jpg: canvases are drawn as .png"),
        (f"{DETECTOR} --arch mobilenet --gentle-from 0", 2, "--gentle-from: not for --arch mobilenet"),
        (f"{DETECTOR} --gentle-from 1.5", 2, "1.5 is not in the range"),
        (f"{DETECTOR} --seed -1", 2, "-1 is not in the range"),
        (f"{EMBEDDER} --resume", 3, "there is no checkpoint run/checkpoint.npz"),
        (f"{EMBEDDER} --warm-start no.keras", 3, "--warm-start no.keras: no such file"),
        (f"{EMBEDDER} --seed 4294967296", 2, "4294967296 is not in the range"),
        ("train rectangles --seed -1", 2, "-1 is not in the range"),
        ("train members people --seed -1", 2, "-1 is not in the range"),
        ("train experiments --data no --seed -1", 2, "-1 is not in the range"),
        ("analyse people -o a.html --seed 4294967296", 2, "4294967296 is not in the range"),
    ],
)
def test_what_cannot_begin_is_refused_first(
    line: str, code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.run(line.split()) == code
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing is left behind"
