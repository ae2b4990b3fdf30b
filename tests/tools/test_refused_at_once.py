"""What a command can refuse without its networks is refused before they are opened, which takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from tests.stream import media
from tools import cli


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with something sound of each kind and something damaged of each kind, where no network can be opened."""

    def opened(*arguments: object, **options: object) -> NoReturn:
        raise AssertionError("a network was opened")

    monkeypatch.setattr(Detector, "open", opened)
    monkeypatch.setattr(Embedder, "open", opened)
    media.write(tmp_path / "mv.mp4", media.Video(frames=3))
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "photo.png")
    Gallery.build({"ann": np.eye(1, 4, dtype=np.float32)}, "0" * 64, 0.5).save(tmp_path / "g.gallery")
    (tmp_path / "people" / "ann").mkdir(parents=True)
    for name in ("bad.gallery", "bad.json", "bad.txt", "there.mp4", "there.jsonl", "there.html"):
        (tmp_path / name).write_text("nothing\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


REFUSED: list[tuple[str, int, str]] = [
    ("label no.mp4", 3, "no.mp4"),
    ("label no.mp4 --no-video", 3, "no.mp4"),
    ("label mv.mp4 -g no.gallery", 3, "no.gallery"),
    ("label mv.mp4 -g bad.gallery", 3, "bad.gallery"),
    ("label mv.mp4 -o there.mp4", 5, "there.mp4"),
    ("label mv.mp4 --tracks there.jsonl", 5, "there.jsonl"),
    ("label mv.mp4 -o away/there.mp4", 5, "away"),
    ("label mv.mp4 --overwrite --tracks /dev/null", 5, "a device or a pipe"),
    ("render mv.mp4 bad.json -o there.mp4", 5, "there.mp4 exists already"),
    ("render mv.mp4 bad.json -o bad.json --overwrite", 5, "bad.json is what the output is made from"),
    ("train cohort --faces bad.txt --out away/new.cohort", 5, "away"),
    ("train cohort --faces bad.txt --out bad.txt", 5, "bad.txt is what the output is made from"),
    ("label mv.mp4 -o there.xyz", 2, ".xyz"),
    ("label mv.mp4 --soft -o out.mp4", 2, ".mkv"),
    ("label mv.mp4 --crf 99", 2, "99"),
    ("label mv.mp4 --omit 7", 2, "no track 7"),
    ("label photo.png -o out.mp4", 2, "out.mp4"),
    ("label photo.png -g no.gallery", 3, "no.gallery"),
    ("label photo.png --tracks there.jsonl", 5, "there.jsonl"),
    ("enroll no -o new.gallery", 3, "no: no such folder"),
    ("enroll people -o g.gallery", 5, "g.gallery"),
    ("enroll people --add no.gallery", 3, "no.gallery"),
    ("enroll no --add g.gallery", 3, "no: no such folder"),
    ("enroll people --add g.gallery --remove nobody", 2, "nobody"),
    ("enroll people -o new.gallery --cohort no.npz", 3, "no.npz"),
    ("enroll people --add g.gallery --cohort no.npz", 3, "no.npz"),
    ("enroll --from no.jsonl --track 1 --as Yuri -o g.gallery", 5, "g.gallery"),
    ("enroll --from no.jsonl --track 1 --as Yuri -o new.gallery", 3, "no.jsonl"),
    ("bench accuracy no.mp4 --truth there.txt", 3, "there.txt"),
    ("bench accuracy mv.mp4 --truth no.json", 3, "no.json"),
    ("bench accuracy mv.mp4 --truth bad.json", 3, "bad.json"),
    ("bench mv.mp4 -g bad.gallery", 3, "bad.gallery"),
    ("bench mv.mp4 -o there.jsonl", 5, "there.jsonl"),
    ("bench no.mp4", 3, "no.mp4"),
]


@pytest.mark.parametrize(("words", "code", "named"), REFUSED, ids=[words for words, _, _ in REFUSED])
def test_before_any_network_is_opened(
    place: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, named: str
) -> None:
    assert cli.run(words.split()) == code
    message = capsys.readouterr().err
    assert "a network was opened" not in message
    assert named in message


@pytest.mark.parametrize("words", ["label mv.mp4", "label photo.png", "label mv.mp4 --style blur"])
def test_what_is_in_order_opens_them(place: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    before = sorted(place.iterdir())
    assert cli.run(words.split()) == 1
    assert "a network was opened" in capsys.readouterr().err
    assert sorted(place.iterdir()) == before


def test_analyses_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    for words, code in (
        ("analyse no -o a.html", 3),
        ("analyse no.zip -o a.html", 3),
        ("analyse people -o there.html", 5),
    ):
        assert cli.run(words.split()) == code
        assert "a network was opened" not in capsys.readouterr().err


def test_names_of_folders_that_cannot_stay_are_told_all_at_once(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ANN", "Unknown 2", "B\u202een", "Cho", " Cho", "dora"):
        (place / "more" / name).mkdir(parents=True)
    assert cli.run(["enroll", "more", "--add", "g.gallery"]) == 3
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "iznet: error: more: 4 names cannot stay as they are:"
    direction = "an unseen character that turns the direction of writing (U+202E)"
    assert sorted(rest) == [
        "  the folder 'ANN' and 'ann' in the gallery are the same name; rename one",
        f"  the folder 'B\\u202een': the name holds {direction}; write it without",
        "  the folder 'Unknown 2': 'Unknown 2' is what people without a name are called; choose another name",
        "  the folders ' Cho' and 'Cho' are the same name; put them together",
    ]
