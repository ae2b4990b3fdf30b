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


def invert(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """The way back: the inverse of a `[2,3]` affine matrix, as float32 `[2,3]`.

    Raises:
        ValueError: it has none.
    """
    full = np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])
    if abs(np.linalg.det(full)) < 1e-18:
        raise ValueError(f"a matrix without an inverse: {np.asarray(matrix).tolist()}")
    return np.linalg.inv(full)[:2].astype(np.float32)


def face_region(matrix: NDArray[Any], width: int, height: int, size: int = SIZE) -> tuple[int, int, int, int]:
    """The part of a picture that a crop is made of.

    Args:
        matrix: `[2,3]`, picture → crop.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        size: pixels along each side of the crop.

    Returns:
        x1, y1, x2, y2 in whole pixels inside the picture, with the margin that filtering needs; x1 = x2 where the crop
        lies outside.
    """
    back = np.asarray(invert(matrix), np.float64)
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]], np.float64) @ back.T
    margin = 2 * max(1.0, float(np.hypot(back[0, 0], back[1, 0])))
    low = np.floor(corners.min(0) - margin)
    high = np.ceil(corners.max(0) + margin)
    x1, y1 = int(np.clip(low[0], 0, width)), int(np.clip(low[1], 0, height))
    x2, y2 = int(np.clip(high[0], 0, width)), int(np.clip(high[1], 0, height))
    return x1, y1, max(x1, x2), max(y1, y2)


def warp_face(
    rgb: NDArray[np.uint8], matrix: NDArray[Any], size: int = SIZE, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Cut a face out of a picture, or out of a region of one.

    A face much larger than the crop is first reduced by averaging, so that nothing aliases.

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
    region = np.ascontiguousarray(rgb[y1:y2, x1:x2])
    affine = np.asarray(shifted(matrix, x1, y1), np.float64)
    reduction = int(1 / max(1e-9, math.hypot(affine[0, 0], affine[1, 0])))
    if reduction >= 2:
        height, width = region.shape[:2]
        small = max(1, round(width / reduction)), max(1, round(height / reduction))
        region = cv2.resize(region, small, interpolation=cv2.INTER_AREA)
        # Pixel centres: x = (x' + 0.5)·k − 0.5, with the factor that each side was really reduced by.
        kx, ky = width / small[0], height / small[1]
        enlarge = np.array([[kx, 0, (kx - 1) / 2], [0, ky, (ky - 1) / 2], [0, 0, 1]])
        affine = affine @ enlarge
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
