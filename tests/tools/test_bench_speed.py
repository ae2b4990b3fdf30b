"""`iznet bench` from the command line: all commands run, on a clip of a second."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from stream.bench import measure
from tests.tools.test_label import FRAMES, write_video
from tools import bench_speed, cli

Out = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def networks(detector_file: Path, embedder_file: Path) -> list[str]:
    return ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1", "--size", "320"]


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no ffmpeg program: iznet[bench]")
def test_a_video_is_measured_and_compared(tmp_path: Path, networks: list[str], capsys: Out) -> None:
    video = write_video(tmp_path / "mv.mp4")
    kept, picture = tmp_path / "kept.json", tmp_path / "where.png"
    arguments = ["bench", str(video), "--repeats", "1", "-o", str(kept), "--plot", str(picture), *networks]
    assert cli.run([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result == json.loads(kept.read_text("utf-8"))
    assert picture.stat().st_size > 0
    assert result["label"]["frames"] == FRAMES
    assert result["label"]["dropped"] == 0
    assert set(result["label"]["stages"]) >= {"decode", "shots", "detect", "track", "draw", "encode", "record", "join"}
    assert result["label"]["queues"]["decoded"]["items"] == FRAMES
    assert result["networks"]["detector"]["inferences_per_frame"] > 0
    assert result["label"]["first_frame_seconds"] > 0
    assert result["versions"]["ffmpeg program"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.json", "mv.mp4", "where.png"]
    assert cli.run(arguments) == 5, "a result is not replaced unasked"
    other = tmp_path / "other.json"
    other.write_text("{}", "utf-8")
    assert cli.run(["bench", str(video), "--compare", str(other)]) == 3
    assert "no result of `iznet bench`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repeats", "0"], "--repeats"),
        (["mv.mp4", "--crf", "x"], "--crf"),
        (["speed", "--repeats", "0"], "--repeats"),
        (["accuracy", "mv.mp4"], "--truth"),
    ],
)
def test_speed_is_what_is_measured_if_nobody_says(arguments: list[str], words: str, capsys: Out) -> None:
    assert cli.run(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_help_lists_both(capsys: Out) -> None:
    assert cli.run(["bench", "--help"]) == 0
    said = capsys.readouterr().out
    assert "speed" in said
    assert "accuracy" in said


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no ffmpeg program: iznet[bench]")
def test_what_is_missing_is_missing_here_too(tmp_path: Path, capsys: Out) -> None:
    video = write_video(tmp_path / "mv.mp4")
    assert cli.run(["bench", str(video), "--device", "cpu", "--precision", "f16"]) == 4
    assert "ended with 4" in capsys.readouterr().err
    assert cli.run(["bench", str(tmp_path / "none.mp4")]) == 3


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no ffmpeg program: iznet[bench]")
def test_what_cannot_be_measured_is_told_before_anything_runs(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs(command: object) -> None:
        pytest.fail(f"{command} was run")

    monkeypatch.setattr(measure, "run", runs)
    video, photo = str(write_video(tmp_path / "mv.mp4")), tmp_path / "stage.jpg"
    Image.new("RGB", (64, 48)).save(photo)
    (tmp_path / "old.json").write_bytes(b"\xff")
    (tmp_path / "half.json").write_text(json.dumps({"schema": measure.SCHEMA, "commands": {}}), "utf-8")
    where = str(tmp_path / "where.png")
    for arguments, code, words in (
        ([str(photo)], 3, "stage.jpg is a photo"),
        ([video, "--preset", "hasty"], 2, "encoder x264 refuses preset hasty"),
        ([video, "--plot", str(tmp_path / "where.txt")], 2, "where.txt: where the time goes is drawn as .png"),
        ([video, "--compare", str(tmp_path / "none.json")], 3, "none.json cannot be read (No such file or directory)"),
        ([video, "--compare", str(tmp_path / "old.json")], 3, "old.json is no result of `iznet bench`"),
        ([video, "--compare", str(tmp_path / "half.json")], 3, "half.json is no whole result of `iznet bench`"),
        ([video, "--plot", where, "-o", where], 2, "would be one file"),
    ):
        assert cli.run(["bench", *arguments]) == code
        assert words in capsys.readouterr().err


def test_a_gallery_goes_with_a_video(tmp_path: Path, capsys: Out) -> None:
    assert cli.run(["bench", "-g", "some.gallery"]) == 2
    assert "name a video too" in capsys.readouterr().err
    assert cli.run(["bench", "a.mp4", "--sweep", "--plot", str(tmp_path / "a.png"), "--encoder", "x265"]) == 2
    assert "--plot, --encoder would do nothing with --sweep" in capsys.readouterr().err
    assert cli.run(["bench", "a.mp4", "--compare", "old.json", "--json"]) == 2


def test_a_clip_is_made_if_none_is_named(short_demo: None) -> None:
    from tools.options import EngineOptions

    with bench_speed._material(None, None, EngineOptions(threads=1)) as (clip, gallery):
        assert clip.is_file()
        assert gallery is not None
        assert gallery.is_file()
    assert not clip.exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_measures_and_compares(tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time there is nothing to compare with; afterwards the result before is, and gives way."""
    stored = json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))
    monkeypatch.setattr(measure, "measure", lambda *_: stored)
    video, kept = write_video(tmp_path / "mv.mp4"), tmp_path / "kept" / "bench.json"
    kept.parent.mkdir()
    for turn in range(3):
        steps = ["make", "--no-print-directory", "--dry-run", "bench", f"VIDEO={video}", f"BENCH={kept}"]
        printed = subprocess.run(steps, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
        lines = [shlex.split(line) for line in printed.splitlines()]
        (words,) = [line for line in lines if line[0].endswith("/iznet")]
        assert cli.run(words[1:]) == 0
        assert ("| change" in capsys.readouterr().out) == (turn > 0)
        (moved,) = [line for line in lines if line[0] == "mv"]
        Path(moved[1]).replace(moved[2])
        assert json.loads(kept.read_text("utf-8")) == stored
