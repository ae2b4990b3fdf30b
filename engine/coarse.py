"""A second, coarse look at a picture, for faces that fill it.

What a one-stage detector can see is bounded by its receptive field: a face that is taller than the frame is, at the
size that small faces need, only skin. In a copy of a third of the size it is an ordinary face again, and that copy
costs a tenth of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.letterbox import Letterbox

LARGE = 0.35
"""Height of a face, in parts of the picture's shorter side, from which the coarse look is asked about it."""


@dataclass(frozen=True, slots=True)
class CoarseLook:
    """How letterboxed pictures of one padded size are looked at again.

    Example:
        >>> look = CoarseLook.fit(640, 384, size=192, multiple=64)
        >>> look.width, look.height, look.ratio
        (192, 128, 0.3)
        >>> CoarseLook.fit(192, 128, size=192, multiple=64) is None
        True
    """

    width: int
    """Padded width of the copies, in pixels."""
    height: int
    ratio: float
    """Their pixels per pixel of the letterboxed pictures."""

    @classmethod
    def fit(cls, width: int, height: int, size: int, multiple: int) -> CoarseLook | None:
        """The look for a padded size, with copies of `size` on the longer side, padded up to a `multiple`.

        None where a copy would hardly be smaller.
        """
        ratio = size / max(width, height)
        if ratio > 2 / 3:
            return None
        padded = [-(-max(1, round(side * ratio)) // multiple) * multiple for side in (width, height)]
        return cls(padded[0], padded[1], ratio)

    def inner(self, box: Letterbox) -> tuple[int, int]:
        """Width and height of the copy of a letterboxed picture, without its padding."""
        return max(1, round(box.inner_width * self.ratio)), max(1, round(box.inner_height * self.ratio))

    def shrink(self, pixels: Sequence[NDArray[np.uint8]], boxes: Sequence[Letterbox], out: NDArray[np.uint8]) -> None:
        """Copy N letterboxed pictures `[H,W,3]`, scaled down, into `out` `[N,height,width,3]`, black around them."""
        for one, box, small in zip(pixels, boxes, out, strict=True):
            width, height = self.inner(box)
            picture = one[: box.inner_height, : box.inner_width]
            while picture.shape[0] >= 2 * height and picture.shape[1] >= 2 * width:
                # Halving averages four pixels, and OpenCV does it six times as fast as any other averaging.
                half = (picture.shape[1] // 2, picture.shape[0] // 2)
                picture = np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)
            small[:height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
            small[height:] = 0
            small[:height, width:] = 0

    def enlarge(self, faces: NDArray[np.float32], box: Letterbox) -> NDArray[np.float32]:
        """The large ones of `faces` (as `engine.decoding.candidates` gives them), in pixels of the letterboxed picture.

        Args:
            faces: float32 `[N,15]` in pixels of the copy.
            box: of the picture they were found in.
        """
        width, height = self.inner(box)
        x, y = box.inner_width / width, box.inner_height / height
        large = faces[faces[:, 3] - faces[:, 1] >= LARGE * min(width, height)]
        return large * np.array([x, y, x, y, 1, *[x, y] * 5], np.float32)
