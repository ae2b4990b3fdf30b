"""The second, coarse look: its geometry, what it adds, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Detector, Letterbox
from engine.coarse import LARGE, CoarseLook
from engine.letterbox import letterbox
from tests.networks import PEOPLE, scene, write_detector

HUGE = (60, 20, 590, 345)
"""On a picture of 640×360: more than the largest window of the synthetic detector takes in."""
SMALL = (100, 50, 160, 130)
ANN = PEOPLE["ann"]


@pytest.fixture
def looking_twice(tmp_path: Path) -> Detector:
    return Detector.open(write_detector(tmp_path / "d.onnx", {"iznet.coarse": "192"}), threads=1)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([96, 192, 256]), st.sampled_from([32, 64]))
def test_copies_are_smaller_padded_and_hold_the_picture(columns: int, rows: int, size: int, multiple: int) -> None:
    width, height = columns * multiple, rows * multiple
    look = CoarseLook.fit(width, height, size, multiple)
    if look is None:
        assert 3 * size > 2 * max(width, height)
        return
    assert look.width % multiple == look.height % multiple == 0
    assert max(look.width, look.height) < size + multiple
    box = Letterbox(3 * width, 3 * height, width, height, width, height)
    inner = look.inner(box)
    assert inner[0] <= look.width
    assert inner[1] <= look.height
    assert max(inner) == size


def test_a_face_that_fills_the_picture_is_found_by_the_second_look(detector: Detector, looking_twice: Detector) -> None:
    rgb = scene(640, 360, [(HUGE, ANN)])
    assert len(detector.detect([rgb])[0]) == 0
    found = looking_twice.detect([rgb])[0]
    np.testing.assert_allclose(found.boxes, [HUGE], atol=640 / 192 * 1.5)
    middle = np.array([(HUGE[0] + HUGE[2]) / 2, HUGE[1] + 0.55 * (HUGE[3] - HUGE[1])])
    np.testing.assert_allclose(found.landmarks[0, 2], middle, atol=640 / 192 * 1.5)
    assert 0.5 < found.scores[0] <= 1


def test_it_is_right_on_upright_and_enlarged_pictures_and_in_mixed_batches(looking_twice: Detector) -> None:
    upright = (30, 40, 330, 600)
    pictures = [scene(360, 640, [(upright, ANN)]), scene(1280, 720, [(tuple(2 * v for v in HUGE), ANN)])]
    pictures += [scene(640, 330, [((60, 20, 590, 310), ANN)]), scene(640, 360)]  # one batch with the next
    found = looking_twice.detect(pictures)
    assert [len(faces) for faces in found] == [1, 1, 1, 0]
    np.testing.assert_allclose(found[0].boxes[0], upright, atol=5)
    np.testing.assert_allclose(found[1].boxes[0], 2 * np.array(HUGE), atol=10)
    np.testing.assert_allclose(found[2].boxes[0], (60, 20, 590, 310), atol=5)


def test_it_says_nothing_about_faces_that_are_not_large(detector: Detector, looking_twice: Detector) -> None:
    rgb = scene(640, 360, [(SMALL, ANN)])
    np.testing.assert_array_equal(looking_twice.detect([rgb])[0].boxes, detector.detect([rgb])[0].boxes)
    look = CoarseLook.fit(640, 384, 192, 64)
    assert look is not None
    box = Letterbox.fit(640, 360)
    limit = LARGE * 108
    faces = np.array([[10, 5, 40, 5 + h, 0.9, *[20.0, 20.0] * 5] for h in (limit - 1, limit + 1)], np.float32)
    kept = look.enlarge(faces, box)
    assert len(kept) == 1
    np.testing.assert_allclose(kept[0, :5], [10 / 0.3, 5 / 0.3, 40 / 0.3, (6 + limit) / 0.3, 0.9], rtol=1e-5)
    np.testing.assert_allclose(kept[0, 5:], 20 / 0.3, rtol=1e-5)


def test_it_costs_one_more_inference_a_batch_and_no_copy(looking_twice: Detector) -> None:
    looking_twice.prepare(2, 384, 640)
    work, box = looking_twice.session.work, looking_twice.letterbox(640, 360)
    job = looking_twice.job(2, 384, 640)
    for row in range(2):
        letterbox(scene(640, 360, [(HUGE, ANN)]), box, job.pixels[row])
    assert [len(faces) for faces in job.start([box, box]).result()] == [1, 1]
    assert (work.inferences, work.items, work.copies, work.requests) == (2, 4, 0, 2)
    looking_twice.detect([scene(128, 96)], size=192)  # hardly larger than a copy would be
    assert work.inferences == 3
