"""Box sets: bad input is counted by name; encodings go both ways; every face has cells that may answer for it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError, OutputError
from train.data.boxes import (
    LoadReport,
    candidate_cells,
    cell_centres,
    cells_inside,
    decode_boxes,
    encode_boxes,
    load_box_set,
    load_pictures,
    split_dev,
)

STRIDES = (8, 16, 32, 64)


def write_set(path: Path, entries: list[dict[str, Any]], files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("boxes.json", json.dumps(entries))
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def jpeg(width: int = 64, height: int = 48) -> bytes:
    ok, data = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
    assert ok
    return bytes(data.tobytes())


def entry(name: str, boxes: list[list[float]], ignore: list[bool] | None = None, **more: Any) -> dict[str, Any]:
    flags = [False] * len(boxes) if ignore is None else ignore
    return {"image": name, "width": 64, "height": 48, "source": "t", "boxes": boxes, "ignore": flags, **more}


def test_what_cannot_be_used_is_counted_with_its_name(tmp_path: Path) -> None:
    entries = [
        entry("good.jpg", [[1, 2, 20, 30], [-5, 0, 20, 20], [60, 10, 90, 20]]),
        entry("broken.jpg", [[1, 2, 20, 30]]),
        entry("empty.jpg", [[1, 2, 20, 30]]),
        entry("absent.jpg", [[1, 2, 20, 30]]),
        entry("faceless.jpg", []),
        entry("flat.jpg", [[5, 5, 5, 20], [20, 20, 10, 10]]),
        entry("outside.jpg", [[70, 5, 90, 20]]),
        entry("size.jpg", [[1, 2, 20, 30]], width=99),
        entry("nan.jpg", [[1, 2, float("nan"), 30]]),
        entry("flags.jpg", [[1, 2, 20, 30], [5, 5, 25, 25]], [False]),
        entry("text.jpg", [["a", "b", "c", "d"]]),  # type: ignore[list-item]
        {"width": 3},
    ]
    names = ("good", "faceless", "flat", "outside", "size", "nan", "flags", "text")
    files = {f"{name}.jpg": jpeg() for name in names} | {"broken.jpg": jpeg()[:40], "empty.jpg": b""}
    report = LoadReport()
    pictures = load_box_set(write_set(tmp_path / "set.zip", entries, files), report)
    assert [p.name for p in pictures] == [
        f"{n}.jpg" for n in ("good", "faceless", "flat", "outside", "nan", "flags", "text")
    ]
    assert report.problems["unreadable image"] == ["broken.jpg", "empty.jpg"]
    assert report.problems["image missing"] == ["absent.jpg"]
    assert report.problems["zero-area box"] == ["flat.jpg", "flat.jpg"]
    assert report.problems["box outside the image"] == ["outside.jpg"]
    assert report.problems["box reaches outside the image"] == ["good.jpg", "good.jpg"]
    assert report.problems["no boxes"] == ["faceless.jpg", "flat.jpg", "outside.jpg", "nan.jpg", "text.jpg"]
    assert report.problems["image size differs from its label"] == ["size.jpg"]
    assert report.problems["box with a number that is not finite"] == ["nan.jpg"]
    assert report.problems["boxes and ignore flags differ in number"] == ["flags.jpg"]
    assert report.problems["malformed boxes"] == ["text.jpg"]
    assert report.problems["entry without an image name"] == ["boxes.json entry 11"]
    good = pictures[0]
    assert np.allclose(good.boxes, [[1, 2, 20, 30], [0, 0, 20, 20], [60, 10, 64, 20]])
    assert good.ignore.tolist() == [False, False, True], "a box of which most lies outside is not learnt"
    assert "unreadable image: 2 (broken.jpg, empty.jpg)" in str(report)


def test_the_report_is_written_as_json(tmp_path: Path) -> None:
    entries = [entry("a.jpg", [[1, 2, 20, 30]]), entry("broken.jpg", [[1, 2, 20, 30]])]
    report = LoadReport()
    files = {"a.jpg": jpeg(), "broken.jpg": b"x", "unnamed.jpg": jpeg()}
    load_box_set(write_set(tmp_path / "set.zip", entries, files), report)
    report.write(tmp_path / "run" / "data.json")
    assert json.loads((tmp_path / "run" / "data.json").read_text("utf-8")) == {
        "counts": {"image without a label": 1, "unreadable image": 1},
        "files": {"image without a label": ["unnamed.jpg"], "unreadable image": ["broken.jpg"]},
    }
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(OutputError, match=r"data\.json cannot be written"):
        report.write(tmp_path / "file" / "data.json")


def test_label_files_beside_the_pictures(tmp_path: Path) -> None:
    """YOLO's and VOC's labels of one and the same box give the same picture; what is wrong is counted by name."""
    for name in ("images/yolo", "images/none", "images/empty", "images/odd", "images/voc", "images/size", "images/bad"):
        (tmp_path / f"{name}.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(jpeg())
    (tmp_path / "images" / "broken.jpg").write_bytes(jpeg()[:30])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "broken.txt").write_text("0 0.5 0.5 0.5 0.5\n", "utf-8")
    (tmp_path / "labels" / "yolo.txt").write_text("0 0.25 0.5 0.25 0.5\n\n1 0.95 0.5 0.3 0.5\n", "utf-8")
    (tmp_path / "labels" / "empty.txt").write_text(" \n", "utf-8")
    (tmp_path / "labels" / "odd.txt").write_text("0 0.5 x 1 1\n0 0.5\n0 0.5 0.5 0 0.2\n", "utf-8")
    (tmp_path / "labels" / "lonely.txt").write_text("0 0.5 0.5 0.5 0.5\n", "utf-8")
    voc = (
        "<annotation><size><width>{width}</width><height>48</height></size>"
        "<object><bndbox><xmin>8</xmin><ymin>12</ymin><xmax>24</xmax><ymax>36</ymax></bndbox></object>"
        "<object><difficult>1</difficult><bndbox><xmin>30</xmin><ymin>1</ymin><xmax>40</xmax><ymax>9</ymax></bndbox>"
        "</object><object><bndbox><xmin>a</xmin></bndbox></object></annotation>"
    )
    (tmp_path / "images" / "voc.xml").write_text(voc.format(width=64), "utf-8")
    (tmp_path / "images" / "size.xml").write_text(voc.format(width=65), "utf-8")
    (tmp_path / "images" / "bad.xml").write_text("<annotation>", "utf-8")
    report = LoadReport()
    pictures = {p.name: p for p in load_box_set(tmp_path, report)}
    assert sorted(pictures) == ["images/empty.jpg", "images/odd.jpg", "images/voc.jpg", "images/yolo.jpg"]
    assert np.allclose(pictures["images/yolo.jpg"].boxes[0], [8, 12, 24, 36])
    assert pictures["images/yolo.jpg"].ignore.tolist() == [False, False]
    assert np.allclose(pictures["images/voc.jpg"].boxes, [[8, 12, 24, 36], [30, 1, 40, 9]])
    assert pictures["images/voc.jpg"].ignore.tolist() == [False, True]
    assert report.problems == {
        "image without a label file": ["images/none.jpg"],
        "empty label file": ["labels/empty.txt"],
        "label file without an image": ["labels/lonely.txt"],
        "malformed boxes": ["labels/odd.txt", "labels/odd.txt", "images/size.xml", "images/voc.xml"],
        "zero-area box": ["images/odd.jpg"],
        "unreadable label file": ["images/bad.xml"],
        "unreadable image": ["images/broken.jpg"],
        "image size differs from its label": ["images/size.jpg"],
        "box reaches outside the image": ["images/yolo.jpg"],
        "no boxes": ["images/empty.jpg", "images/odd.jpg"],
    }


def test_only_empty_label_files_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "a.txt").write_text("", "utf-8")
    with pytest.raises(InputError, match=r"no usable face in 1 entries \(empty label file: 1 \(a\.txt\)"):
        load_box_set(tmp_path)


def test_a_folder_is_as_good_as_a_zip(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "boxes.json").write_text(json.dumps([entry("a.jpg", [[1, 2, 20, 30]])]), "utf-8")
    assert [p.name for p in load_box_set(tmp_path)] == ["a.jpg"]
    assert [p.name for p in load_pictures(tmp_path)] == ["a.jpg"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"not a zip", "not a readable zip"),
        ("no json", "holds no boxes.json"),
        ("bad json", "not JSON"),
        ("nothing usable", "no usable face"),
    ],
)
def test_a_set_with_nothing_usable_is_an_error_that_names_it(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "set.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "nothing usable":
        write_set(path, [entry("a.jpg", [[1, 1, 1, 9]])], {"a.jpg": jpeg()})
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("boxes.json" if content == "bad json" else "x", "{")
    with pytest.raises(InputError, match=says) as caught:
        load_box_set(path)
    assert str(path) in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000))
def test_encoding_goes_both_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres, strides = cell_centres(128, 192, STRIDES)
    rows = rng.integers(0, len(centres), 20)
    low = centres[rows] - rng.uniform(0, 90, (20, 2))
    boxes = np.concatenate([low, centres[rows] + rng.uniform(0, 90, (20, 2))], 1).astype(np.float32)
    landmarks = rng.uniform(0, 190, (20, 5, 2)).astype(np.float32)
    encoded = encode_boxes(boxes, landmarks, centres[rows], strides[rows])
    assert (encoded[:, :4] >= 0).all()
    back, points = decode_boxes(encoded, centres[rows], strides[rows])
    assert np.allclose(back, boxes, atol=1e-3)
    assert np.allclose(points, landmarks, atol=1e-3)


def test_cells_lie_where_the_network_puts_them() -> None:
    """Row j, column i of stride s has its centre at ((i + ½)·s, (j + ½)·s), levels and rows in order."""
    centres, strides = cell_centres(64, 128, (8, 64))
    assert len(centres) == 8 * 16 + 2
    assert centres[0].tolist() == [4, 4]
    assert centres[17].tolist() == [12, 12]
    assert centres[-1].tolist() == [96, 32]
    assert strides.tolist() == [8.0] * 128 + [64.0] * 2


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000))
def test_every_face_has_candidates_and_they_are_inside_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = 256
    middles = rng.uniform(0, size, (30, 2))
    sides = np.exp(rng.uniform(np.log(3), np.log(300), (30, 1))) * rng.uniform(0.6, 1.6, (30, 2))
    boxes = np.clip(np.concatenate([middles - sides / 2, middles + sides / 2], 1), 0, size).astype(np.float32)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]
    centres, strides = cell_centres(size, size, STRIDES)
    found = candidate_cells(boxes, size, size, STRIDES)
    assert found.valid.any(1).all()
    for box, cells, valid in zip(boxes, found.cells, found.valid, strict=True):
        own = cells[valid]
        assert len(set(own.tolist())) == len(own)
        assert own.max() < len(centres)
        inside = (centres[own] > box[:2]).all(1) & (centres[own] < box[2:]).all(1)
        assert inside.all() or len(own) == 1, "only a face without any cell centre may use a cell outside it"
        extent = np.sqrt(np.prod(box[2:] - box[:2]))
        if inside.all() and len(own) > 1:
            assert (extent < 6 * strides[own]).all() or (strides[own] == 64).any()


def test_large_faces_go_to_large_strides() -> None:
    boxes = np.array([[100, 100, 112, 112], [20, 20, 240, 240]], np.float32)
    _, strides = cell_centres(256, 256, STRIDES)
    found = candidate_cells(boxes, 256, 256, STRIDES)
    assert set(strides[found.cells[0][found.valid[0]]].tolist()) == {8.0}
    assert set(strides[found.cells[1][found.valid[1]]].tolist()) == {64.0}


def test_ignored_cells_are_those_inside() -> None:
    mask = cells_inside(np.array([[16, 16, 48, 48], [129, 129, 131, 131]], np.float32), 256, 256, (8, 64))
    grid = mask[: 32 * 32].reshape(32, 32)
    assert grid[2:6, 2:6].all()
    assert grid.sum() == 16 + 1, "a box without a cell centre still marks its nearest cell"
    assert mask[32 * 32 :].reshape(4, 4)[2, 2]


def test_the_dev_part_is_the_same_every_time(tmp_path: Path) -> None:
    entries = [entry(f"{i}.jpg", [[1, 2, 20, 30]]) for i in range(10)]
    pictures = load_box_set(write_set(tmp_path / "s.zip", entries, {f"{i}.jpg": jpeg() for i in range(10)}))
    train, dev = split_dev(pictures, 3)
    assert [p.name for p in split_dev(pictures, 3)[1]] == [p.name for p in dev]
    assert {p.name for p in train} | {p.name for p in dev} == {p.name for p in pictures}
    assert len(dev) == 3
    assert len(train) == 7
