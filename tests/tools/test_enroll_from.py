"""Somebody unknown in a video becomes somebody known: label, enroll from the record, label again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine import Gallery
from stream.tracks import read
from tests.networks import PEOPLE, scene
from tests.stream import media
from tools.cli import run

FRAMES = 40


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Ann stays; Cho is there, away, and there again."""
    faces = [((30 + index, 60, 94 + index, 124), PEOPLE["ann"])]
    if index < 12 or index >= 32:
        faces.append(((220, 60, 284, 124), PEOPLE["cho"]))
    return scene(width, height, faces)


@pytest.fixture(scope="module")
def made(detector_file: Path, embedder_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A video with Ann and Cho, a gallery that knows Ann and Ben, a record; and the networks' options."""
    tmp_path = tmp_path_factory.mktemp("made")
    networks = ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]
    for name in ("ann", "ben"):
        (tmp_path / "people" / name).mkdir(parents=True)
        for n in range(2):
            picture = scene(500, 400, [((150 + 9 * n, 100, 250, 220), PEOPLE[name])])
            Image.fromarray(picture).save(tmp_path / "people" / name / f"{n}.png")
    media.write(tmp_path / "v.mp4", media.Video(FRAMES, 320, 192, pixel_format="yuv444p", picture=stage))
    assert run(["enroll", str(tmp_path / "people"), "-o", str(tmp_path / "g.gallery"), *networks]) == 0
    label = ["label", str(tmp_path / "v.mp4"), "-g", str(tmp_path / "g.gallery"), "--no-video", *networks]
    assert run(label) == 0
    return tmp_path, networks


@pytest.fixture
def setting(made: tuple[Path, list[str]], tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy to be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(made[0], folder)
    return folder, made[1]


def test_an_unknown_person_is_taught_and_named(
    setting: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, networks = setting
    record = folder / "v.tracks.jsonl"
    unknown = [verdict for verdict in read(record).tracks if verdict.verdict == "unknown"]
    assert {verdict.stranger for verdict in unknown} == {1}
    teach = ["enroll", "--add", str(folder / "g.gallery"), "--from", str(record), "--stranger", "1", "--as", "Cho"]
    capsys.readouterr()
    assert run([*teach, *networks, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "Cho" in [person["name"] for person in report["people"]]
    assert Gallery.load(folder / "g.gallery").people == ("Cho", "ann", "ben")
    label = ["label", str(folder / "v.mp4"), "-g", str(folder / "g.gallery"), "--no-video", "--overwrite", *networks]
    assert run(label) == 0
    assert {verdict.name for verdict in read(record).tracks} == {"ann", "Cho"}


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--from", "{record}", "--as", "Cho"], 2, "--track N or --stranger N"),
        (["--from", "{record}", "--track", "0", "--stranger", "1", "--as", "Cho"], 2, "either --track"),
        (["--from", "{record}", "--track", "0"], 2, "--as NAME"),
        (["--track", "0", "--as", "Cho"], 2, "belong to --from"),
        (["--from", "{record}", "--track", "0", "--as", "a/b"], 2, "a/b"),
        (["--from", "{record}", "--track", "0", "--as", ".hidden"], 2, "--as '.hidden': cannot be a folder's name"),
        (["--from", "{record}", "--track", "0", "--as", "Thumbs.db"], 2, "--as 'Thumbs.db': cannot be a folder's name"),
        (["--from", "{record}", "--track", "0", "--as", "대" * 90], 2, "대': cannot be a folder's name"),
        (["--from", "{record}", "--track", "0", "--as", "ANN"], 2, "--as 'ANN': 'ann' is in the gallery already"),
        (["--from", "{record}", "--track", "0", "--as", "Unknown"], 2, "what people without a name are called"),
        (["--from", "{record}", "--track", "99", "--as", "Cho"], 2, "no track 99"),
        (["{people}", "--from", "{record}", "--track", "0", "--as", "Cho"], 2, "one of the two"),
    ],
)
def test_what_cannot_be_taught_changes_nothing(
    setting: tuple[Path, list[str]], options: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, networks = setting
    before = (folder / "g.gallery").read_bytes()
    names = {"record": str(folder / "v.tracks.jsonl"), "people": str(folder / "people")}
    given = [option.format(**names) for option in options]
    assert run(["enroll", "--add", str(folder / "g.gallery"), *given, *networks]) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert (folder / "g.gallery").read_bytes() == before


def test_photos_that_cannot_be_used_are_told_of_the_record(
    setting: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, networks = setting
    monkeypatch.setattr("stream.teach.ROOM", 0.02)  # so little that no face is on the photos
    record = folder / "v.tracks.jsonl"
    teach = ["enroll", "--from", str(record), "--track", "0", "--as", "Ann", "-o", str(folder / "new.gallery")]
    assert run([*teach, *networks]) == 3
    assert f"{record}: no usable photo of anybody (Ann/v at " in capsys.readouterr().err


@pytest.mark.parametrize("read", ["v.mp4", "v.tracks.jsonl"])
def test_neither_the_record_nor_its_video_is_replaced(
    setting: tuple[Path, list[str]], read: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, networks = setting
    before = (folder / read).read_bytes()
    teach = ["enroll", "--from", str(folder / "v.tracks.jsonl"), "--video", str(folder / "v.mp4"), "--track", "0"]
    assert run([*teach, "--as", "Ann", "-o", str(folder / read), "--overwrite", *networks]) == 5
    assert f"{read} is what the output is made from" in capsys.readouterr().err
    assert (folder / read).read_bytes() == before
