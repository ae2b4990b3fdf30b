"""A decoded picture in a GPU's memory (or, for tests, in the host's)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LARGEST = 16_384
"""Pixels along a side, at most: what keeps the kernels' whole numbers within 32 bits."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the samples of Y, U or V (or R, G, B) lie."""

    address: int
    """Of the first sample."""
    stride: int
    """Bytes from a row to the next; negative where the picture is stored bottom up."""
    width: int
    """In samples."""
    height: int
    step: int = 1
    """Samples from one to the next in a row: 2 for the chroma of NV12."""
    shift_x: int = 0
    """log2 of how many columns of the picture share a sample."""
    shift_y: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a decoder left it.

    Example:
        >>> matrix = np.eye(3, 4, dtype=np.float32)
        >>> picture = Picture.semi_planar(0x10000, 2048, 0x300000, 2048, 1919, 1080, matrix)
        >>> picture.planes[1].width, picture.planes[2].address - picture.planes[1].address
        (960, 1)
    """

    width: int
    """Pixels, as stored."""
    height: int
    planes: tuple[Plane, Plane, Plane]
    matrix: NDArray[np.float32]
    """`[3,4]`, affine: stored samples → RGB in 0…255. It says all of matrix, range and depth;
    `stream.colours.rgb_matrix` makes it."""
    sample_bytes: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        if not (1 <= self.width <= LARGEST and 1 <= self.height <= LARGEST):
            raise ValueError(f"sides are 1 to {LARGEST} pixels, got {self.width}x{self.height}")
        if self.matrix.shape != (3, 4):
            raise ValueError(f"expected a matrix (3, 4), got {self.matrix.shape}")
        if any((plane.address | plane.stride) % self.sample_bytes for plane in self.planes):
            raise ValueError(f"addresses and strides must be multiples of {self.sample_bytes}, got {self.planes}")
        _, second, third = self.planes
        if (second.shift_x, second.shift_y) != (third.shift_x, third.shift_y):
            raise ValueError(f"the last two planes must be of one size, got {second} and {third}")
        for plane in self.planes:
            need = -(-self.width >> plane.shift_x), -(-self.height >> plane.shift_y)
            if (plane.width, plane.height) != need:
                raise ValueError(f"expected a plane of {need} samples, got {plane}")

    def field(self) -> Picture:
        """The picture's upper field alone: every second row, the first one included."""
        planes = [replace(p, stride=2 * p.stride, height=(p.height + 1) // 2) for p in self.planes]
        return replace(self, height=(self.height + 1) // 2, planes=(planes[0], planes[1], planes[2]))

    def part(self, left: int, top: int, right: int, bottom: int) -> Picture:
        """What lies between these pixels, right and bottom not included; they may be odd, then the samples that colour
        a pixel at the border are the nearest."""
        planes = [
            replace(
                p,
                address=p.address + (top >> p.shift_y) * p.stride + (left >> p.shift_x) * p.step * self.sample_bytes,
                width=-(-(right - left) >> p.shift_x),
                height=-(-(bottom - top) >> p.shift_y),
            )
            for p in self.planes
        ]
        return replace(self, width=right - left, height=bottom - top, planes=(planes[0], planes[1], planes[2]))

    @classmethod
    def semi_planar(
        cls,
        luma: int,
        luma_stride: int,
        chroma: int,
        chroma_stride: int,
        width: int,
        height: int,
        matrix: NDArray[Any],
        sample_bytes: Literal[1, 2] = 1,
    ) -> Picture:
        """NV12 or, with two bytes a sample, P010: a plane of Y and one of U and V in turn, half as wide and high.

        Args:
            luma: address of Y.
            luma_stride: bytes from a row to the next.
            chroma: address of U and V.
            chroma_stride: likewise.
            width: of the picture, in pixels; may be odd.
            height: likewise.
            matrix: see `matrix`.
            sample_bytes: 2 for P010.
        """
        half = {"width": (width + 1) // 2, "height": (height + 1) // 2, "shift_x": 1, "shift_y": 1, "step": 2}
        return cls(
            width,
            height,
            (
                Plane(luma, luma_stride, width, height),
                Plane(chroma, chroma_stride, **half),
                Plane(chroma + sample_bytes, chroma_stride, **half),
            ),
            np.asarray(matrix, np.float32),
            sample_bytes,
        )
