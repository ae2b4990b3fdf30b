"""`iznet analyse`: archives, folders, snapshots, and every way it can be called wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from tests.networks import PEOPLE, scene
from tests.train.test_faces import archive
from tools import cli
from train.analysis.people import EmbeddedPeople
from train.snapshots import Snapshot, save_snapshot

SPLITS = ("train", "train", "dev", "dev", "test")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of three people of different colours, five crops each, somebody with one, and a table of two."""
    folder = tmp_path_factory.mktemp("analyse")
    rng = np.random.default_rng(0)
    rows, members, table = ["file,set,person,split"], {}, ["person,file,split"]
    for person, hue in (("red", 0), ("green", 60), ("blue", 120)):
        for n, split in enumerate(SPLITS):
            hsv = np.full((128, 128, 3), (hue, 220, 120 + 20 * n), np.uint8)
            rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.int16) + rng.integers(-20, 21, 3)
            file = f"s/{person}{n}.jpg"
            members[file] = np.clip(rgb, 0, 255).astype(np.uint8)
            rows.append(f"{file},s,{person},{split}")
            if person != "blue":
                table.append(f"{person},{file},{split}")
    members["t/x.jpg"] = members["s/red0.jpg"]
    rows += ["t/x.jpg,t,lonely,"]
    members["t/y.jpg"] = members["s/red0.jpg"]
    rows += ["t/y.jpg,t,,"]
    (folder / "two.csv").write_text("\n".join(table), "utf-8")
    return archive(folder / "faces.zip", "people.csv", "\n".join(rows), members)


def test_an_archive_becomes_a_page_and_json(
    faces: Path, embedder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "r.html"
    common = ["analyse", str(faces), "-o", str(page), "--embedder", str(embedder_file), "--iterations", "250"]
    assert cli.run(common) == 0
    out = capsys.readouterr()
    assert "15 photos of 3 people" in out.out
    assert "left out 1 person with a single photo: lonely" in out.out
    assert "perplexity" in out.out
    record = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert record["people"] == ["blue", "green", "red"]
    assert record["rank1"]["medoid"]["value"] == 1
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert cli.run(common) == 5
    assert "--overwrite" in capsys.readouterr().err
    chosen = [*common, "--overwrite", "--table", str(faces.parent / "two.csv"), "--trio", "red,green", "--json"]
    assert cli.run(chosen) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["people"] == ["green", "red"]
    assert printed["closest"] == ["red", "green"]
    assert printed["report"] == str(page)


def test_splits_and_sets_choose(faces: Path, embedder_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    common = ["analyse", str(faces), "-o", str(page), "--embedder", str(embedder_file), "--iterations", "250"]
    assert cli.run([*common, "--set", "s", "--split", "dev", "--split", "test", "--draws", "3"]) == 0
    record = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert record["photos"] == 9
    assert "3 times" in record["how"]


def test_a_source_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["analyse", str(tmp_path / "nobody"), "-o", str(tmp_path / "r.html")]) == 3
    assert (
        "nobody is not there; give a folder with one of photos for each person, or an archive"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_snapshots_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for step in (0, 8):
        vectors = rng.normal(size=(16, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        people = EmbeddedPeople(vectors, ("a",) * 8 + ("b",) * 8, ("train", "test") * 8)
        save_snapshot(tmp_path / "s", step, Snapshot(people, step * 32, "NN2, binary"))
    page = tmp_path / "r.html"
    assert cli.run(["analyse", "--snapshots", str(tmp_path / "s"), "-o", str(page), "--iterations", "250"]) == 0
    assert "During the training: NN2, binary" in page.read_text("utf-8")


def test_a_folder_of_people(
    detector_file: Path, embedder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos are looked at as `enroll` looks at them: what shows no face is left out, saying so."""
    for person in ("ann", "ben"):
        (tmp_path / "people" / person).mkdir(parents=True)
        red, green, blue = PEOPLE[person]
        for n in range(3):
            rgb = scene(500, 400, [((150 + 9 * n, 100, 250, 220), (red, green, abs(blue - 6 * n)))])
            cv2.imwrite(str(tmp_path / "people" / person / f"{n}.png"), rgb[..., ::-1])
    cv2.imwrite(str(tmp_path / "people" / "ann" / "empty.png"), np.zeros((200, 200, 3), np.uint8))
    networks = ["--embedder", str(embedder_file), "--detector", str(detector_file), "--iterations", "250"]
    page = tmp_path / "r.html"
    assert cli.run(["analyse", str(tmp_path / "people"), "-o", str(page), *networks]) == 0
    out = capsys.readouterr().out
    assert "6 photos of 2 people" in out
    assert "left out ann/empty.png: no face found" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to analyse"),
        (["{faces}", "-o", "{tmp}/r.pdf"], 2, "must end in .html"),
        (["{tmp}/none.zip"], 3, "is not there"),
        (["{tmp}/none/", "--set", "x"], 3, "is not there"),
        (["{faces}", "-o", "{tmp}/no/r.html"], 5, "does not exist"),
        (["{faces}", "--set", "nobody"], 2, "no photos of named people in set nobody"),
        (["{faces}", "--table", "{tmp}/none.csv"], 3, "none.csv cannot be read"),
        (["{faces}", "--trio", "red,nobody"], 2, "'nobody' is not one of the people"),
        (["{tmp}", "--split", "dev"], 2, "is a folder"),
        (["{tmp}"], 3, "no sub-folders"),
        (["{bad}"], 3, "bad.zip: not a readable zip file"),
        (["--snapshots", "{tmp}"], 3, "holds no snapshots"),
        (["{faces}", "--embedder", "{tmp}/none.onnx"], 3, "none.onnx"),
        (["{faces}", "--split", "test"], 3, "at least two"),
    ],
)
def test_wrong_use_ends_with_its_code(
    arguments: list[str],
    code: int,
    message: str,
    faces: Path,
    embedder_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.zip"
    if "{bad}" in arguments:
        bad.write_bytes(b"PK nothing")
    filled = [a.format(faces=faces, tmp=tmp_path, bad=bad) for a in arguments]
    if "-o" not in filled:
        filled += ["-o", str(tmp_path / "r.html")]
    if "--embedder" not in filled:
        filled += ["--embedder", str(embedder_file)]
    assert cli.run(["analyse", *filled]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_a_missing_library_is_named(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.analyse.NEEDED", ("matplotlib", "not_there_at_all"))
    assert cli.run(["analyse", str(faces), "-o", str(tmp_path / "r.html")]) == 4
    assert "not_there_at_all" in capsys.readouterr().err
