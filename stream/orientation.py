"""Between pixels as stored and pixels as displayed.

A phone stores its picture lying on its side and says by how much a player has to turn it. Boxes and landmarks are
in displayed pixels everywhere; only what touches the planes maps them back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.alignment import similarity_transform
from stream.frames import Rotation, VideoInfo


def to_coded(points: NDArray[np.float32], info: VideoInfo) -> NDArray[np.float32]:
    """Map displayed `[...,2]` x, y to where they lie in the stored picture (continuous coordinates, pixels).

    Example:
        >>> from fractions import Fraction
        >>> sideways = VideoInfo("a.mp4", 640, 360, 90, Fraction(1, 30), None, None, "yuv420p")
        >>> to_coded(np.array([[0, 0]], np.float32), sideways).tolist()  # displayed top left
        [[0.0, 360.0]]
    """
    x, y = points[..., 0], points[..., 1]
    width, height = np.float32(info.coded_width), np.float32(info.coded_height)
    match info.rotation:
        case 0:
            return points
        case 90:
            mapped = (y, height - x)
        case 180:
            mapped = (width - x, height - y)
        case 270:
            mapped = (width - y, x)
    return np.stack(mapped, axis=-1).astype(np.float32)


def face_transform(landmarks: NDArray[np.float32], info: VideoInfo) -> NDArray[np.float32]:
    """The way from the stored picture to the upright, aligned face with these `[5,2]` stored points, `[2,3]`.

    A similarity of the picture as it is seen, so not one of stored pixels where these are not square.

    Raises:
        ValueError: points that fit no face, see `engine.alignment.similarity_transform`.
    """
    seen = np.array([info.coded_pixel_aspect, 1], np.float32)
    matrix = similarity_transform(landmarks * seen)
    matrix[:, :2] *= seen
    return matrix


def boxes_to_coded(boxes: NDArray[np.float32], info: VideoInfo) -> NDArray[np.float32]:
    """Map displayed `[N,4]` xyxy boxes to the stored picture, again with x1 ≤ x2 and y1 ≤ y2."""
    corners = to_coded(boxes.reshape(-1, 2, 2), info)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def upright(rgb: NDArray[np.uint8], rotation: Rotation) -> NDArray[np.uint8]:
    """A stored `[H,W,C]` picture turned as a player shows it; a view, not a copy."""
    return np.rot90(rgb, -(rotation // 90))
