"""The measurement of a detector, with a detector whose answers are known: it finds bright rectangles exactly."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from engine.detector import Detector
from engine.errors import InputError, OutputError
from engine.metrics import FaceTruth, average_precision
from engine.types import Detections
from tests.networks import PEOPLE, scene
from tools.train_detector import eval_detector
from train.data.boxes import Picture, load_box_set, unknown_landmarks
from train.detector_eval import close_up_recall, close_ups, landmark_error, threshold_for
from train.detector_report import engine_detect, evaluate

FACES = [[40, 40, 100, 110], [300, 60, 380, 150], [160, 220, 260, 330]]


@pytest.fixture
def rectangles(tmp_path: Path) -> Path:
    """Three pictures of 640×384 with faces; in the last, one label stands where nothing is."""
    entries = []
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number, shown in enumerate((FACES[:2], FACES, FACES[1:])):
            rgb = scene(640, 384, [(box, PEOPLE["ann"]) for box in shown])
            ok, data = cv2.imencode(".png", rgb[..., ::-1])
            assert ok
            archive.writestr(f"{number}.png", data.tobytes())
            labels = [*shown, [500, 200, 560, 280]] if number == 2 else shown
            entries.append(
                {
                    "image": f"{number}.png",
                    "width": 640,
                    "height": 384,
                    "boxes": labels,
                    "ignore": [False] * len(labels),
                }
            )
        entries.append({"image": "gone.png", "boxes": [], "ignore": []})
        archive.writestr("boxes.json", json.dumps(entries))
    return tmp_path / "set.zip"


def test_the_table_says_what_the_detector_does(rectangles: Path, detector_file: Path, tmp_path: Path) -> None:
    """Seven of eight labels are found, with no mistake: AP 7/8 at every size."""
    sheet = tmp_path / "sheet.png"
    report = evaluate(rectangles, detector_file, None, sheet=sheet, say=lambda _: None)
    row = report.rows[0]
    assert [row["ap8"], row["ap16"], row["ap32"]] == [0.875] * 3
    assert row["faces"] == {"8": 8, "16": 8, "32": 8}
    low, high = row["ap16_interval"]
    assert low <= 0.875 <= high
    assert report.problems == {"image missing": 1}
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    image = drawn[..., ::-1].astype(int)
    green, yellow = (np.abs(image - colour).max(2) < 40 for colour in ((0, 220, 0), (255, 220, 0)))
    assert green.sum() > 100
    assert yellow.sum() > 20, "the label that nothing answers to is drawn as missed"


def test_the_command_prints_and_writes_the_table(rectangles: Path, detector_file: Path, tmp_path: Path) -> None:
    markdown = tmp_path / "table.md"
    options = ["--data", str(rectangles), "--detector", str(detector_file), "--markdown", str(markdown)]
    result = CliRunner().invoke(eval_detector, [*options, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["table"][0]["ap16"] == 0.875
    assert answer["pictures"] == 3
    assert "| 640 | 0.875" in markdown.read_text()


def test_places_that_cannot_be_used_are_named(rectangles: Path, detector_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.zip"):
        evaluate(tmp_path / "nowhere.zip", detector_file, None)
    with pytest.raises(OutputError, match=r"sheet\.png"):
        evaluate(rectangles, detector_file, None, sheet=tmp_path / "none" / "sheet.png", say=lambda _: None)


def test_close_ups_hold_one_large_face(rectangles: Path, detector: Detector) -> None:
    crops = close_ups(load_box_set(rectangles), count=30)
    assert len(crops) == 30
    for crop, share in crops:
        height = crop.rgb.shape[0]
        x1, y1, x2, y2 = crop.boxes[0]
        assert (y2 - y1) / height >= 0.49
        assert 0.5 <= share <= 1.1
        assert crop.rgb[int((y1 + y2) / 2), int((x1 + x2) / 2), 0] in (230, 40), (
            "the box lies where the face or its label is"
        )
    assert close_ups([], count=5) == []
    assert 0.0 <= close_up_recall(engine_detect(detector), crops[:4], 0.5) <= 1.0


def test_close_up_recall_counts_what_is_found() -> None:
    picture = Picture(
        "p", scene(64, 64), np.array([[4, 4, 60, 60]], np.float32), np.zeros(1, bool), unknown_landmarks(1)
    )

    def seer(rgb: np.ndarray, size: int) -> Detections:
        return Detections(picture.boxes, np.array([0.6], np.float32), np.zeros((1, 5, 2), np.float32))

    assert close_up_recall(seer, [(picture, 0.9)], 0.5) == 1.0
    assert close_up_recall(seer, [(picture, 0.9)], 0.7) == 0.0


def test_landmark_error_is_in_eye_distances() -> None:
    box = np.array([[0, 0, 100, 100]], np.float32)
    marks = np.array([[[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]], np.float32)
    picture = Picture("p", np.zeros((100, 100, 3), np.uint8), box, np.zeros(1, bool), marks)
    seen = Detections(box, np.ones(1, np.float32), marks + np.array([4, 0], np.float32))
    assert landmark_error([seen], [picture], 100) == pytest.approx(4 / 40)
    assert np.isnan(landmark_error([seen], [picture.with_landmarks(unknown_landmarks(1))], 100))


def test_threshold_is_the_lowest_that_is_precise_enough() -> None:
    box = np.array([[0, 0, 20, 20]], np.float32)
    away = box + 50
    truth = FaceTruth(box, np.zeros(1, bool))
    scores = [0.9, 0.8, 0.75, 0.7]
    seen = [
        Detections(b, np.array([s], np.float32), np.zeros((1, 5, 2), np.float32))
        for b, s in zip([box, box, away, box], scores, strict=True)
    ]
    curve = average_precision(seen, [truth] * 4)
    assert threshold_for(curve, 0.9) == pytest.approx(0.8)
    assert threshold_for(curve, 0.75) == pytest.approx(0.7)
    assert threshold_for(average_precision([seen[2]], [truth]), 0.5) == 1.0
