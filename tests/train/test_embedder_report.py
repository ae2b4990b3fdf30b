"""The embedder's figures on colours, beside those of others, as a page."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

from tests.train.test_faces import archive
from tools.train_embedder import eval_embedder
from train import embedder_report
from train.embedder_eval import Embed
from train.embedder_report import evaluate, page, table


def crop(person: int, shot: int, side: int) -> NDArray[np.uint8]:
    """A person is a pattern, a shot some noise on it."""
    coarse = np.random.default_rng(person).integers(0, 256, (4, 4, 3)).astype(np.float32)
    noise = np.random.default_rng((person, shot)).normal(0, 6, (side, side, 3))
    rgb = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) + noise
    return np.asarray(np.clip(rgb, 0, 255), np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    members, rows = {}, ["file,set,person,split"]
    for person in range(4):
        for shot in range(4):
            members[f"d{person}_{shot}.jpg"] = crop(person, shot, 128)
            rows.append(f"d{person}_{shot}.jpg,celeb,d{person},")
    for person in range(10, 12):
        for shot in range(20):
            members[f"g{person}_{shot}.jpg"] = crop(person, shot, 128)
            split = "train" if shot < 7 else "dev" if shot == 7 else "test"
            rows.append(f"g{person}_{shot}.jpg,group4,g{person},{split}")
    archive(folder / "faces.zip", "people.csv", "\n".join(rows), members)
    names = "\n".join(["person,file,split", *(f"d{p},d{p}_0.jpg,train" for p in range(4))])
    (folder / "people12.csv").write_text(names, "utf-8")
    pairs = ["a,b,same"]
    for n in range(20):
        pairs += [f"{n}_0.jpg,{n}_1.jpg,1", f"{n}_0.jpg,{(n + 1) % 20}_1.jpg,0"]
    faces = {f"{p}_{s}.jpg": crop(100 + p, s, 112) for p in range(20) for s in range(2)}
    archive(folder / "lfw.zip", "pairs.csv", "\n".join(pairs), faces)
    return folder


def pattern(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tells patterns apart without fail."""
    small = np.stack([cv2.resize(f, (4, 4), interpolation=cv2.INTER_AREA) for f in faces]).reshape(len(faces), -1)
    centred = small.astype(np.float32) - 128
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


def blind(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tells nobody apart."""
    noise = np.random.default_rng(0).normal(size=(len(faces), 64)).astype(np.float32)
    return np.asarray(noise / np.linalg.norm(noise, axis=1, keepdims=True), np.float32)


def test_others_are_measured_by_the_same_figures_and_stand_on_the_page(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def networks(out: Path) -> list[tuple[str, Embed]]:
        asked.append(out)
        return [("NN1, triplet", pattern), ("NN1, binary", blind)]

    monkeypatch.setattr(embedder_report, "finished_networks", networks)
    monkeypatch.setattr(embedder_report, "members_layer", lambda *_: np.eye(128, dtype=np.float32))
    options = ["--data", str(data), "--experiments", str(tmp_path / "run"), "--write", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(eval_embedder, options, catch_exceptions=False)
    record = json.loads(result.stdout)
    assert asked == [tmp_path / "run"]
    ours = ["iznet-embedder", "iznet-embedder, mirrored too"]
    assert list(record) == [*ours, "NN1, triplet", "NN1, binary", *(f"{name}, after `train members`" for name in ours)]
    values = {name: {f["name"]: f["value"] for f in figures} for name, figures in record.items()}
    assert set(values["NN1, triplet"].values()) == {1.0}
    assert values["NN1, binary"]["LFW: accuracy (10-fold)"] < 0.8
    assert values["NN1, binary"]["dev people: TAR at FAR 1e-3"] < 0.5
    counts = {f["name"]: f["count"] for f in record["NN1, triplet"]}
    assert counts["LFW: accuracy (10-fold)"] == 40
    assert counts["dev people: TAR at FAR 1e-3"] == 4 * 6
    assert counts["group, test: TAR at FAR 1e-2"] == 2 * 66
    assert json.loads((tmp_path / "out" / "embedder.json").read_text("utf-8")) == record
    written = (tmp_path / "out" / "embedder.md").read_text("utf-8")
    row = next(line for line in written.splitlines() if line.startswith("| NN1, triplet"))
    assert row.count("100.00 [") == 9
    assert "100.00 [91.2, 100.0]" in row, "what 40 pairs of 40 still allow"
    learned = next(line for line in written.splitlines() if line.startswith(f"| {ours[0]}, after"))
    assert learned.count("| – ") == 5
    assert [f["name"].partition(":")[0] for f in record[f"{ours[0]}, after `train members`"]] == [
        *["group, test"] * 2,
        *["group, dev and test"] * 2,
    ]


def test_the_table_has_a_line_a_network_and_a_column_a_figure(data: Path) -> None:
    said: list[str] = []

    rows = evaluate(None, data, say=said.append)
    assert said[:2] == ["iznet-embedder: measured", "iznet-embedder, mirrored too: measured"]
    assert said[2:] == ["not measured after train members: it did not help, so nothing would be kept"]
    lines = table(rows).splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {11}
    assert table(rows) in page(rows)
