"""Turning a face upright: five landmarks onto a template, by the similarity that fits best."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 112
"""Pixels along each side of an aligned face."""

ARCFACE_TEMPLATE: NDArray[np.float32] = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
"""`[5,2]` pixels of the 112×112 face: eyes, nose tip, mouth corners, the picture's left one first
(Deng et al., ArcFace, CVPR 2019)."""
ARCFACE_TEMPLATE.flags.writeable = False


def similarity_transform(
    landmarks: NDArray[Any], template: NDArray[np.float32] = ARCFACE_TEMPLATE
) -> NDArray[np.float32]:
    """The rotation, uniform scale and shift that bring the landmarks closest to the template in least squares.

    The closed form of Umeyama (Least-squares estimation of transformation parameters between two point patterns,
    PAMI 1991) in two dimensions, where it needs no decomposition; a reflection is never part of it.

    Args:
        landmarks: `[N,2]` pixels, N ≥ 2.
        template: `[N,2]` pixels.

    Returns:
        float32 `[2,3]`, source pixels → template pixels.

    Raises:
        ValueError: other shapes, values that are not finite, or points that all coincide.

    Example:
        >>> similarity_transform(ARCFACE_TEMPLATE * 2).round(4).tolist()
        [[0.5, -0.0, 0.0], [0.0, 0.5, 0.0]]
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != template.shape or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"expected landmarks {template.shape}, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"landmarks must be finite, got {points.tolist()}")
    target = template.astype(np.float64)
    centre, target_centre = points.mean(0), target.mean(0)
    p, q = points - centre, target - target_centre
    variance = float((p * p).sum())
    if variance < 1e-12:
        raise ValueError(f"landmarks must not coincide, got {points.tolist()}")
    # With points as complex numbers the best similarity is one complex factor: a + bi = Σ q·conj(p) / Σ |p|².
    a = float((p * q).sum()) / variance
    b = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / variance
    rotation = np.array([[a, -b], [b, a]])
    return np.column_stack([rotation, target_centre - rotation @ centre]).astype(np.float32)


def mirrored_transform(matrix: NDArray[Any], size: int = SIZE) -> NDArray[np.float32]:
    """The way to the same crop, left and right exchanged.

    Args:
        matrix: `[2,3]`, picture → crop.
        size: pixels along each side of the crop.

    Example:
        >>> mirrored_transform(np.array([[1, 2, 3], [4, 5, 6]])).tolist()
        [[-1.0, -2.0, 108.0], [4.0, 5.0, 6.0]]
    """
    out = np.array(matrix, np.float32)
    out[0] *= -1
    out[0, 2] += size - 1
    return out


def invert(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """The way back: the inverse of a `[2,3]` affine matrix, as float32 `[2,3]`.

    Raises:
        ValueError: it has none.
    """
    (a, b, x), (c, d, y) = np.asarray(matrix, np.float64).tolist()
    area = a * d - b * c
    if abs(area) < 1e-18:
        raise ValueError(f"a matrix without an inverse: {[[a, b, x], [c, d, y]]}")
    a, b, c, d = d / area, -b / area, -c / area, a / area
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]], np.float32)


def face_region(matrix: NDArray[Any], width: int, height: int, size: int = SIZE) -> tuple[int, int, int, int]:
    """The part of a picture that a crop is made of.

    Args:
        matrix: `[2,3]`, picture → crop.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        size: pixels along each side of the crop.

    Returns:
        x1, y1, x2, y2 in whole pixels inside the picture, with the margin that filtering needs; x1 = x2 or y1 = y2
        where the crop lies outside.
    """
    (a, b, x), (c, d, y) = invert(matrix).tolist()
    margin = 2 * max(1.0, math.hypot(a, c))
    xs = [x, x + a * size, x + b * size, x + (a + b) * size]
    ys = [y, y + c * size, y + d * size, y + (c + d) * size]
    x1, x2 = (min(max(v, 0), width) for v in (math.floor(min(xs) - margin), math.ceil(max(xs) + margin)))
    y1, y2 = (min(max(v, 0), height) for v in (math.floor(min(ys) - margin), math.ceil(max(ys) + margin)))
    return x1, y1, x2, y2


def warp_face(
    rgb: NDArray[np.uint8], matrix: NDArray[Any], size: int = SIZE, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Cut a face out of a picture, or out of a region of one.

    A face at least twice as large as the crop is first halved, as often as it takes, so that nothing aliases.

    Args:
        rgb: uint8 `[H,W,3]`. For a region that starts at (x, y) of the picture, use `shifted(matrix, x, y)`.
        matrix: `[2,3]` from `similarity_transform`, pixels of `rgb` → crop.
        size: pixels along each side of the crop.
        out: uint8 `[size,size,3]` to write into.

    Returns:
        uint8 `[size,size,3]`; black where the picture ends.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H,W,3], got {rgb.dtype} {rgb.shape}")
    if out is None:
        out = np.empty((size, size, 3), np.uint8)
    elif out.shape != (size, size, 3) or out.dtype != np.uint8:
        raise ValueError(f"expected out uint8 {(size, size, 3)}, got {out.dtype} {out.shape}")
    # Only the region is touched, which also keeps within OpenCV's limit of 32,767 pixels a side.
    x1, y1, x2, y2 = face_region(matrix, rgb.shape[1], rgb.shape[0], size)
    if x1 == x2 or y1 == y2:
        out[...] = 0
        return out
    region = rgb[y1:y2, x1:x2]
    affine = shifted(matrix, x1, y1).astype(np.float64)
    while math.hypot(affine[0, 0], affine[1, 0]) <= 0.5 and min(region.shape[:2]) > 1:
        # Halving is what OpenCV does fastest. An odd last row or column is dropped; the region's margin is larger.
        height, width = region.shape[0] // 2, region.shape[1] // 2
        region = cv2.resize(region[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        affine[:, 2] += affine[:, :2].sum(1) / 2  # centres of pixels: x = 2·(x' + ½) − ½
        affine[:, :2] *= 2
    out[...] = cv2.warpAffine(region, affine, (size, size), flags=cv2.INTER_LINEAR)
    return out


def shifted(matrix: NDArray[Any], x: float, y: float) -> NDArray[np.float32]:
    """A `[2,3]` matrix for a picture, made fit for the region of it that starts at (x, y)."""
    m = np.asarray(matrix, np.float64)
    return np.column_stack([m[:, :2], m @ (x, y, 1)]).astype(np.float32)


def align_face(rgb: NDArray[np.uint8], landmarks: NDArray[Any]) -> NDArray[np.uint8]:
    """The face with these landmarks, upright and at the size that embedders take.

    Args:
        rgb: uint8 `[H,W,3]`.
        landmarks: `[5,2]` pixels, as `Detections.landmarks` has them.

    Returns:
        uint8 `[112,112,3]`.

    Raises:
        ValueError: other shapes, or landmarks that fit no face.

    Example:
        >>> align_face(np.zeros((224, 224, 3), np.uint8), ARCFACE_TEMPLATE * 2).shape
        (112, 112, 3)
    """
    return warp_face(rgb, similarity_transform(landmarks))
