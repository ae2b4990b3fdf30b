"""Video whose pixels are not square: the networks see what a viewer sees, boxes stay in stored pixels."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.alignment import ARCFACE_TEMPLATE
from engine.detector import Detector
from engine.levelling import Leveller
from stream import label_video
from stream.eyes import HostEyes, cut_aligned
from stream.frames import Frame, Rotation, VideoInfo
from stream.orientation import to_coded
from stream.probe import probe
from stream.tracks import read
from tests import networks
from tests.stream import media

WIDTH, HEIGHT = 320, 240
FACE = (140, 60, 204, 140)


def info(width: int, height: int, aspect: Fraction, rotation: Rotation = 0) -> VideoInfo:
    return VideoInfo(
        "mv.mp4", width, height, rotation, Fraction(1, 25), None, None, "yuv444p", coded_pixel_aspect=aspect
    )


def frame_of(rgb: NDArray[np.uint8]) -> Frame:
    return Frame(av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv444p"), 0, 0, Fraction(1, 25))


def portrait() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    rgb = np.stack([128 + 100 * np.sin(x / 19), 128 + 100 * np.cos(y / 23), 128 + 90 * np.sin((x + y) / 31)], -1)
    return rgb.astype(np.uint8)


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(16, 11), Fraction(3, 4)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_face_is_cut_out_as_it_is_seen(aspect: Fraction, rotation: Rotation) -> None:
    seen = portrait()
    points = ARCFACE_TEMPLATE * 1.3 + np.array([70, 40], np.float32)
    expected, found = np.empty((2, 112, 112, 3), np.uint8)
    cut_aligned(frame_of(seen).picture, points, info(WIDTH, HEIGHT, Fraction(1)), expected)
    shape = (round(WIDTH / aspect), HEIGHT)
    squeezed = np.asarray(cv2.resize(seen, shape, interpolation=cv2.INTER_AREA), np.uint8)
    there = points * np.array([shape[0] / WIDTH, 1], np.float32)
    stored, facts = squeezed, info(*shape, aspect)
    if rotation == 90:  # as a phone that lies on its side stores it: a player turns it clockwise
        stored, facts = np.ascontiguousarray(np.rot90(squeezed)), info(*shape[::-1], 1 / aspect, 90)
    cut_aligned(frame_of(stored).picture, there, facts, found)
    assert np.abs(found.astype(int) - expected).mean() < 4
    if rotation == 0:  # what was cut out before the aspect was known is another picture
        cut_aligned(frame_of(stored).picture, there, replace(facts, coded_pixel_aspect=Fraction(1)), found)
        assert np.abs(found.astype(int) - expected).mean() > 8


@pytest.mark.parametrize("rotation", [0, 90])
def test_the_mirror_image_of_a_face_is_cut_out_as_well(rotation: Rotation) -> None:
    facts = info(WIDTH, HEIGHT, Fraction(4, 3), rotation)
    points = ARCFACE_TEMPLATE @ np.array([[0.9, 0.2], [-0.2, 0.9]], np.float32) + np.array([60, 40], np.float32)
    plain, mirrored = np.empty((2, 112, 112, 3), np.uint8)
    cut_aligned(frame_of(portrait()).picture, points, facts, plain)
    cut_aligned(frame_of(portrait()).picture, points, facts, mirrored, mirrored=True)
    assert np.abs(mirrored[:, ::-1].astype(int) - plain).max() <= 3
    assert np.abs(mirrored.astype(int) - plain).mean() > 8


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(4, 3)])
def test_a_tilted_face_is_looked_at_again_as_it_is_seen(aspect: Fraction, rotation: Rotation) -> None:
    """What is to be looked at is the face turned upright, and what is found there is believed."""
    facts = info(WIDTH, HEIGHT, aspect, rotation)
    stored = frame_of(portrait()).picture
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
    points = (ARCFACE_TEMPLATE - 56) @ turn * np.float32(0.9) + np.float32(120)
    better = points + np.float32(9)
    asked: list[NDArray[np.uint8]] = []

    class Level:
        side = 112

        def __call__(self, landmarks: NDArray[np.float32], transform: Any, cut: Any) -> NDArray[np.float32]:
            asked.append(cut(transform(landmarks)).copy())
            return to_coded(better, facts)

    plain, again, there = np.empty((3, 112, 112, 3), np.uint8)
    cut_aligned(stored, points, facts, plain)
    cut_aligned(stored, points, facts, again, cast(Leveller, Level()), mirrored=True)
    cut_aligned(stored, better, facts, there, mirrored=True)
    assert np.abs(asked[0].astype(int) - plain).max() <= 1
    np.testing.assert_array_equal(again, there)
    assert np.abs(again.astype(int) - plain[:, ::-1]).mean() > 4
    better = points + np.float32(2000)
    cut_aligned(stored, points, facts, again, cast(Leveller, Level()))
    assert not again.any(), "beyond the border nothing is to be seen"
    del asked[1:]
    cut_aligned(stored, ARCFACE_TEMPLATE, replace(facts, rotation=0), plain, cast(Leveller, Level()))
    assert len(asked) == 1, "upright ones are not looked at again"


def test_the_detector_sees_round_faces_round(detector: Detector) -> None:
    box = detector.letterbox(704, 576, pixel_aspect=Fraction(16, 11))
    assert box.inner[0] / box.inner[1] == pytest.approx(704 * 16 / 11 / 576, rel=0.01)
    corners = np.array([[0, 0, *box.inner]], np.float32)
    np.testing.assert_allclose(box.to_frame(corners), [[0, 0, 704, 576]], rtol=1e-5)


def test_boxes_are_in_stored_pixels(detector: Detector) -> None:
    squeezed = (FACE[0] // 2, FACE[1], FACE[2] // 2, FACE[3])
    rgb = networks.scene(WIDTH // 2, HEIGHT, [(squeezed, networks.PEOPLE["ann"])])
    eyes = HostEyes(info(WIDTH // 2, HEIGHT, Fraction(2)), detector)
    found = eyes.faces(frame_of(rgb), detector.threshold, coarse=False)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], squeezed, atol=6)


def test_the_aspect_comes_from_the_file(tmp_path: Path, detector: Detector) -> None:
    def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return networks.scene(width, height, [((70, 60, 102, 140), networks.PEOPLE["ann"])])

    video = media.Video(frames=5, width=WIDTH // 2, height=HEIGHT, picture=picture, sample_aspect=Fraction(2))
    path = media.write(tmp_path / "dvd.mp4", video)
    assert probe(path).info.coded_pixel_aspect == 2
    labelled = label_video(path, video=False, detector=detector)
    faces = [face for frame in read(labelled.tracks).frames for face in frame.faces]
    assert len(faces) == 5
    for face in faces:
        np.testing.assert_allclose(face.box, (70, 60, 102, 140), atol=6)


def test_an_aspect_that_nobody_films_in_is_not_believed(tmp_path: Path) -> None:
    path = media.write(tmp_path / "odd.mp4", media.Video(frames=3, sample_aspect=Fraction(100)))
    assert probe(path).info.coded_pixel_aspect == 1
