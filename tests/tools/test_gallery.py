"""`iznet enroll --add`, `--remove`, `--rename` and `iznet gallery …` as typed."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import Embedder, Gallery
from engine.cohort import Cohort
from engine.gallery_page import pairs
from tests.networks import PEOPLE, scene
from tools.cli import run


def take(path: Path, colour: tuple[int, ...], n: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    r, g, b = colour
    shade = (r, g + (7 * n % 20) * (1 if g < 128 else -1), b + (5 * n % 20) * (1 if b < 128 else -1))
    Image.fromarray(scene(500, 400, [((120 + 9 * n, 80 + 5 * n, 220 + 9 * n, 200 + 5 * n), shade)])).save(path)


@pytest.fixture
def networks(detector_file: Path, embedder_file: Path) -> list[str]:
    return ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]


@pytest.fixture
def made(networks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A gallery of ann and ben, with thumbnails; <b>ann</b> has a photo of cho among hers."""
    for n in range(5):
        take(tmp_path / "people" / "<b>ann<" / f"{n}.png", PEOPLE["ann"], n)
        take(tmp_path / "people" / "ben" / f"{n}.png", PEOPLE["ben"], n)
    take(tmp_path / "people" / "<b>ann<" / "wrong.png", PEOPLE["cho"], 9)
    path = tmp_path / "g.gallery"
    assert run(["enroll", str(tmp_path / "people"), "-o", str(path), "--thumbnails", *networks]) == 0
    out = capsys.readouterr().out
    assert "Skipped: <b>ann</wrong.png: probably somebody else: " in out
    assert "the embedder's own, not calibrated for this gallery" in out
    return path


class Page(HTMLParser):
    """Balanced tags, and what would be loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_faces_and_distances_and_loads_nothing(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gallery", "show", str(made), "--html", str(tmp_path / "g.html")]) == 0
    assert "Page with 10 faces" in capsys.readouterr().out
    text = (tmp_path / "g.html").read_text("utf-8")
    page = Page(text)
    assert "&lt;b&gt;ann&lt;" in text
    assert "<b>ann<" not in text
    assert len(page.sources) == 10
    for source in page.sources:
        assert source.startswith("data:image/jpeg;base64,")
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as face:
            assert face.size == (112, 112)
            red = np.asarray(face.convert("RGB"))[56, 56, 0]
            assert red > 180  # the middle of the face, not the ground
    gallery = Gallery.load(made)
    apart = float(np.linalg.norm(gallery.prototypes[0].astype(float) - gallery.prototypes[1]))
    cells = re.findall(r"<td style=[^>]*>([\d.]+)</td>", text)
    assert cells == [f"{apart:.2f}"] * 2
    assert pairs(gallery) == []  # two colours that are nothing like each other
    assert "<p>Nobody: no photo of anyone is as near" in text
    assert "Threshold 0.9000" in text
    assert run(["gallery", "show", str(made), "--html", str(tmp_path / "g.html")]) == 5
    assert "exists already" in capsys.readouterr().err


def test_faces_are_cut_from_the_photos_where_these_are(
    networks: list[str], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.gallery"
    assert run(["enroll", str(tmp_path / "people"), "-o", str(plain), *networks]) == 0
    assert b"JFIF" in made.read_bytes()
    assert b"JFIF" not in plain.read_bytes()
    (tmp_path / "people" / "ben" / "2.png").unlink()
    show = ["gallery", "show", str(plain), "--html", str(tmp_path / "p.html"), "--json"]
    capsys.readouterr()
    assert run([*show, "--photos", str(tmp_path / "people")]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 9
    assert run([*show, "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 0
    assert run([*show[:-1], "--overwrite"]) == 0
    assert "No faces to show: name the folder of photos with --photos" in capsys.readouterr().out
    assert run([*show[:-1], "--overwrite", "--photos", str(tmp_path / "people" / "ben")]) == 0
    assert "ben does not hold the photos as they were enrolled" in capsys.readouterr().out


def test_photos_of_a_page_are_in_a_folder_and_for_a_page(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = ["gallery", "show", str(made)]
    for given, code, message in (
        (["--photos", str(tmp_path / "people")], 2, "--photos would do nothing without --html"),
        (["--overwrite"], 2, "--overwrite would do nothing without --html"),
        (["--photos", str(tmp_path / "peple"), "--html", str(tmp_path / "p.html")], 3, "peple: no such folder; name "),
        (["--photos", str(made), "--html", str(tmp_path / "p.html")], 3, "g.gallery: is a file; name "),
    ):
        assert run([*show, *given]) == code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("read", ["g.gallery", "people/ben/2.png"])
def test_the_page_replaces_nothing_that_it_shows(
    made: Path, tmp_path: Path, read: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tmp_path / read).read_bytes()
    show = ["gallery", "show", str(made), "--photos", str(tmp_path / "people")]
    assert run([*show, "--html", str(tmp_path / read), "--overwrite"]) == 5
    assert f"{Path(read).name} is what the output is made from" in capsys.readouterr().err
    assert (tmp_path / read).read_bytes() == before


def test_adding_the_same_photos_again_changes_nothing(
    networks: list[str], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made.read_bytes()
    add = ["enroll", "--add", str(made), str(tmp_path / "people"), *networks]
    assert run([*add, "--thumbnails", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert made.read_bytes() == before
    assert report["left_out"] == report["warnings"] == []
    assert {s["reason"] for s in report["skipped"] if s["person"] == "ben"} == {
        f"enrolled already, as ben/{n}.png" for n in range(5)
    }
    assert run([*add, "--rename", "ben=Ben"]) == 3  # whose folder is somebody else's now
    assert made.read_bytes() == before


def test_adding_removing_and_renaming(
    networks: list[str], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(tmp_path / "more" / "cho" / "0.png", PEOPLE["cho"], 0)
    take(tmp_path / "more" / "ben" / "new.png", PEOPLE["ben"], 7)
    again = Image.open(tmp_path / "people" / "ben" / "1.png").convert("RGB").resize((1000, 800))
    again.save(tmp_path / "more" / "ben" / "again.jpg", quality=70)  # enrolled before, saved anew
    add = ["enroll", "--add", str(made), str(tmp_path / "more"), *networks, "--json"]
    assert run([*add, "--rename", "<b>ann<=ann"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(p["name"], p["photos"]) for p in report["people"]] == [("ann", 5), ("ben", 6), ("cho", 1)]
    assert [(s["file"], s["reason"]) for s in report["skipped"]] == [
        ("ben/again.jpg", "enrolled already, as ben/1.png")
    ]
    assert report["sha256"] == Gallery.load(made).sha256
    assert run(["enroll", "-o", str(made), "--remove", "cho", "--rename", "ben=Ben"]) == 0
    assert "2 people in " in capsys.readouterr().out
    assert Gallery.load(made).people == ("Ben", "ann")
    assert run(["gallery", "remove", str(made), "Ben"]) == 0
    assert b"ben/" not in made.read_bytes()
    assert run(["gallery", "rename", str(made), "ann", "Ann Lee"]) == 0
    assert Gallery.load(made).people == ("Ann Lee",)
    assert run(["gallery", "remove", str(made), "Ann Lee"]) == 2
    assert "nobody would be left" in capsys.readouterr().err


def test_the_same_face_saved_anew_in_two_folders_is_nobodys(
    networks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(4):
        take(tmp_path / "people" / "ann" / f"{n}.png", PEOPLE["ann"], n)
        take(tmp_path / "people" / "ben" / f"{n}.png", PEOPLE["ben"], n)
    copy = Image.open(tmp_path / "people" / "ann" / "2.png").convert("RGB")
    copy.save(tmp_path / "people" / "ben" / "copy.jpg", quality=60)
    assert run(["enroll", str(tmp_path / "people"), "-o", str(tmp_path / "g"), *networks, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {s["file"] for s in report["skipped"]} == {"ann/2.png", "ben/copy.jpg"}
    assert all("cannot be several people" in s["reason"] for s in report["skipped"])
    assert report["duplicates"] == [["ann/2.png", "ben/copy.jpg"]]


def test_a_threshold_for_the_gallery(
    networks: list[str], made: Path, embedder: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eye = np.eye(128) / 128
    flat = np.zeros((1, 128), np.float32)
    Cohort(flat, np.ones(1), np.ones(1), eye, 1.0, 9, 9, 9, "colours", embedder.sha256).save(tmp_path / "c")
    people = ["enroll", str(tmp_path / "people"), "-o", str(tmp_path / "new"), *networks]
    assert run([*people, "--cohort", str(tmp_path / "c"), "--far", "0.02", "--prototypes", "centroid"]) == 0
    out = capsys.readouterr().out
    assert "found for this gallery, for 2 % false accepts" in out
    assert "Prototypes: centroid" in out
    assert "each left out in turn: 100.0 % (10 photos)" in out
    gallery = Gallery.load(tmp_path / "new")
    assert 0.1 < gallery.threshold < 0.9
    assert gallery.method == "centroid"
    other = ["--cohort", str(tmp_path / "c"), "--far", "0.05", "--prototypes", "kmeans"]
    assert run(["enroll", "-o", str(tmp_path / "new"), "--rename", "<b>ann<=ann", *other]) == 0
    assert "found for this gallery, for 5 % false accepts" in capsys.readouterr().out
    changed = Gallery.load(tmp_path / "new")
    assert changed.people == ("ann", "ben")
    assert changed.method == "kmeans"
    assert changed.threshold < gallery.threshold
    more = ["enroll", "--add", str(tmp_path / "new"), str(tmp_path / "people"), "--rename", "ann=<b>ann<", *networks]
    assert run([*more, *other[:2]]) == 0
    again = Gallery.load(tmp_path / "new")
    assert again.people == gallery.people
    assert (again.method, again.calibration.far) == ("kmeans", 0.05)
    assert run(["enroll", "-o", str(tmp_path / "new"), "--far", "0.02", "--cohort", str(tmp_path / "c")]) == 0
    assert "for 2 % false accepts" in capsys.readouterr().out.rpartition("found for this gallery")[2]
    Cohort(flat, np.ones(1), np.ones(1), eye, 1.0, 9, 9, 9, "x", "a" * 64).save(tmp_path / "d")
    before = (tmp_path / "new").read_bytes()
    assert run(["enroll", "-o", str(tmp_path / "new"), "--remove", "ben", "--cohort", str(tmp_path / "d")]) == 3
    assert "make a cohort for that one" in capsys.readouterr().err
    assert (tmp_path / "new").read_bytes() == before
    assert run([*people, "--cohort", str(tmp_path / "d"), "--overwrite"]) == 3
    assert "make a cohort for that one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["enroll"], 2, "say which gallery"),
        (["enroll", "-o", "g"], 2, "name the folder of photos"),
        (["enroll", "--add", "g", "-o", "h", "d"], 2, "give one of the two"),
        (["enroll", "d", "-o", "g", "--remove", "x"], 2, "name it with --add"),
        (["enroll", "-o", "none", "--remove", "x"], 3, "no such file"),
        (["enroll", "-o", "g", "--remove", "x", "--thumbnails"], 2, "--thumbnails would do nothing where no photos"),
        (["enroll", "--add", "g", "--rename", "x=y", "--size", "800"], 2, "--size would do nothing where no photos"),
        (["enroll", "d", "-o", "g", "--far", "2"], 2, "far"),
        (["enroll", "d", "-o", "g", "--far", "1e-300"], 2, "--far 0.00001, one face in 100 000, is the finest"),
        (["gallery", "show", "none"], 3, "no such file"),
        (["gallery", "remove", "none", "x"], 3, "no such file"),
    ],
)
def test_what_cannot_be_meant(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_in_case(
    networks: list[str], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(tmp_path / "more" / "BEN" / "0.png", PEOPLE["ben"], 0)
    before = made.read_bytes()
    assert run(["enroll", "--add", str(made), str(tmp_path / "more"), *networks]) == 3
    assert "the folder 'BEN' and 'ben' in the gallery are the same name" in capsys.readouterr().err
    assert made.read_bytes() == before
