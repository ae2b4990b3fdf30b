"""The five points of a tilted head, found once more with the head upright.

Detectors learn heads that stand more or less upright. Of one that lies on its shoulder they find the face, but draw its
points as if it were tilted less; the aligned face is then a crooked one, and an embedder knows nobody in it. Turned
back by as much as was seen it is an ordinary face, and its points are right. The second look is as small as those of
`engine.coarse`, and only tilted faces take it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.alignment import align_face, invert, similarity_transform, warp_face
from engine.detector import Detector
from engine.letterbox import Letterbox
from engine.types import Detections

TILTED = 15.0
"""Degrees from which a head is tilted. Up to here points are right at once, and finer than in so small a picture."""
LOOKS = 2
"""At most: at 65 degrees the first brings a head half the way up."""
_LEAST = 128
"""Pixels of the side of what is looked at."""
_SCALE = 0.6
"""Its pixels per pixel of the aligned face: of a face that is larger in it the chin would be missing."""
_MIDDLE = (56.0, 62.0)
"""Where the middle of a face lies in the aligned one."""
_ASTRAY = 0.2
"""Of the side: what is found so far from the middle is somebody else."""
_WEAK = 0.5
"""Of the detector's threshold: that there is a face is known."""


def is_tilted(landmarks: NDArray[Any]) -> bool:
    """Whether a face `[5,2]` is tilted by more than `TILTED` degrees either way.

    Example:
        >>> from engine.alignment import ARCFACE_TEMPLATE
        >>> is_tilted(ARCFACE_TEMPLATE), is_tilted(ARCFACE_TEMPLATE[:, ::-1] * (1, -1))
        (False, True)
    """
    matrix = similarity_transform(landmarks)
    return abs(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))) > TILTED


class Leveller:
    """Finds the points of tilted faces. May be used from several threads.

    Args:
        detector: that found them.
        width: padded, of the pictures that it found them on; its coarse copies of these are of a size that it is
            ready for. A network of one size looks at that again.
        height: likewise.
    """

    def __init__(self, detector: Detector, width: int, height: int) -> None:
        look, multiple = detector.coarse_look(width, height), max(detector.strides)
        least = -(-_LEAST // multiple) * multiple
        padded = (look.width, look.height) if look and min(look.width, look.height) >= least else (least, least)
        if not detector.session.inputs[0].accepts((1, padded[1], padded[0], 3)):
            padded = width, height
        self.side = min(padded)
        """Pixels of the square pictures that it looks at."""
        self._detector = detector
        self._box = Letterbox(self.side, self.side, self.side, self.side, *padded)
        scale = _SCALE * self.side / _LEAST
        self._view = np.array([[scale, 0, 0], [0, scale, 0], [0, 0, 1]])
        self._view[:2, 2] = self.side / 2 - scale * np.array(_MIDDLE)

    def __call__(
        self,
        landmarks: NDArray[np.float32],
        transform: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        cut: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
    ) -> NDArray[np.float32]:
        """The points of a face as they are found with the head upright; as they were where that finds none.

        Args:
            landmarks: `[5,2]` pixels of the picture.
            transform: from such points to the way from the picture to the aligned face, `[2,3]`.
            cut: from a way `[2,3]` from the picture to a square of `side` pixels to that square, uint8
                `[side,side,3]` RGB.

        Example:
            >>> level = Leveller(detector, 640, 384)                                            # doctest: +SKIP
            >>> level(points, similarity_transform, lambda m: warp_face(rgb, m, level.side))    # doctest: +SKIP
        """
        points = landmarks
        for _ in range(LOOKS):
            aligned = np.vstack([transform(points), (0, 0, 1)])
            matrix = (self._view @ aligned)[:2].astype(np.float32)
            found = self._find(cut(matrix)).landmarks
            apart = np.linalg.norm(found.mean(axis=1) - self.side / 2, axis=1)
            if apart.min(initial=np.inf) > _ASTRAY * self.side:
                break
            seen, back = found[int(apart.argmin())], invert(matrix)
            points = (seen @ back[:, :2].T + back[:, 2]).astype(np.float32)
            if not is_tilted(seen):
                break
        return points

    def _find(self, square: NDArray[np.uint8]) -> Detections:
        job = self._detector.job(1, self._box.padded_height, self._box.padded_width)
        job.pixels[...] = 0
        job.pixels[0, : self.side, : self.side] = square
        least = _WEAK * self._detector.threshold
        return job.start([self._box], least, coarse=False, work=self._detector.coarse_looks).result()[0]


def aligned_faces(rgb: NDArray[np.uint8], landmarks: NDArray[np.float32], detector: Detector) -> NDArray[np.uint8]:
    """The faces of a picture, aligned however the heads are tilted.

    Args:
        rgb: uint8 `[H,W,3]`.
        landmarks: `[N,5,2]` pixels, N ≥ 1, as the detector found them.
        detector: is asked again about tilted ones.

    Returns:
        uint8 `[N,112,112,3]`.
    """

    def points_of(one: NDArray[np.float32]) -> NDArray[np.float32]:
        if not is_tilted(one):
            return one
        level = Leveller(detector, *detector.letterbox(rgb.shape[1], rgb.shape[0]).padded)
        return level(one, similarity_transform, lambda matrix: warp_face(rgb, matrix, level.side))

    return np.stack([align_face(rgb, points_of(one)) for one in landmarks])
