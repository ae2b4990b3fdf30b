"""Tilted heads: the search for their points against a detector that errs in a known way, and the shipped one."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.alignment import ARCFACE_TEMPLATE, align_face, similarity_transform, warp_face
from engine.coarse import CoarseLook
from engine.detector import Detector
from engine.embedder import Embedder
from engine.letterbox import Letterbox
from engine.levelling import LOOKS, Leveller, aligned_faces, is_tilted
from engine.runtime import TensorSpec, Work
from engine.types import Detections

SIDE = 400
STEADY = 25.0
"""Degrees up to which the detector's points go along with a head."""
DOTS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]], np.uint8)


def turned(points: NDArray[Any], degrees: float) -> NDArray[np.float32]:
    """About their mean, clockwise as seen."""
    angle, middle = np.deg2rad(degrees), points.mean(0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((points - middle) @ turn.T + middle, np.float32)


def roll(points: NDArray[Any]) -> float:
    matrix = similarity_transform(points)
    return -float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))


class Stiff:
    """A detector of faces made of five coloured dots, whose points go along with a head for some degrees only."""

    strides = (8, 16, 32, 64)
    threshold = 0.6

    def __init__(self, coarse: int = 192, shape: tuple[int | None, ...] = (None, None, None, 3)) -> None:
        self.coarse = coarse
        spec = TensorSpec("images", np.dtype(np.uint8), shape)
        self.session = SimpleNamespace(inputs=[spec])
        self.coarse_looks = Work()
        self.shapes: list[tuple[int, ...]] = []

    def coarse_look(self, width: int, height: int) -> CoarseLook | None:
        return CoarseLook.fit(width, height, self.coarse, 64) if self.coarse else None

    def letterbox(self, width: int, height: int) -> Letterbox:
        return Letterbox.fit(width, height, 640, 64)

    def job(self, count: int, height: int, width: int) -> _Job:
        self.shapes.append((count, height, width))
        return _Job(self, np.full((count, height, width, 3), 99, np.uint8))

    def seen(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        near = [np.argwhere(np.abs(rgb.astype(int) - dot).max(2) < 90) for dot in DOTS]
        if not all(len(each) for each in near):
            return None
        points = np.array([each.mean(0)[::-1] for each in near], np.float32)
        there = roll(points)
        return turned(points, float(np.clip(there, -STEADY, STEADY)) - there)


class _Job:
    def __init__(self, detector: Stiff, pixels: NDArray[np.uint8]) -> None:
        self.detector, self.pixels = detector, pixels

    def start(self, boxes: Sequence[Letterbox], threshold: float, *, coarse: bool, work: Work) -> Self:
        assert threshold < self.detector.threshold
        assert boxes[0].padded == self.pixels.shape[2:0:-1]
        assert not coarse
        assert not self.pixels[0, boxes[0].inner_height :].any()
        assert not self.pixels[0, :, boxes[0].inner_width :].any()
        work.add(inferences=1, items=1)
        return self

    def result(self) -> list[Detections]:
        points = self.detector.seen(self.pixels[0])
        if points is None:
            return [Detections.empty()]
        return [Detections(np.zeros((1, 4), np.float32), np.ones(1, np.float32), points[None])]


def head(degrees: float, scale: float = 1.5) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A picture of one, and where its five points are."""
    points = turned(ARCFACE_TEMPLATE * scale, degrees) + np.float32(120)
    rgb = np.full((SIDE, SIDE, 3), 30, np.uint8)
    for (x, y), colour in zip(points, DOTS.tolist(), strict=True):
        cv2.circle(rgb, (round(float(x)), round(float(y))), round(6 * scale), colour, -1)
    return rgb, points


@pytest.mark.parametrize("degrees", [-70, -48, -20, 20, 48, 70])
@pytest.mark.parametrize("scale", [0.8, 1.5])
def test_points_that_lag_behind_are_found(degrees: float, scale: float) -> None:
    rgb, points = head(degrees, scale)
    detector = Stiff()
    first = detector.seen(rgb)
    assert first is not None
    assert abs(roll(first)) == pytest.approx(min(abs(degrees), STEADY), abs=1)
    level = Leveller(cast(Detector, detector), 640, 384)
    found = level(first, similarity_transform, lambda matrix: warp_face(rgb, matrix, level.side))
    reached = min(abs(degrees), (1 + LOOKS) * STEADY)
    assert abs(roll(found)) == pytest.approx(reached, abs=2)
    np.testing.assert_allclose(found, points, atol=2.5)
    assert detector.coarse_looks.inferences == (1 if abs(degrees) <= STEADY + 15 else 2)
    assert set(detector.shapes) == {(1, 128, 192)}, "the size of coarse copies, which it is ready for"


def test_where_nothing_is_found_the_points_stay() -> None:
    rgb, _ = head(40)
    detector = Stiff()
    first = detector.seen(rgb)
    assert first is not None
    level = Leveller(cast(Detector, detector), 640, 384)
    blank = np.zeros((level.side, level.side, 3), np.uint8)
    np.testing.assert_array_equal(level(first, similarity_transform, lambda matrix: blank), first)
    aside = first + np.float32(90)  # who is found now is somebody else
    np.testing.assert_array_equal(
        level(aside, similarity_transform, lambda matrix: warp_face(rgb, matrix, level.side)), aside
    )


@pytest.mark.parametrize(("coarse", "width", "height"), [(0, 640, 384), (192, 640, 64), (192, 128, 128)])
def test_without_a_fitting_coarse_copy_it_looks_at_a_square(coarse: int, width: int, height: int) -> None:
    rgb, points = head(48)
    detector = Stiff(coarse)
    first = detector.seen(rgb)
    assert first is not None
    level = Leveller(cast(Detector, detector), width, height)
    found = level(first, similarity_transform, lambda matrix: warp_face(rgb, matrix, level.side))
    np.testing.assert_allclose(found, points, atol=2.5)
    assert set(detector.shapes) == {(1, 128, 128)}


def test_a_network_of_one_size_looks_at_that_again() -> None:
    rgb, points = head(48)
    detector = Stiff(0, (1, 384, 640, 3))
    first = detector.seen(rgb)
    assert first is not None
    level = Leveller(cast(Detector, detector), 640, 384)
    found = level(first, similarity_transform, lambda matrix: warp_face(rgb, matrix, level.side))
    np.testing.assert_allclose(found, points, atol=2.5)
    assert set(detector.shapes) == {(1, 384, 640)}


def test_an_upright_face_is_aligned_as_ever() -> None:
    rgb, points = head(8)
    assert not is_tilted(points)
    detector = Stiff()
    (face,) = aligned_faces(rgb, points[None], cast(Detector, detector))
    np.testing.assert_array_equal(face, align_face(rgb, points))
    assert not detector.shapes


@pytest.mark.parametrize("degrees", [-58, 62])
def test_a_head_on_its_shoulder_is_known(
    shipped_detector: Detector, shipped_embedder: Embedder, degrees: float
) -> None:
    """With the points as they are found at once, nobody knows her."""
    picture = np.asarray(pytest.importorskip("skimage.data").astronaut(), np.uint8)
    matrix = cv2.getRotationMatrix2D((227, 116), degrees, 1)
    matrix[:, 2] += 130
    tilted = np.asarray(cv2.warpAffine(picture, matrix, (640, 640), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    upright, found = (shipped_detector.detect([rgb])[0].landmarks[:1] for rgb in (picture, tilted))
    crops = [
        align_face(picture, upright[0]),
        align_face(tilted, found[0]),
        aligned_faces(tilted, found, shipped_detector)[0],
    ]
    her, crooked, level = shipped_embedder.embed(np.stack(crops))
    assert float(her @ level) > 0.9 > float(her @ crooked) + 0.1
