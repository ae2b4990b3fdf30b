"""The similarity against scikit-image's, and what the warp does to pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from engine.alignment import (
    ARCFACE_TEMPLATE,
    SIZE,
    align_face,
    face_region,
    invert,
    mirrored_transform,
    shifted,
    similarity_transform,
    warp_face,
)


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.1, 30)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = ARCFACE_TEMPLATE @ turn.T + rng.uniform(-500, 2000, 2) + rng.normal(0, 2 * scale, (5, 2))
    expected = SimilarityTransform.from_estimate(landmarks, ARCFACE_TEMPLATE.astype(np.float64))
    np.testing.assert_allclose(similarity_transform(landmarks), expected.params[:2], rtol=1e-4, atol=1e-3)


def test_never_reflects() -> None:
    mirrored = ARCFACE_TEMPLATE * np.array([-1, 1], np.float32)
    matrix = similarity_transform(mirrored)
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix[0, 0], matrix[1, 1])
    np.testing.assert_allclose(matrix[0, 1], -matrix[1, 0])


def test_there_and_back() -> None:
    matrix = similarity_transform(ARCFACE_TEMPLATE * 3.3 + (100, -20))
    full = np.vstack([matrix, [0, 0, 1]]) @ np.vstack([invert(matrix), [0, 0, 1]])
    np.testing.assert_allclose(full, np.eye(3), atol=1e-4)
    with pytest.raises(ValueError, match="without an inverse"):
        invert(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "landmarks",
    [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.zeros((4, 2)), np.zeros(10), np.full((5, 2), np.inf)],
)
def test_refuses_landmarks_of_no_face(landmarks: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        similarity_transform(landmarks)


def smooth(height: int, width: int, wave: float) -> NDArray[np.uint8]:
    """A picture whose value at any point is known: slow waves in x and y."""
    y, x = np.mgrid[:height, :width]
    return picture_at(x, y, wave)


def picture_at(x: NDArray[np.float64], y: NDArray[np.float64], wave: float) -> NDArray[np.uint8]:
    channels = [np.sin(x / wave), np.cos(y / wave), np.sin((x + y) / wave)]
    return np.round(127 + 100 * np.stack(channels, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(("scale", "angle"), [(0.6, 0.4), (1.0, -2.5), (1.9, 0.0), (2.1, 3.0), (3.7, 0.4), (6.3, -0.9)])
def test_every_pixel_comes_from_where_the_matrix_says(scale: float, angle: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (ARCFACE_TEMPLATE - 56) @ turn.T + (560, 540)
    wave = 12 * scale
    crop = align_face(smooth(1050, 1100, wave), landmarks)
    back = invert(similarity_transform(landmarks)).astype(np.float64)
    y, x = np.mgrid[:SIZE, :SIZE]
    source = np.stack([x, y, np.ones_like(x)], axis=-1) @ back.T
    expected = picture_at(source[..., 0], source[..., 1], wave)
    assert np.abs(crop.astype(int) - expected).mean() < 0.9  # half a source pixel off gives 1.5 and more
    assert np.abs(crop.astype(int) - expected).max() <= 6


def test_a_large_face_does_not_alias() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3)).astype(np.uint8)
    landmarks = ARCFACE_TEMPLATE * 8 + 100
    plain = cv2.warpAffine(noise, similarity_transform(landmarks), (SIZE, SIZE))
    # The mean over 8×8 pixels of noise varies eight times less than the noise itself.
    assert align_face(noise, landmarks).std() < 14 < 40 < plain.std()


@pytest.mark.parametrize("scale", [0.7, 3.0])
def test_a_region_gives_the_same_crop_as_the_whole(scale: float) -> None:
    rgb = smooth(900, 1200, 17)
    matrix = similarity_transform((ARCFACE_TEMPLATE - 56) * scale + (600, 450))
    x1, y1, x2, y2 = face_region(matrix, 1200, 900)
    region = rgb[y1:y2, x1:x2]
    assert region.size < rgb.size
    crop = warp_face(region, shifted(matrix, x1, y1))
    assert np.abs(crop.astype(int) - warp_face(rgb, matrix)).max() <= 1


@pytest.mark.parametrize("scale", [0.7, 3.0])
def test_a_mirrored_crop_is_the_crop_mirrored(scale: float) -> None:
    rgb = smooth(900, 1200, 17)
    matrix = similarity_transform((ARCFACE_TEMPLATE - 56) * scale + (600, 450))
    crop, mirrored = warp_face(rgb, matrix), warp_face(rgb, mirrored_transform(matrix))
    assert np.abs(mirrored[:, ::-1].astype(int) - crop).max() <= 2


def test_black_beyond_the_edge() -> None:
    rgb = np.full((100, 100, 3), 200, np.uint8)
    half = warp_face(rgb, np.array([[1, 0, -60.0], [0, 1, 0]]))
    assert (half[:90, :35] == 200).all()
    assert not half[:, 45:].any()
    assert not warp_face(rgb, np.array([[1, 0, 5000.0], [0, 1, 0]])).any()


def test_pictures_wider_than_opencv_can_address() -> None:
    rgb = np.zeros((120, 40_000, 3), np.uint8)
    rgb[:, 39_000:] = 99
    assert (align_face(rgb, ARCFACE_TEMPLATE + np.array([39_200, 0])) == 99).all()


def test_writes_into_memory_that_is_given() -> None:
    batch = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    warp_face(np.full((200, 200, 3), 5, np.uint8), np.eye(2, 3), out=batch[1])
    assert (batch[1] == 5).all()
    assert not batch[0].any()
    with pytest.raises(ValueError, match="out"):
        warp_face(np.zeros((9, 9, 3), np.uint8), np.eye(2, 3), out=np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="expected uint8"):
        align_face(np.zeros((9, 9)), ARCFACE_TEMPLATE)  # type: ignore[arg-type]
