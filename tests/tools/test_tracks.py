"""`iznet tracks` and `iznet render` as people use them, and everything that is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from stream import export
from stream.tracks import read
from tests.stream import media
from tests.stream.export import records
from tests.stream.test_render import FRAMES, HEIGHT, WIDTH, is_red, pictures, stage, write_record
from tools import cli

Out = pytest.CaptureFixture[str]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return records.stage(tmp_path / "mv.tracks.jsonl")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "mv.mp4"
    video = media.Video(frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage, pixel_format="yuv444p")
    return media.write(path, video)


@pytest.fixture
def video(original: Path, tmp_path: Path) -> Path:
    path = Path(shutil.copy(original, tmp_path))
    write_record(path, tmp_path / "own.tracks.jsonl")
    return path


def run(*arguments: object) -> int:
    return cli.run(list(map(str, arguments)))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", export.FORMATS)
def test_every_format_is_written(ending: str, record: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / f"out{ending}"
    assert run("tracks", "convert", record, out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"output": str(out)}
    first = out.read_bytes()
    assert len(first) > 100
    assert run("tracks", "convert", record, out) == 5
    assert str(out) in capsys.readouterr().err
    assert run("tracks", "convert", record, out, "--overwrite") == 0
    assert out.read_bytes() == first
    assert files(tmp_path) == sorted([record.name, out.name])


def test_a_video_whose_name_is_too_long_here_is_not_there(tmp_path: Path) -> None:
    """Elsewhere names are counted in letters; here Hangul takes three bytes each."""
    path = records.stage(tmp_path / "a.tracks.jsonl")
    path.write_text(path.read_text("utf-8").replace('"path":"mv.mp4"', f'"path":"{"가" * 200}.mp4"'), "utf-8")
    assert Path(read(path).header.path).stem == "가" * 200
    for ending in export.FORMATS:
        assert run("tracks", "convert", path, tmp_path / f"out{ending}") == 0


@pytest.mark.parametrize("ending", export.FORMATS)
def test_an_empty_record_is_no_fault(ending: str, tmp_path: Path) -> None:
    path = records.write(tmp_path / "empty.tracks.jsonl", [], {})
    assert run("tracks", "convert", path, tmp_path / f"out{ending}") == 0
    assert (tmp_path / f"out{ending}").is_file()


@pytest.mark.parametrize("ending", export.FORMATS)
def test_a_video_whose_name_is_no_text(ending: str, record: Path, tmp_path: Path) -> None:
    """On Linux a file's name may be any bytes; and text may hold characters that XML has not."""
    head, *rest = record.read_text("utf-8").splitlines(keepends=True)
    header = json.loads(head)
    header["source"]["path"] = "caf\udce9 <x>\uffff.mp4"
    record.write_text(json.dumps(header) + "\n" + "".join(rest), "utf-8")
    out = tmp_path / f"out{ending}"
    assert run("tracks", "convert", record, out) == 0
    if ending == ".fcpxml":
        root = ElementTree.fromstring(out.read_bytes())
        assert [media.get("src", "").rpartition("/")[2] for media in root.iter("media-rep")] == [
            "caf%E9%20%3Cx%3E%EF%BF%BF.mp4"
        ]


def test_an_ending_that_stands_for_nothing(record: Path, tmp_path: Path, capsys: Out) -> None:
    for name in ("out.xlsx", "out", "out.tracks.jsonl"):
        assert run("tracks", "convert", record, tmp_path / name) == 2
        err = capsys.readouterr().err
        assert name in err
        assert ".fcpxml" in err
    assert files(tmp_path) == [record.name]


@pytest.mark.parametrize(("ending", "library"), [(".parquet", "pyarrow"), (".otio", "opentimelineio")])
def test_a_library_that_is_missing(
    ending: str, library: str, record: Path, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == library else find(name, *rest))
    assert run("tracks", "convert", record, tmp_path / f"out{ending}") == 4
    err = capsys.readouterr().err
    assert library in err
    assert ".venv/bin/pip install -e '.[export]'" in err
    assert files(tmp_path) == [record.name]


def broken(path: Path, how: str) -> Path:
    """A record that went wrong in one of the ways they do."""
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "cut off in a line":
        path.write_bytes(path.read_bytes()[: len(b"".join(lines[:20])) + 40])
    elif how == "cut off between lines":
        path.write_bytes(b"".join(lines[:20]))
    elif how == "no JSON":
        path.write_bytes(b"".join([*lines[:10], b"what a mess\n", *lines[10:]]))
    elif how == "a frame missing":
        path.write_bytes(b"".join(lines[:10] + lines[11:]))
    elif how == "a box of three":
        path.write_bytes(path.read_bytes().replace(b"50.5,40.0]", b"50.5]", 1))
    elif how == "newer":
        path.write_bytes(path.read_bytes().replace(b"iznet.tracks/1.", b"iznet.tracks/2.", 1))
    elif how == "a video":
        path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "missing":
        path.unlink()
    return path


HOW = [
    "cut off in a line",
    "cut off between lines",
    "no JSON",
    "a frame missing",
    "a box of three",
    "newer",
    "a video",
    "empty",
    "missing",
]


@pytest.mark.parametrize("how", HOW)
def test_a_broken_record_is_refused_everywhere(how: str, record: Path, video: Path, capsys: Out) -> None:
    broken(record, how)
    before = record.read_bytes() if record.exists() else None
    here = files(record.parent)
    kept = record.with_name("out.csv")
    kept.write_bytes(b"mine")
    for command in (
        ["tracks", "convert", record, kept, "--overwrite"],
        ["tracks", "summary", record, "--plot", record.with_name("plot.png")],
        ["tracks", "rename", record, "0=Yuri"],
        ["tracks", "rename", record, "0=Yuri", "-o", record.with_name("new.tracks.jsonl")],
        ["render", video, record, "-o", record.with_name("out.mp4")],
    ):
        assert run(*command) == 3, command
        err = capsys.readouterr().err
        assert str(record) in err
        assert "Traceback" not in err
        if how == "newer":
            assert "upgrade iznet" in err
    assert kept.read_bytes() == b"mine"
    assert (record.read_bytes() if record.exists() else None) == before
    assert files(record.parent) == sorted([*here, "out.csv"])


def test_summary_in_words(record: Path, tmp_path: Path, capsys: Out) -> None:
    assert run("tracks", "summary", record, "--plot", tmp_path / "a.html") == 0
    out = capsys.readouterr().out
    assert "40 frames" in out
    assert "2 shots" in out
    assert "Yuri and 최예나" in out
    (yuri,) = [line for line in out.splitlines() if line.startswith("Yuri ") and "and" not in line]
    assert "1.3 s" in yuri
    assert "100.0 %" in yuri
    assert "0.8 s at 0:00.0" in yuri
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "최예나: 0:00.3 to 0:00.7 (0.3 s)" in page
    (stranger,) = [line for line in out.splitlines() if line.startswith("unknown, track 2 ")]
    assert "0.5 s" in stranger


def test_summary_in_a_narrow_window_and_in_ascii(record: Path) -> None:
    """The names are still there, and what the terminal has no letters for is no fault."""
    done = subprocess.run(
        [sys.executable, "-m", "tools", "tracks", "summary", str(record)],
        env=os.environ | {"COLUMNS": "50", "PYTHONIOENCODING": "ascii"},
        cwd=Path(cli.__file__).parents[1],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    starts = [line.split()[0] for line in done.stdout.decode("ascii").splitlines() if line]
    assert {"Yuri", "???"} <= set(starts)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_programs_get_every_name_whole_in_whatever_encoding(encoding: str, record: Path) -> None:
    assert run("tracks", "rename", record, "0=유리 😀", "--new") == 0
    done = subprocess.run(
        [sys.executable, "-m", "tools", "tracks", "summary", str(record), "--json"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        cwd=Path(cli.__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    assert "유리 😀" in {person["name"] for person in json.loads(done.stdout)["people"]}


def test_summary_for_programs(record: Path, tmp_path: Path, capsys: Out) -> None:
    assert run("tracks", "summary", record, "--json", "--plot", tmp_path / "a.png") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["shots"], found["unknown_tracks"], found["seconds"]) == (40, 2, 1, 1.335)
    yuri, yena = found["people"]
    assert yuri == {
        "name": "Yuri",
        "seconds": 1.335,
        "frames": 40,
        "share": 1.0,
        "first": 0.0,
        "last": 1.335,
        "appearances": [[0.0, 1.335]],
        "takes": 2,
        "longest": [0.0, 0.834],
    }
    assert (yena["share"], yena["longest"]) == (0.25, [0.334, 0.667])
    assert [(stranger["name"], stranger["frames"]) for stranger in found["strangers"]] == [("unknown, track 2", 15)]
    assert found["together"] == [{"names": ["Yuri", "최예나"], "seconds": 0.334, "frames": 10}]
    with Image.open(found["plot"]) as picture:
        assert picture.width > 800


def test_a_plot_that_cannot_be(record: Path, tmp_path: Path, capsys: Out) -> None:
    assert run("tracks", "summary", record, "--plot", tmp_path / "a.pdf") == 2
    assert ".html" in capsys.readouterr().err
    assert run("tracks", "summary", record, "--plot", tmp_path / "none" / "a.png") == 5
    assert "a.png" in capsys.readouterr().err


def test_summary_of_nothing(tmp_path: Path, capsys: Out) -> None:
    path = records.write(tmp_path / "empty.tracks.jsonl", [], {})
    assert run("tracks", "summary", path, "--plot", tmp_path / "a.png") == 0
    assert "Nobody was named." in capsys.readouterr().out


def test_rename(record: Path, capsys: Out) -> None:
    assert run("tracks", "rename", record, "2=최예나", "0=unknown") == 0
    out = capsys.readouterr().out
    assert "Track 2: unknown is now 최예나" in out
    assert "Track 0: Yuri is now unknown" in out
    assert str(record) + ".bak" in out
    assert run("tracks", "rename", record, "2=Zed", "--new", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["changed"] == {"2": {"was": "최예나", "is": "Zed"}}
    assert read(record).frames[30].faces[0].name == "Zed"


def test_rename_an_unknown_person(record: Path, capsys: Out) -> None:
    record.write_bytes(record.read_bytes().replace(b'"verdict":"unknown",', b'"verdict":"unknown","stranger":3,'))
    assert run("tracks", "rename", record, "Unknown 3 = 최예나") == 0
    assert "Track 2: unknown is now 최예나" in capsys.readouterr().out
    assert read(record).frames[30].faces[0].name == "최예나"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["12"], 2, "'12'"),
        (["a=Yuri"], 2, "'a=Yuri'"),
        (["0="], 2, "'0='"),
        (["0=Yuri", "0=최예나"], 2, "track 0 is named twice"),
        (["unknown 1=Yuri", "Unknown 01=최예나"], 2, "unknown 1 is named twice"),
        (["unknown=Yuri"], 2, "'unknown=Yuri' is not TRACK=NAME"),
        (["9" * 5000 + "=Yuri"], 2, "is not TRACK=NAME"),
        (["unknown 7=Yuri"], 2, "has no unknown 7; it numbers nobody, since it was made without a gallery"),
        ([], 2, "TRACK=NAME"),
        (["99=Yuri"], 2, "no track 99"),
        (["2=Yury"], 2, "did you mean 'Yuri'"),
    ],
)
def test_rename_that_makes_no_sense(words: list[str], code: int, said: str, record: Path, capsys: Out) -> None:
    before = record.read_bytes()
    assert run("tracks", "rename", record, *words) == code
    assert said in capsys.readouterr().err
    assert record.read_bytes() == before
    assert files(record.parent) == [record.name]


def test_correct_and_render_again(video: Path, capsys: Out) -> None:
    own, out = video.with_name("own.tracks.jsonl"), video.with_name("out.mp4")
    assert run("tracks", "rename", own, "1=ben") == 0
    assert run("render", video, own, "-o", out, "--crf", "4", "--encoder", "x264", "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["video"] == str(out)
    assert result["frames"] == FRAMES
    assert {person["name"] for person in result["people"]} == {"ann", "ben"}
    assert is_red(pictures(out)[5][69, 115])


def test_render_refuses_another_video(video: Path, record: Path, capsys: Out) -> None:
    out = video.with_name("out.mp4")
    assert run("render", video, record, "-o", out) == 3
    err = capsys.readouterr().err
    assert str(record) in err
    assert str(video) in err
    assert "160x90" in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--style", "sparkle"], "sparkle"),
        (["--style", "boxes", "--style", "names"], "boxes and names"),
        (["--style", "blur", "--unknown", "box"], "--unknown would do nothing"),
        (["--soft"], "name it .mkv"),
        (["--soft", "--crf", "20", "--encoder", "x264"], "--encoder, --crf would do nothing with --soft"),
        (["--soft", "--decoder", "software"], "--decoder would do nothing with --soft"),
    ],
)
def test_render_options_that_make_no_sense(arguments: list[str], said: str, video: Path, capsys: Out) -> None:
    assert run("render", video, video.with_name("own.tracks.jsonl"), "-o", video.with_name("out.mp4"), *arguments) == 2
    assert said in capsys.readouterr().err
    assert not video.with_name("out.mp4").exists()


def test_render_softly(video: Path, capsys: Out) -> None:
    out = video.with_name("out.mkv")
    assert run("render", video, video.with_name("own.tracks.jsonl"), "-o", out, "--soft", "--style", "corners") == 0
    assert str(out) in capsys.readouterr().out
    assert media.read(out).kinds == ["video", "subtitle"]


def test_render_a_photo(tmp_path: Path, detector_file: Path, embedder_file: Path, capsys: Out) -> None:
    photo, out = tmp_path / "stage.png", tmp_path / "again.png"
    from tests.networks import PEOPLE, scene

    Image.fromarray(scene(320, 192, [((30, 60, 78, 120), PEOPLE["cho"])])).save(photo)
    own = ["--detector", detector_file, "--embedder", embedder_file, "--threads", "1"]
    assert run("label", photo, "--style", "pixelate", *own) == 0
    assert run("render", photo, tmp_path / "stage.tracks.jsonl", "-o", out) == 0
    drawn = np.array(Image.open(out)).astype(int)
    box = read(tmp_path / "stage.tracks.jsonl").frames[0].faces[0].box
    left, top, right, _ = (round(float(v)) for v in box)
    assert np.ptp(drawn[top, (left + right) // 2]) < 5  # a grey box: nobody could have been known
    capsys.readouterr()
    assert run("render", photo, tmp_path / "stage.tracks.jsonl", "-o", tmp_path / "c.png", "--crf", "20") == 2
    assert "--crf would do nothing for a photo" in capsys.readouterr().err


def test_no_command_replaces_what_it_reads(video: Path, capsys: Out) -> None:
    record, mkv = video.with_name("own.tracks.jsonl"), Path(shutil.copy(video, video.with_suffix(".mkv")))
    kept = {path: path.read_bytes() for path in (video, record, mkv)}
    for command in (
        ["render", video, record, "-o", video],
        ["render", mkv, record, "-o", mkv, "--soft"],
        ["label", video, "-o", video],
        ["label", video, "--no-video", "--tracks", video],
        ["tracks", "rename", record, "0=unknown", "-o", record],
    ):
        assert run(*command, "--overwrite") == 5, command
        assert "made from" in capsys.readouterr().err
    assert run("tracks", "sheet", record, video, "-o", video, "--overwrite") == 2
    assert {path: path.read_bytes() for path in kept} == kept
    assert files(video.parent) == sorted(path.name for path in kept)


def test_a_sheet(video: Path, capsys: Out) -> None:
    assert run("tracks", "sheet", video.with_name("own.tracks.jsonl"), video, "--json") == 0
    out = json.loads(capsys.readouterr().out)["output"]
    assert out == str(video.with_name("own.sheet.png"))
    assert Image.open(out).width > 500
