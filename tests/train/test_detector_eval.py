"""The measurement of a detector, with detectors whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.detector import Detector
from engine.errors import InputError, UsageError
from engine.metrics import FaceTruth, average_precision
from tests.networks import write_detector
from tests.train.faces import blank, detections, seer, write_rectangles
from train.contenders import also, clipped, of_detector
from train.data.boxes import load_box_set
from train.detector_eval import judge, recall_of_best, thinned, threshold_for


def test_seven_of_eight_labels_are_found(detector: Detector, tmp_path: Path) -> None:
    """The detector of rectangles makes no mistake: AP 7/8 at every size of face, precision 1, recall 7/8."""
    pictures = load_box_set(write_rectangles(tmp_path / "set.zip"))
    judged = judge(of_detector(detector), pictures, 640)
    row = judged.row()
    assert row["ap"] == {"8": 0.875, "16": 0.875, "32": 0.875, "wide": 0.875}
    assert row["faces"] == {"8": 8, "16": 8, "32": 8, "wide": 8}
    assert (row["precision"], row["recall"], row["recall_of_12_boxes"]) == (1.0, 0.875, 0.875)
    low, high = row["interval"]["16"]
    assert low <= 0.875 <= high
    assert row["size"] == 640
    assert judge(of_detector(detector), pictures, 640, rounds=0).intervals == {}


def test_sizes_are_those_at_the_measured_scale() -> None:
    """A face of 20 px on a picture of 1280 is one of 10 px at 640: it counts for 8 px only."""
    picture = blank(width=1280, height=960, boxes=[[100, 100, 120, 120], [400, 400, 500, 510]])
    judged = judge(seer(lambda rgb, size: detections(picture.boxes.tolist(), [0.9, 0.8])), [picture], 640, rounds=0)
    assert {name: curve.faces for name, curve in judged.curves.items()} == {"8": 2, "16": 1, "32": 1, "wide": 1}
    assert np.allclose(judged.found[0].boxes, picture.boxes / 2)
    # 1/13 of 1300 px is 100 px: the face is 100 wide, so at any scale it is just one cell.
    wide = blank(width=1300, height=900, boxes=[[400, 400, 500, 510], [0, 0, 98, 120]])
    assert judge(seer(lambda rgb, size: detections([], [])), [wide], 416, rounds=0).curves["wide"].faces == 1


def test_few_boxes_find_few_faces() -> None:
    boxes = [[30.0 * k, 0, 30.0 * k + 20, 20] for k in range(20)]
    truth = FaceTruth(np.array(boxes, np.float32), np.zeros(20, bool))
    found = detections(boxes, [0.01 * (k + 1) for k in range(20)])
    assert recall_of_best([found], [truth], 12, 16) == pytest.approx(12 / 20)
    assert recall_of_best([found], [truth], 12, 21) != recall_of_best([found], [truth], 12, 16)
    assert np.isnan(recall_of_best([], [], 12, 16))


def test_boxes_end_at_the_picture() -> None:
    found = detections([[-10, -10, 50, 60], [630, 400, 700, 500], [650, 0, 700, 10]], [0.9, 0.8, 0.7])
    cut = clipped(found, blank().rgb)
    assert cut.boxes.tolist() == [[0, 0, 50, 60], [630, 400, 640, 480]]
    assert len(cut.landmarks) == 2


def test_threshold_is_the_lowest_that_is_precise_enough() -> None:
    face, away = [0, 0, 20, 20], [50, 50, 70, 70]
    truth = FaceTruth(np.array([face], np.float32), np.zeros(1, bool))
    scores = [0.9, 0.8, 0.75, 0.7]
    seen = [detections([box], [s]) for box, s in zip([face, face, away, face], scores, strict=True)]
    curve = average_precision(seen, [truth] * 4)
    assert threshold_for(curve, 0.9) == pytest.approx(0.8)
    assert threshold_for(curve, 0.75) == pytest.approx(0.7)
    assert threshold_for(average_precision([seen[2]], [truth]), 0.5) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 400))
def test_a_thinned_curve_keeps_points_of_the_curve_and_its_ends(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = [[30.0 * k, 0, 30.0 * k + 20, 20] for k in range(count)]
    truth = FaceTruth(np.array(boxes, np.float32), np.zeros(count, bool))
    shifted = np.array(boxes) + rng.choice([0, 300_000], (count, 1), p=[0.7, 0.3])
    curve = average_precision([detections(shifted.tolist(), rng.random(count).tolist())], [truth])
    thin = thinned(curve, 50)
    assert len(thin["score"]) <= 51
    points = {(round(float(r), 4), round(float(p), 4)) for r, p in zip(curve.recall, curve.precision, strict=True)}
    assert set(zip(thin["recall"], thin["precision"], strict=True)) <= points
    assert thin["recall"][-1] == pytest.approx(curve.recall[-1], abs=1e-4)
    assert thin["recall"] == sorted(thin["recall"])


def test_an_empty_curve_has_no_points() -> None:
    truth = FaceTruth(np.zeros((0, 4), np.float32), np.zeros(0, bool))
    assert thinned(average_precision([detections([], [])], [truth]))["score"] == []


def test_further_detectors_are_named(detector_file: Path, embedder_file: Path, tmp_path: Path) -> None:
    (mine,) = also([f"mine={detector_file}"])
    assert (mine.name, mine.threshold, mine.sizes, mine.landmarks) == ("mine", 0.5, (), True)
    grid = write_detector(tmp_path / "grid.onnx", {"iznet.landmarks": "usual"})
    (sized,) = also([f"grid={grid}@416"])
    assert (sized.name, sized.file, sized.sizes, sized.landmarks) == ("grid", grid, (416,), False)
    for word in ("mine", "=x.onnx", "mine="):
        with pytest.raises(UsageError, match=r"NAME=FILE\.onnx"):
            also([word])
    with pytest.raises(InputError, match="embedder"):
        also([f"mine={embedder_file}"])
    with pytest.raises(InputError, match="no such file"):
        also([f"mine={tmp_path / 'gone.onnx'}"])
