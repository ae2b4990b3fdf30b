"""Fitting a picture of any shape to what a detector takes, and finding the way back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies inside its padded, scaled copy: top left, black on the right and below.

    Coordinates are continuous: pixel i covers i…i+1, so a box over the whole picture is (0, 0, width, height).

    Example:
        >>> box = Letterbox.fit(1920, 1080, size=640, multiple=32)
        >>> box.inner, box.padded, box.scale
        ((640, 360), (640, 384), 0.3333333333333333)
        >>> box.to_frame(np.array([[320.0, 180.0]]))
        array([[960., 540.]])
    """

    width: int
    """Of the picture, in pixels."""
    height: int
    inner_width: int
    """Of its scaled copy."""
    inner_height: int
    padded_width: int
    """Of what the detector is given."""
    padded_height: int

    @classmethod
    def fit(
        cls, width: int, height: int, size: int = 640, multiple: int = 32, pixel_aspect: Fraction = Fraction(1)
    ) -> Letterbox:
        """Scale the longer side to `size`, pad both sides up to a multiple of `multiple` (the largest stride).

        `pixel_aspect` is the width of the picture's pixels over their height; those of the copy are
        square, and the longer side is the one that is seen to be longer.

        Raises:
            ValueError: a side or size below 1.
        """
        if min(width, height, size, multiple) < 1:
            raise ValueError(f"sides and sizes start at 1, got {width = }, {height = }, {size = }, {multiple = }")
        sides = width * pixel_aspect.numerator, height * pixel_aspect.denominator
        longer = max(sides)
        inner_width, inner_height = (max(1, (side * size * 2 + longer) // (2 * longer)) for side in sides)
        padded_width, padded_height = (-(-side // multiple) * multiple for side in (inner_width, inner_height))
        return cls(width, height, inner_width, inner_height, padded_width, padded_height)

    @property
    def scale(self) -> float:
        """Scaled pixels per pixel of the picture, along the side that is scaled down the most."""
        return min(self.inner_width / self.width, self.inner_height / self.height)

    @property
    def inner(self) -> tuple[int, int]:
        """Width and height of the scaled picture."""
        return self.inner_width, self.inner_height

    @property
    def padded(self) -> tuple[int, int]:
        """Width and height with the padding."""
        return self.padded_width, self.padded_height

    def to_frame(self, xy: NDArray[Any]) -> NDArray[Any]:
        """Points `[…,2]` or boxes `[…,4]` of the padded copy, in pixels of the picture; not clipped to it."""
        x, y = self.width / self.inner_width, self.height / self.inner_height
        factors = np.array([x, y] * (xy.shape[-1] // 2), xy.dtype if xy.dtype.kind == "f" else np.float64)
        scaled: NDArray[Any] = xy * factors
        return scaled


def letterbox(rgb: NDArray[np.uint8], box: Letterbox, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """The picture scaled and padded as `box` says.

    Args:
        rgb: uint8 `[height,width,3]`.
        box: from `Letterbox.fit` for that width and height.
        out: uint8 `[padded_height,padded_width,3]` to write into, for example a row of a detector's batch.

    Returns:
        `out`, or a new array.

    Raises:
        ValueError: the picture or `out` has another size.
    """
    if rgb.shape != (box.height, box.width, 3):
        raise ValueError(f"the letterbox is for {(box.height, box.width, 3)}, got {rgb.shape = }")
    if out is None:
        out = np.empty((box.padded_height, box.padded_width, 3), np.uint8)
    elif out.shape != (box.padded_height, box.padded_width, 3):
        raise ValueError(f"the letterbox gives {(box.padded_height, box.padded_width, 3)}, got {out.shape = }")
    inner = out[: box.inner_height, : box.inner_width]
    if box.inner == (box.width, box.height):
        inner[...] = rgb
    else:
        # Averaging over areas keeps small faces free of aliasing; there is nothing to average when enlarging.
        how = cv2.INTER_AREA if box.scale < 1 else cv2.INTER_LINEAR
        inner[...] = cv2.resize(np.ascontiguousarray(rgb), box.inner, interpolation=how)
    out[box.inner_height :] = 0
    out[: box.inner_height, box.inner_width :] = 0
    return out
