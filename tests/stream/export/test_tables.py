"""JSON, CSV, Parquet, MOT and COCO: written, then read by other programs' readers or by the standard library."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from stream.export import coco, document, mot, parquet, table
from stream.tracks import SCHEMA_FILE, Tracks, read
from tests.stream.export import records

VIDEO = Path("/videos/mv.mp4")
FACES = 25 + 10 + 2 * 15


@pytest.fixture
def record(tmp_path: Path) -> Tracks:
    return records.stage_record(tmp_path)


@pytest.fixture
def nothing(tmp_path: Path) -> Tracks:
    return records.empty_record(tmp_path)


def test_the_document_is_the_records_lines_with_final_names(record: Tracks) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))
    whole = json.loads(document.encode(record, VIDEO))
    assert list(whole) == ["header", "frames", "tracks", "summary"]
    for line in (whole["header"], *whole["frames"], *whole["tracks"], whole["summary"]):
        validator.validate(line)
    assert [len(frame["faces"]) for frame in whole["frames"]] == [len(frame.faces) for frame in record.frames]
    assert whole["frames"][0]["faces"][0]["name"] == "Yuri"  # not drawn there, known at the end
    assert [track["name"] for track in whole["tracks"]] == ["Yuri", "최예나", None, "Yuri"]


def test_csv(record: Tracks) -> None:
    rows = list(csv.DictReader(io.StringIO(table.encode(record, VIDEO).decode(), newline="")))
    assert len(rows) == FACES
    assert rows[0] == rows[0] | {"frame": "0", "pts": "0", "time": "0.0", "shot": "0", "track": "0", "name": "Yuri"}
    assert (rows[1]["x1"], rows[1]["x2"], rows[1]["time"]) == ("21.0", "51.5", "0.033367")
    strangers = [row for row in rows if row["verdict"] == "unknown"]
    assert len(strangers) == 15
    assert {row["name"] for row in strangers} == {""} == {row["similarity"] for row in strangers}


def test_a_name_may_hold_anything_in_csv(tmp_path: Path) -> None:
    odd = 'Kim "Yena", Choi;\n=1+1'
    path = records.write(tmp_path / "a.tracks.jsonl", [(0, [records.face(0, odd)])], {0: odd})
    (row,) = csv.DictReader(io.StringIO(table.encode(read(path), VIDEO).decode(), newline=""))
    assert row["name"] == odd


@pytest.mark.parametrize("name", ["=1+1", "+82", "-최예나", "@yena"])
def test_csv_is_plain_utf8_with_names_as_they_are(tmp_path: Path, name: str) -> None:
    path = records.write(tmp_path / "a.tracks.jsonl", [(0, [records.face(0, name)])], {0: name})
    data = table.encode(read(path), VIDEO)
    assert data.startswith(b"frame,")
    assert f",{name},".encode() in data


def test_parquet_says_the_same_as_csv(record: Tracks) -> None:
    data = pq.read_table(io.BytesIO(parquet.encode(record, VIDEO)))
    assert data.column_names == list(table.COLUMNS)
    assert data.num_rows == FACES
    expected = list(table.rows(record))
    for row, values in zip(data.to_pylist(), expected, strict=True):
        for name, value in zip(table.COLUMNS, values, strict=True):
            assert row[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), name
    header = json.loads(data.schema.metadata[parquet.HEADER_KEY])
    assert header["source"]["time_base"] == "1/30000"


def test_mot_counts_from_one(record: Tracks) -> None:
    values = np.loadtxt(io.BytesIO(mot.encode(record, VIDEO)), delimiter=",")
    assert values.shape == (FACES, 10)
    frames, ids = values[:, 0], values[:, 1]
    assert (frames.min(), frames.max(), ids.min(), ids.max()) == (1, 40, 1, 4)
    assert len({(a, b) for a, b in zip(frames, ids, strict=True)}) == FACES
    assert (np.diff(frames) >= 0).all()
    np.testing.assert_allclose(values[0], [1, 1, 21, 11, 30.5, 30, 0.9, -1, -1, -1])


def test_mot_as_motmetrics_reads_it(record: Tracks, tmp_path: Path) -> None:
    motmetrics = pytest.importorskip("motmetrics")
    path = tmp_path / "mv.txt"
    path.write_bytes(mot.encode(record, VIDEO))
    read = motmetrics.io.loadtxt(path, fmt="mot15-2D")
    assert read.loc[(1, 1), "X"] == pytest.approx(20)  # it counts from 0 inside


def test_coco_holds_together(record: Tracks) -> None:
    whole = json.loads(coco.encode(record, VIDEO))
    (video,) = whole["videos"]
    (category,) = whole["categories"]
    assert (video["width"], video["height"]) == (160, 90)
    images = {image["id"]: image for image in whole["images"]}
    tracks = {track["id"]: track for track in whole["tracks"]}
    assert len(images) == 40
    assert [images[i]["frame_id"] for i in sorted(images)] == list(range(40))
    assert len({annotation["id"] for annotation in whole["annotations"]}) == len(whole["annotations"]) == FACES
    for annotation in whole["annotations"]:
        assert annotation["video_id"] == images[annotation["image_id"]]["video_id"] == video["id"]
        assert annotation["category_id"] == category["id"]
        assert tracks[annotation["track_id"]]["name"] == annotation["name"]
        left, top, width, height = annotation["bbox"]
        assert 0 <= left < left + width <= 160
        assert 0 <= top < top + height <= 90
        assert annotation["area"] == pytest.approx(width * height, abs=0.01)
        assert len(annotation["keypoints"]) == 3 * len(category["keypoints"]) == 3 * annotation["num_keypoints"]
    assert whole["annotations"][0]["bbox"] == [20, 10, 30.5, 30]


def test_coco_as_pycocotools_reads_it(record: Tracks, tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    path = tmp_path / "mv.coco.json"
    path.write_bytes(coco.encode(record, VIDEO))
    read = tools.COCO(str(path))
    assert len(read.getAnnIds()) == FACES
    assert len(read.loadAnns(read.getAnnIds(imgIds=[11]))) == 2


def test_an_empty_record_gives_valid_empty_files(nothing: Tracks) -> None:
    whole = json.loads(document.encode(nothing, VIDEO))
    assert (whole["frames"], whole["tracks"], whole["summary"]["frames"]) == ([], [], 0)
    assert list(csv.reader(io.StringIO(table.encode(nothing, VIDEO).decode(), newline=""))) == [list(table.COLUMNS)]
    data = pq.read_table(io.BytesIO(parquet.encode(nothing, VIDEO)))
    assert (data.num_rows, data.column_names) == (0, list(table.COLUMNS))
    assert mot.encode(nothing, VIDEO) == b""
    whole = json.loads(coco.encode(nothing, VIDEO))
    assert (whole["images"], whole["annotations"], whole["tracks"]) == ([], [], [])
    assert len(whole["videos"]) == len(whole["categories"]) == 1


def test_a_face_that_was_put_in_between_counts_in_a_truth_of_mot(tmp_path: Path) -> None:
    """By a confidence of 0 a line of the truth is left out."""
    path = records.write(
        tmp_path / "a.tracks.jsonl", [(0, [records.face(0, score=s)]) for s in (0.9, 0, 0.8)], {0: None}
    )
    values = np.loadtxt(io.BytesIO(mot.encode(read(path), VIDEO)), delimiter=",")
    assert values[:, 6].tolist() == [0.9, -1, 0.8]
