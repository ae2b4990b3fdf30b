"""`iznet demo` from beginning to end with the shipped networks, on a shorter clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.modelfile import SHIPPED
from stream import tracks
from tests.tools.conftest import SHOT_FRAMES
from tools import cli
from tools.demo_clip import PERSON

needs_networks = pytest.mark.skipif(
    not all((SHIPPED / f"{kind}.onnx").is_file() for kind in ("detector", "embedder")),
    reason="no trained networks in engine/models",
)
HALF = 640


@needs_networks
def test_she_is_named_and_he_is_not(short_demo: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "demo"
    assert cli.run(["demo", "-o", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert err == ""
    assert [person["name"] for person in result["people"]] == [PERSON]
    assert result["frames"] == 3 * SHOT_FRAMES
    assert result["fps"] > 0
    for key in ("video", "tracks", "sheet"):
        assert Path(result[key]).parent == folder
        assert Path(result[key]).is_file()
    with Image.open(result["sheet"]) as sheet:
        assert sheet.format == "PNG"
        assert np.asarray(sheet.convert("L")).std() > 10
    record = tracks.read(result["tracks"])
    assert [frame.shot for frame in record.frames] == [shot for shot in range(3) for _ in range(SHOT_FRAMES)]
    for frame in record.frames:
        named = [face for face in frame.faces if face.name == PERSON]
        others = [face for face in frame.faces if face.name is None]
        assert len(named) == (frame.shot != 1), frame.index
        assert bool(others) >= (frame.shot != 0), frame.index
        if frame.shot == 2:
            assert float(named[0].box[2]) <= HALF
            assert all(float(face.box[0]) >= HALF for face in others)


@needs_networks
def test_a_second_demo_replaces_the_first(short_demo: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("kept", "utf-8")
    for _ in range(2):
        assert cli.run(["demo", "-o", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        lines = ("Labelled  ", "Record    ", "Sheet     ")
        for words in (*lines, f"{3 * SHOT_FRAMES} frames", f"Found: {PERSON}", "NASA"):
            assert words in out
    assert mine.read_text("utf-8") == "kept"


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file", "utf-8")
    assert cli.run(["demo", "-o", str(taken / "demo")]) == 5
    assert str(taken / "demo") in capsys.readouterr().err
