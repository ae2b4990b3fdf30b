"""`iznet enroll` as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from engine import Gallery
from tests.networks import PEOPLE, scene
from tools.cli import run


@pytest.fixture
def arguments(detector_file: Path, embedder_file: Path, tmp_path: Path) -> list[str]:
    """A folder of two people and a photo that cannot be used, and the options that go with it."""
    for name in ("ann", "대현"):
        (tmp_path / "people" / name).mkdir(parents=True)
        for n in range(2):
            picture = scene(500, 400, [((150 + 9 * n, 100, 250, 220), PEOPLE[name])])
            Image.fromarray(picture).save(tmp_path / "people" / name / f"{n}.png")
    (tmp_path / "people" / "ann" / "[red]note.txt").write_text("hello", "utf-8")
    networks = ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]
    return ["enroll", str(tmp_path / "people"), "-o", str(tmp_path / "g.gallery"), *networks]


def test_says_what_became_of_every_photo(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "Skipped: ann/[red]note.txt: not a picture" in out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["person"] == ["person", "photos", "medoid", "spread", "named", "nearest", "person", "distance"]
    assert lines["ann"][:3] == ["ann", "2", "ann/0.png"]
    assert lines["대현"][4:] == ["100", "%", "ann", "1.94"]
    assert "2 people in " in out
    assert "openvino" in err
    assert "photo 1 of 5: ann" in err
    assert Gallery.load(tmp_path / "g.gallery").people == ("ann", "대현")


def test_json(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["gallery"] == str(tmp_path / "g.gallery")
    assert report["sha256"] == Gallery.load(tmp_path / "g.gallery").sha256
    assert [p["name"] for p in report["people"]] == ["ann", "대현"]
    assert [s["file"] for s in report["skipped"]] == ["ann/[red]note.txt"]


def test_overwriting_must_be_asked_for(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "g.gallery").write_text("precious", "utf-8")
    assert run(arguments) == 5
    assert "g.gallery exists already; use --overwrite to replace it, or choose another place" in capsys.readouterr().err
    assert (tmp_path / "g.gallery").read_text("utf-8") == "precious"
    assert run([*arguments, "--overwrite"]) == 0
    assert Gallery.load(tmp_path / "g.gallery").people == ("ann", "대현")


@pytest.mark.parametrize("read", ["people/ann/0.png", "link.png", "detector.onnx", "embedder.onnx", "strangers"])
def test_what_is_read_is_not_replaced(
    arguments: list[str], read: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strangers").write_text("precious", "utf-8")
    (tmp_path / "link.png").symlink_to(tmp_path / "people" / "ann" / "1.png")
    folder, networks = arguments[1], dict(zip(arguments[4::2], arguments[5::2], strict=True))
    for option in ("--detector", "--embedder"):
        shutil.copy(networks[option], tmp_path / f"{option[2:]}.onnx")
        networks[option] = str(tmp_path / f"{option[2:]}.onnx")
    before = (tmp_path / read).read_bytes()
    options = [part for pair in networks.items() for part in pair]
    options += ["--cohort", str(tmp_path / read)] if read == "strangers" else []
    assert run(["enroll", folder, "-o", str(tmp_path / read), "--overwrite", *options]) == 5
    assert f"{Path(read).name} is what the output is made from" in capsys.readouterr().err
    assert (tmp_path / read).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("people", "nobody"), 3, "no such folder"),
        (("g.gallery", "no/g.gallery"), 5, "does not exist"),
        (("detector.onnx", "none.onnx"), 3, "no such file; name an ONNX network"),
    ],
)
def test_what_goes_wrong(
    arguments: list[str], change: tuple[str, str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([a.removesuffix(change[0]) + change[1] if a.endswith(change[0]) else a for a in arguments]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_devices_that_are_not_here(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--device", "gpu"]) == 4
    assert "use --device cpu" in capsys.readouterr().err
    assert run([*arguments, "--device", "quantum"]) == 2
    assert not (tmp_path / "g.gallery").exists()


def test_without_an_output(arguments: list[str]) -> None:
    assert run([a for a in arguments if a not in ("-o", arguments[3])]) == 2
