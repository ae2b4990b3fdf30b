"""Training pictures: boxes stay on the faces, whatever is done to the picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.boxes import Picture, large_faces, unknown_landmarks
from train.data.detection_augment import (
    ROWS,
    AugmentSettings,
    Pool,
    Sample,
    assemble,
    crop_faces,
    half_sizes,
    make_sample,
    transform_faces,
)

STRIDES = (8, 16, 32, 64)
PLAIN = AugmentSettings(
    rotate=0, tint=0, haze=0, strobe=0, grey=0, blur=0, jpeg=0, noise=0, occlude=0, background=0, mosaic=0
)


def picture_with_disc(seed: int) -> Picture:
    """A white disc with a dark left half on grey: its box and its darker half can be found again."""
    rng = np.random.default_rng(seed)
    image: NDArray[np.uint8] = np.full((200, 260, 3), 100, np.uint8)
    x, y = int(rng.integers(60, 200)), int(rng.integers(60, 140))
    radius = int(rng.integers(15, 40))
    cv2.circle(image, (x, y), radius, (255, 255, 255), -1)
    box = np.array([[x - radius, y - radius, x + radius + 1, y + radius + 1]], np.float32)
    marks = np.array([[[x - 5, y], [x + 5, y], [x, y], [x - 5, y + 5], [x + 5, y + 5]]], np.float32)
    return Picture(f"{seed}", image, box, np.zeros(1, bool), marks)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_follow_the_picture(mosaic: float) -> None:
    """The bright disc lies where the box says, at every zoom, flip and place."""
    pool = Pool([picture_with_disc(seed) for seed in range(8)])
    settings = replace(PLAIN, mosaic=mosaic, smallest=25.0, largest=0.5)
    checked = 0
    for seed in range(40):
        sample = make_sample(pool, 192, settings, np.random.default_rng(seed))
        assert sample.rgb.shape == (192, 192, 3)
        low, high = np.percentile(sample.rgb, 2), float(sample.rgb.max())
        for box, ignored in zip(sample.boxes, sample.ignore, strict=True):
            assert (box >= 0).all()
            assert (box <= 192).all()
            if ignored or (box[2:] - box[:2]).min() < 12:
                continue
            x, y = (box[:2] + box[2:]) / 2
            inner = sample.rgb[int(y), int(x)].mean()
            assert inner > low
            if (box > 2).all() and (box < 190).all():
                mask = (sample.rgb.min(2) > (high + low) / 2).astype(np.uint8)
                count, _, stats, middles = cv2.connectedComponentsWithStats(mask)
                near = 1 + int(np.linalg.norm(middles[1:] - [x, y], axis=1).argmin()) if count > 1 else 0
                left, top, width, height = stats[near, :4]
                if near and abs(width - (box[2] - box[0])) < 6:
                    assert np.abs(np.array([left, top, left + width, top + height]) - box).max() < 4
                    checked += 1
    assert checked > 10


def test_small_faces_can_be_made_common() -> None:
    pool = Pool([picture_with_disc(seed) for seed in range(8)])

    def sizes(small: float) -> NDArray[np.float32]:
        settings = replace(PLAIN, small=small, smallest=12.0, largest=1.0, turned=0)
        samples = [make_sample(pool, 192, settings, np.random.default_rng(seed)) for seed in range(60)]
        return np.concatenate([(s.boxes[:, 2:] - s.boxes[:, :2]).max(1) for s in samples])

    assert (sizes(1.0) < 3 * 12 * 1.3).mean() > 0.6  # the others stand in pictures that fill the canvas as they are
    assert (sizes(0.0) < 3 * 12 * 1.3).mean() < 0.4


def test_close_ups_can_be_made_common() -> None:
    """With those odds, one face is half as large as the canvas or larger; a face too small to be enlarged is never."""
    pictures = [picture_with_disc(seed) for seed in range(8)]
    large = [picture for picture in pictures if len(large_faces(picture))]
    assert 0 < len(large) < len(pictures)

    def closest(settings: AugmentSettings, pool: Pool, seed: int) -> float:
        boxes = make_sample(pool, 96, settings, np.random.default_rng(seed)).boxes
        return float((boxes[:, 2:] - boxes[:, :2]).min(1, initial=96).max(initial=0))

    usual = replace(PLAIN, smallest=8.0, largest=0.3)
    close = replace(PLAIN, smallest=8.0, largest=1.0, mosaic=1.0, small=1.0, close=1.0)
    assert max(closest(usual, Pool(pictures), seed) for seed in range(20)) < 40
    assert min(closest(close, Pool([], pictures), seed) for seed in range(20)) > 40  # less where the canvas ends
    small = [picture for picture in pictures if not len(large_faces(picture))]
    assert max(closest(replace(close, largest=0.3), Pool(small), seed) for seed in range(20)) < 40


def test_a_soft_canvas_has_lost_its_fine_detail_and_nothing_else() -> None:
    pool = Pool([picture_with_disc(3)])
    sharp, soft = (
        make_sample(pool, 128, replace(PLAIN, turned=0, soft=soft), np.random.default_rng(1)) for soft in (1e-9, 1.0)
    )
    assert np.array_equal(sharp.boxes, soft.boxes)

    def detail(sample: Sample) -> float:
        return float(np.abs(np.diff(sample.rgb.astype(float), axis=1)).max())

    assert detail(soft) < 0.8 * detail(sharp)
    assert abs(soft.rgb.mean() - sharp.rgb.mean()) < 1


def test_a_mirrored_face_keeps_its_left_on_the_left() -> None:
    picture = picture_with_disc(3)
    mirror = np.array([[-1.0, 0, 260], [0, 1, 0]])
    boxes, points = transform_faces(picture.boxes, picture.landmarks, mirror, flipped=True)
    assert np.allclose(
        boxes[0], [260 - picture.boxes[0, 2], picture.boxes[0, 1], 260 - picture.boxes[0, 0], picture.boxes[0, 3]]
    )
    assert points[0, 0, 0] < points[0, 1, 0]
    assert points[0, 3, 0] < points[0, 4, 0]
    assert np.allclose(points[0, 2], [260 - picture.landmarks[0, 2, 0], picture.landmarks[0, 2, 1]])


def test_what_a_window_leaves_of_faces() -> None:
    boxes = np.array(
        [
            [10, 10, 30, 30],
            [-10, 10, 10, 30],
            [-16, 40, 4, 60],
            [-50, 0, -10, 9],
            [-20, -20, 120, 120],
            [50, 50, 53, 53],
        ],
        np.float32,
    )
    marks = unknown_landmarks(6)
    marks[0] = 20
    marks[1] = [[-5, 20], [5, 20], [2, 22], [-4, 26], [4, 26]]
    kept, ignored, points = crop_faces(boxes, np.zeros(6, bool), marks, (0, 0, 100, 100), learnable=6)
    assert kept.tolist() == [[10, 10, 30, 30], [0, 10, 10, 30], [0, 40, 4, 60], [0, 0, 100, 100], [50, 50, 53, 53]]
    assert ignored.tolist() == [False, False, True, False, True]
    assert np.isfinite(points[0]).all()
    assert np.isnan(points[1, 0]).all(), "a landmark outside is unknown"
    assert np.isfinite(points[1, 1]).all()


def test_a_batch_depends_on_its_seed_alone() -> None:
    pool = Pool([picture_with_disc(seed) for seed in range(4)], [picture_with_disc(9)])
    first, again, other = (
        assemble([make_sample(pool, 128, AugmentSettings(), rng) for _ in range(3)], STRIDES)
        for rng in map(np.random.default_rng, (5, 5, 6))
    )
    for name in ("images", "boxes", "landmarks", "cells", "valid", "ignore"):
        assert np.array_equal(getattr(first, name), getattr(again, name), equal_nan=name == "landmarks")
    assert not np.array_equal(first.images, other.images)


def test_cells_are_numbered_through_the_batch() -> None:
    pool = Pool([picture_with_disc(seed) for seed in range(4)])
    samples = [make_sample(pool, 128, PLAIN, np.random.default_rng(seed)) for seed in range(3)]
    batch = assemble(samples, STRIDES)
    total = 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2
    assert batch.ignore.shape == (3 * total,)
    owner = np.repeat(np.arange(3), [int((~s.ignore).sum()) for s in samples])
    for row, picture in enumerate(owner):
        assert (batch.cells[row][batch.valid[row]] // total == picture).all()
    assert not batch.valid[-1].any(), "the last row is nobody's"


def test_pictures_without_faces_make_batches_too() -> None:
    blank = Picture(
        "b", np.zeros((50, 60, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, bool), unknown_landmarks(0)
    )
    rng = np.random.default_rng(0)
    batch = assemble([make_sample(Pool([blank]), 64, AugmentSettings(), rng) for _ in range(2)], STRIDES)
    assert batch.boxes.shape == (ROWS, 4)
    assert not batch.valid.any()


def test_half_sizes_halve() -> None:
    assert [level.shape[:2] for level in half_sizes(np.zeros((101, 64, 3), np.uint8))] == [
        (101, 64),
        (50, 32),
        (25, 16),
    ]
