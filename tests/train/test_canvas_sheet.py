"""The sheet of training canvases shows the labels that the loss sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engine.images import load_image
from tests.train.faces import POINTS, blank
from train.data.boxes import Picture
from train.data.canvas_sheet import IGNORED, LEARNT, canvas_sheet, draw_sample
from train.data.canvas_sheet import POINTS as COLOURS
from train.data.detection_augment import AugmentSettings, Pool, Sample, make_sample


def near(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.asarray(np.abs(image.astype(int) - colour).max(axis=2) == 0)


def test_boxes_and_points_are_drawn_where_they_are() -> None:
    boxes = np.array([[10, 20, 70, 90], [80, 20, 110, 50]], np.float32)
    points = boxes[:, None, :2] + (boxes[:, 2:] - boxes[:, :2])[:, None] * POINTS
    sample = Sample(np.zeros((128, 128, 3), np.uint8), boxes, np.array([False, True]), points.astype(np.float32))
    image = draw_sample(sample)
    assert not sample.rgb.any(), "the canvas itself stays as it is"
    for colour, box in ((LEARNT, boxes[0]), (IGNORED, boxes[1])):
        ys, xs = np.nonzero(near(image, colour))
        assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == box.tolist()
    for colour, point in zip(COLOURS, points[0], strict=True):
        ys, xs = np.nonzero(near(image, colour))
        assert [xs.mean(), ys.mean()] == pytest.approx(point.tolist(), abs=1)
        assert xs.max() < 75, "an ignored face's points are not learnt, so not drawn"


def test_unknown_points_are_not_drawn() -> None:
    picture = blank(boxes=[[10, 10, 60, 60]])
    sample = Sample(picture.rgb, picture.boxes, picture.ignore, picture.landmarks)
    assert not any(near(draw_sample(sample), colour).any() for colour in COLOURS)


def test_the_sheet_is_made_of_the_canvases_of_training() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (120, 160, 3), np.uint8)
    picture = Picture(
        "p", rgb, np.array([[30, 30, 90, 100]], np.float32), np.zeros(1, bool), blank(boxes=[[0, 0, 9, 9]]).landmarks
    )
    pool, settings = Pool([picture]), AugmentSettings()
    sheet = canvas_sheet(pool, settings, size=64, columns=3, rows=2, seed=5)
    assert sheet.shape == (128, 192, 3)
    assert np.array_equal(sheet, canvas_sheet(pool, settings, size=64, columns=3, rows=2, seed=5))
    last = draw_sample(make_sample(pool, 64, settings, np.random.default_rng((5, 5))))
    assert np.array_equal(sheet[64:, 128:], last)


def test_the_command_draws_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sheet and the loader's report are written, and nothing is trained."""
    tf = pytest.importorskip("tensorflow")
    from tools.train_detector import detector
    from train.data.boxes import LoadReport
    from train.detector import DetectionData

    report = LoadReport()
    report.add("unreadable image", "x.jpg")
    data = DetectionData([blank(boxes=[[100, 100, 200, 220]])], [], [], [], report)
    for kind in ("intra", "inter"):  # refused in a process that has computed already
        monkeypatch.setattr(tf.config.threading, f"set_{kind}_op_parallelism_threads", lambda _: None)
    monkeypatch.setattr("train.detector.load_data", lambda *_: data)
    monkeypatch.setattr("train.detector.train_detector", lambda *_, **__: pytest.fail("it trains"))
    out, sheet = tmp_path / "run", tmp_path / "sheets" / "batch.png"
    options = ["--data", "x", "--teachers", "y", "--out", str(out), "--show-batch", str(sheet)]
    result = CliRunner().invoke(detector, options)
    assert result.exit_code == 0, result.output
    assert load_image(sheet).shape == (4 * 256, 6 * 256, 3)
    assert json.loads((out / "data.json").read_text("utf-8"))["counts"] == {"unreadable image": 1}
    assert not (out / "checkpoint.npz").exists()
