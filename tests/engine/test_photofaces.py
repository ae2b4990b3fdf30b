"""Photos that lie on their side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.detector import Detector
from engine.embedder import Embedder
from engine.photofaces import look_at, upright
from engine.types import Detections
from tests.networks import PEOPLE

FACE = (60, 30, 124, 110)
"""On the photo as it was taken, 200 × 140."""


class Unsure:
    """A detector that finds a coloured face in any position, by its dark eyes, but is surer of an upright one."""

    size = 640

    def __init__(self, scores: Sequence[float] = (0.9, 0.7, 0.73, 0.7), threshold: float = 0.6) -> None:
        self.threshold = threshold
        self.scores = scores
        """By quarter turns against the clock that the face was turned by."""
        self.looks = 0

    def detect(self, pictures: Sequence[NDArray[np.uint8]], size: int | None = None) -> list[Detections]:
        self.looks += 1
        (rgb,) = pictures
        rows, columns = np.nonzero(rgb[..., 0] > 100)
        if not len(rows):
            return [Detections.empty()]
        x1, y1, x2, y2 = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
        eyes = np.argwhere(rgb[y1:y2, x1:x2].max(2) == 0).mean(0)[::-1]
        off = eyes - np.array([x2 - x1, y2 - y1]) / 2
        turns = (0 if off[1] < 0 else 2) if abs(off[1]) > abs(off[0]) else (1 if off[0] < 0 else 3)
        # Whatever way it lies, the points are put where those of an upright face would be, as real detectors do.
        points = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.55], [0.35, 0.8], [0.65, 0.8]], np.float32)
        landmarks = np.array([x1, y1], np.float32) + points * np.array([x2 - x1, y2 - y1], np.float32)
        score = np.array([self.scores[turns]], np.float32)
        return [Detections(np.array([[x1, y1, x2, y2]], np.float32), score, landmarks[None])]


def photo() -> NDArray[np.uint8]:
    rgb = np.zeros((140, 200, 3), np.uint8) + np.uint8(60)
    x1, y1, x2, y2 = FACE
    rgb[y1:y2, x1:x2] = PEOPLE["ann"]
    for x in (x1 + 16, x2 - 24):
        rgb[y1 + 20 : y1 + 26, x : x + 8] = 0
    return rgb


@pytest.mark.parametrize("lying", [0, 1, 2, 3])
def test_a_photo_on_its_side_is_turned_upright(lying: int) -> None:
    rgb, turns, faces = upright(np.ascontiguousarray(np.rot90(photo(), lying)), cast(Any, Unsure()))
    assert (turns + lying) % 4 == 0
    np.testing.assert_array_equal(rgb, photo())
    np.testing.assert_allclose(faces.boxes[0], FACE)


@pytest.mark.parametrize("lying", [0, 1, 2, 3])
def test_a_close_up_scores_well_upside_down_and_is_turned_all_the_same(lying: int) -> None:
    detector = Unsure((0.9, 0.72, 0.86, 0.74), threshold=0.65)  # as the shipped one finds them
    _, turns, faces = upright(np.ascontiguousarray(np.rot90(photo(), lying)), cast(Any, detector))
    assert (turns + lying) % 4 == 0
    np.testing.assert_allclose(faces.boxes[0], FACE)


@pytest.mark.parametrize("lying", [1, 2, 3])
def test_the_shipped_detector_tells_how_a_portrait_lies(lying: int) -> None:
    portrait = np.asarray(pytest.importorskip("skimage.data").astronaut(), np.uint8)
    _, turns, _ = upright(np.ascontiguousarray(np.rot90(portrait, lying)), Detector.open(device="cpu", threads=1))
    assert (turns + lying) % 4 == 0


def test_whoever_is_surely_upright_is_looked_at_once() -> None:
    detector = Unsure()
    upright(photo(), cast(Any, detector))
    assert detector.looks == 1


def test_a_hair_surer_is_not_enough_to_turn_a_photo() -> None:
    _, turns, faces = upright(photo(), cast(Any, Unsure((0.70, 0.72, 0.71, 0.72))))
    assert turns == 0
    np.testing.assert_allclose(faces.boxes[0], FACE)


def test_nobody_is_found_in_any_position() -> None:
    rgb, turns, faces = upright(np.zeros((90, 120, 3), np.uint8), cast(Any, Unsure()))
    assert (rgb.shape, turns, len(faces)) == ((90, 120, 3), 0, 0)


@pytest.mark.parametrize("lying", [1, 2, 3])
def test_a_lying_face_is_cut_out_upright_and_its_points_stay_on_the_photo(
    lying: int, embedder: Embedder, tmp_path: Path
) -> None:
    detector = cast(Detector, Unsure())
    Image.fromarray(photo()).save(tmp_path / "up.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(photo(), lying))).save(tmp_path / "lying.png")
    up, turned = (look_at(tmp_path / name, detector, embedder) for name in ("up.png", "lying.png"))
    np.testing.assert_array_equal(turned.crops, up.crops)
    x, y = (up.landmarks[0] * (200, 140)).T
    where, size = {1: ((y, 200 - x), (140, 200)), 2: ((200 - x, 140 - y), (200, 140)), 3: ((140 - y, x), (140, 200))}[
        lying
    ]
    np.testing.assert_allclose(turned.landmarks[0] * size, np.stack(where, -1), atol=1e-3)


def test_a_face_on_a_photo_is_looked_at_mirrored_too(embedder: Embedder, tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "up.png")
    before = embedder.session.work.items
    seen = look_at(tmp_path / "up.png", cast(Detector, Unsure()), embedder)
    assert len(seen.crops) == 1
    assert embedder.session.work.items == before + 2
