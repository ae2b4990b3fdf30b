"""Aligned crops as training pictures: labelled by two teachers that agree, pasted where no face is hidden."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.types import Detections
from train.data.boxes import Picture, unknown_landmarks
from train.data.detection_augment import AugmentSettings, Pool, make_sample
from train.data.face_teachers import FaceTeacher
from train.data.portraits import BORDER, load_portraits, with_border

STRIDES = (8, 16, 32, 64)


class Finder:
    """A teacher that sees the white disc of a crop, or nothing where there is none."""

    def __init__(self, name: str, shift: float = 0.0) -> None:
        self.name, self.shift = name, shift

    def detect(self, rgb: NDArray[np.uint8], size: int, threshold: float) -> Detections:
        rows, columns = np.nonzero((rgb[..., 0] > 200) & (rgb[..., 1] < 90))
        if len(rows) < 200:
            return Detections.empty()
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32) + self.shift
        marks = np.tile((box[:, None, :2] + box[:, None, 2:]) / 2, (1, 5, 1)).astype(np.float32)
        return Detections(box.astype(np.float32), np.array([0.9], np.float32), marks)


def crops(path: Path) -> Path:
    """Two crops with a red disc, one without."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("people.csv", "file,set,person,split\na.png,x,,\nb.png,x,,\nc.png,x,,\n")
        for name, radius in (("a", 30), ("b", 40), ("c", 0)):
            rgb = np.full((128, 128, 3), 60, np.uint8)
            if radius:
                cv2.circle(rgb, (64, 64), radius, (255, 30, 30), -1)
            file.writestr(f"{name}.png", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    return path


def teachers(shift: float = 2.0) -> tuple[FaceTeacher, FaceTeacher]:
    return cast("tuple[FaceTeacher, FaceTeacher]", (Finder("one"), Finder("two", shift)))


def test_the_border_continues_the_crop_and_leaves_it_as_it_is() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    wide = with_border(rgb, 16)
    assert wide.shape == (160, 160, 3)
    np.testing.assert_array_equal(wide[16:-16, 16:-16], rgb)
    assert wide[:16].std() < rgb.std() / 2, "blurred: nothing there looks like a face"


def test_only_crops_on_which_the_teachers_agree_are_taken(tmp_path: Path) -> None:
    path = crops(tmp_path / "f.zip")
    taken = load_portraits(path, teachers(), tmp_path / "cache", count=3, seed=0)
    assert [p.name for p in taken] == ["a.png", "b.png"]
    first = np.array([64 - 30, 64 - 30, 64 + 31, 64 + 31], np.float32) + BORDER
    np.testing.assert_allclose(taken[0].boxes[0], first + 1, atol=1.5)
    assert load_portraits(path, teachers(60.0), tmp_path / "other", count=3, seed=0) == []


def test_pasted_faces_are_where_their_boxes_say_and_hide_nobody(tmp_path: Path) -> None:
    portraits = load_portraits(crops(tmp_path / "f.zip"), teachers(0.0), tmp_path / "cache", count=3, seed=0)
    grey: NDArray[np.uint8] = np.full((300, 300, 3), 100, np.uint8)
    grey[140:160, 140:160] = (0, 255, 0)
    home = Picture(
        "home", grey, np.array([[140, 140, 160, 160]], np.float32), np.zeros(1, bool), unknown_landmarks(1)
    )  # fmt: skip
    settings = AugmentSettings(
        mosaic=0, tint=0, haze=0, strobe=0, grey=0, blur=0, jpeg=0, noise=0, occlude=0, turned=0, paste=1.0, pasted=4
    )
    pool = Pool([home], portraits=portraits, portrait_share=0.0)
    pasted = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        sample = make_sample(pool, 192, settings, rng)
        bare = make_sample(pool, 192, replace(settings, paste=0.0), np.random.default_rng(seed))
        before = len(bare.boxes)
        np.testing.assert_array_equal(sample.boxes[:before], bare.boxes)
        for box, ignored in zip(sample.boxes[before:], sample.ignore[before:], strict=True):
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            if ignored or (box < 2).any() or (box > 190).any():
                continue
            pasted += 1
            red, green, _ = (float(v) for v in sample.rgb[y, x])
            assert red > 2 * green, "the middle of the box shows the pasted disc"
        for box in bare.boxes:
            x1, y1, x2, y2 = (int(v) for v in box)
            kept = np.asarray(sample.rgb[y1:y2, x1:x2, 1], np.float32)
            if kept.size and bare.rgb[y1:y2, x1:x2, 1].mean() > 200:
                assert kept.mean() > 150, "the face that was there is still there"
    assert pasted > 20


def test_a_pool_without_portraits_pastes_nothing() -> None:
    rgb = np.full((64, 64, 3), 90, np.uint8)
    plain = Picture("p", rgb, np.zeros((0, 4), np.float32), np.zeros(0, bool), unknown_landmarks(0))
    pool = Pool([plain])
    assert not pool.has_portraits
    sample = make_sample(pool, 64, AugmentSettings(paste=1.0, occlude=0), np.random.default_rng(0))
    assert len(sample.boxes) == 0


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_portraits_are_drawn_in_their_share(tmp_path: Path, share: float) -> None:
    portraits = load_portraits(crops(tmp_path / "f.zip"), teachers(0.0), tmp_path / "cache", count=3, seed=0)
    rgb = np.full((64, 64, 3), 90, np.uint8)
    plain = Picture("p", rgb, np.zeros((0, 4), np.float32), np.zeros(0, bool), unknown_landmarks(0))
    pool = Pool([plain], portraits=portraits, portrait_share=share)
    rng = np.random.default_rng(3)
    drawn = sum(pool.draw(rng)[0].source == "portrait" for _ in range(400))
    assert abs(drawn - 400 * share) <= 50
