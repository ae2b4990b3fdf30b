"""Where a pixel format keeps its samples, and what a colour is in it.

Lets code write straight into the planes of a decoded frame, whatever its format: planar, semi-planar and
packed YUV, grey and RGB, 8 to 16 bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError

Samples = NDArray[np.uint8] | NDArray[np.uint16]

# Kr and Kb of the matrices (ITU-T H.273, table 4) by FFmpeg's number. 2 is "unspecified".
_COEFFICIENTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_RGB_MATRIX, _UNSPECIFIED, _YCGCO = 0, 2, 8
_FULL_RANGE = 2
_REFERENCE_WHITE = {16: 0.58, 18: 0.75}
"""Signal level of a 203 cd/m² white under PQ and HLG (ITU-R BT.2408, table 1)."""

# Formats whose samples share a plane: where each component starts and how far its samples stand apart.
_YUYV = {
    "yuyv422": (0, 1, 3),
    "yvyu422": (0, 3, 1),
    "uyvy422": (1, 0, 2),
    "y210le": (0, 1, 3),
    "y212le": (0, 1, 3),
}
_SEMI_PLANAR = ("nv", "p01", "p21", "p41")
_PACKED_RGB = re.compile(r"([rgba]{3,4}|0rgb|0bgr|rgb0|bgr0)(?:24|48|64)?(?:le)?")


@dataclass(frozen=True, slots=True)
class Component:
    """Where the samples of Y, U, V, R, G, B or alpha lie."""

    plane: int
    offset: int
    """Samples before the first one of this component in a row."""
    step: int
    """Samples from one of this component to the next."""
    shift_x: int
    """log2 of how many luma columns share a sample."""
    shift_y: int


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """A pixel format that can be drawn on.

    Example:
        >>> layout = PixelLayout.of("yuv420p10le")
        >>> layout.bits, [c.shift_x for c in layout.components]
        (10, [0, 1, 1])
    """

    name: str
    components: tuple[Component, ...]
    """Y U V, R G B or grey; alpha, where there is one, last."""
    colour: str
    """`yuv`, `rgb` or `gray`."""
    alpha: bool
    bits: int
    """Significant bits a sample."""
    shift: int
    """Zero bits below them (P010 and its kin)."""

    @staticmethod
    @lru_cache(maxsize=64)
    def of(name: str) -> PixelLayout:
        """The layout of FFmpeg's pixel format `name`.

        Raises:
            InputError: palettes, bit-packed, floating-point, big-endian and hardware formats cannot be drawn
            on.
        """
        layout = _layout(name)
        if layout is None:
            raise InputError(f"pixel format {name} cannot be drawn on; convert the frame first, say to yuv444p")
        return layout

    @property
    def grey(self) -> int:
        """Which component is nearest to what is seen without colour: luma, or green."""
        return 1 if self.colour == "rgb" else 0

    def views(self, picture: av.VideoFrame) -> list[Samples]:
        """One array a component, `[h,w]` of its own size, uint8 or uint16, sharing the memory of
        `picture`.
        """
        planes = picture.planes
        width, height = picture.width, picture.height
        rows = [_rows(planes[c.plane], self.bits) for c in self.components]
        return [
            row[: -(-height >> c.shift_y), c.offset :: c.step][:, : -(-width >> c.shift_x)]
            for row, c in zip(rows, self.components, strict=True)
        ]

    def ink(self, rgb: tuple[float, float, float], matrix: int, full_range: bool) -> tuple[int, ...]:
        """The sample values of a gamma-coded RGB colour in 0…1, one a component; alpha is opaque.

        Args:
            rgb: red, green, blue.
            matrix: number of the YUV matrix as in H.273; anything but "unspecified".
            full_range: whether black is 0.

        Source: ITU-T H.273, equations 20 to 41.
        """
        top = (1 << self.bits) - 1
        unit = 1 << (self.bits - 8)
        floor, luma, chroma = (0, top, top) if full_range else (16 * unit, 219 * unit, 224 * unit)
        red, green, blue = rgb
        values: list[float]
        if self.colour == "rgb":
            values = [floor + luma * v for v in rgb]
        elif matrix == _YCGCO:
            y, u, v = (red + 2 * green + blue) / 4, (2 * green - red - blue) / 4, (red - blue) / 2
            values = [floor + luma * y, 128 * unit + chroma * u, 128 * unit + chroma * v]
        else:
            kr, kb = _COEFFICIENTS.get(matrix, _COEFFICIENTS[1])
            y = kr * red + (1 - kr - kb) * green + kb * blue
            u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
            values = [floor + luma * y, 128 * unit + chroma * u, 128 * unit + chroma * v]
        if self.colour == "gray":
            values = values[:1]
        if self.alpha:
            values.append(top)
        return tuple(min(top, max(0, int(v + 0.5))) << self.shift for v in values)


def same_samples(one: str, other: str) -> bool:
    """Whether two pixel formats hold the same samples, in another order at most.

    Example:
        >>> same_samples("nv12", "yuv420p"), same_samples("p010le", "yuv420p")
        (True, False)
    """
    if one == other:
        return True
    try:
        layouts = PixelLayout.of(one), PixelLayout.of(other)
    except InputError:
        return False
    first, second = (
        (layout.colour, layout.alpha, layout.bits, [(part.shift_x, part.shift_y) for part in layout.components])
        for layout in layouts
    )
    return first == second


def on_gpu(picture: av.VideoFrame) -> bool:
    """Whether the samples are in a GPU's memory, where no view reaches them."""
    return picture.format.name == "cuda"


def stored_format(picture: av.VideoFrame) -> str:
    """The name of the pixel format that the samples are in, wherever they are.

    Example:
        >>> stored_format(av.VideoFrame(64, 48, "nv12"))
        'nv12'
    """
    there = picture.sw_format if on_gpu(picture) else None
    return (there or picture.format).name


def matrix_of(picture: av.VideoFrame) -> int:
    """The YUV matrix of a frame; where it says none, by size as players guess: BT.709 from 1280 wide or 577
    high.
    """
    matrix = int(picture.colorspace)
    if matrix in (_RGB_MATRIX, _UNSPECIFIED, 3):
        return 1 if picture.width >= 1280 or picture.height > 576 else 6
    return matrix


def is_full_range(picture: av.VideoFrame) -> bool:
    """Whether black is 0; where the frame does not say, YUV is limited, RGB and grey are full."""
    name = stored_format(picture)
    if name.startswith("yuvj"):
        return True
    if int(picture.color_range) in (1, _FULL_RANGE):
        return int(picture.color_range) == _FULL_RANGE
    return PixelLayout.of(name).colour != "yuv"


def reference_white(picture: av.VideoFrame) -> float:
    """The signal level of graphics white: 1 in ordinary video, lower under PQ and HLG.

    The full PQ signal stands for 10,000 cd/m², which would glare; HDR graphics are put at 203 cd/m².
    """
    return _REFERENCE_WHITE.get(int(picture.color_trc), 1.0)


def _rows(plane: Any, bits: int) -> Samples:
    """A plane as `[rows, line]`, padding included, top row first."""
    line = plane.line_size
    rows: Any = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(
        plane.height, abs(line) // (1 if bits == 8 else 2)
    )
    samples: Samples = rows if line > 0 else rows[::-1]
    return samples


def _layout(name: str) -> PixelLayout | None:
    try:
        fmt = av.VideoFormat(name, 64, 64)
    except ValueError:
        return None
    parts = fmt.components
    bits = parts[0].bits if parts else 0
    exotic = fmt.has_palette or name.startswith(("bayer", "x2", "v30", "xv", "vuy", "ayuv", "uyyv"))
    if exotic or not 8 <= bits <= 16 or any(p.bits != bits for p in parts) or name.endswith("be") or "f16" in name:
        return None
    alpha = any(p.is_alpha for p in parts)
    colour = "rgb" if fmt.is_rgb else "gray" if len(parts) - alpha == 1 else "yuv"
    order = _order(name, parts, fmt.is_planar)
    if order is None:
        return None
    components = tuple(
        Component(p.plane, offset, step, (64 // p.width).bit_length() - 1, (64 // p.height).bit_length() - 1)
        for p, (offset, step) in zip(parts, order, strict=True)
    )
    aligned_high = "msb" in name or name.startswith(("p01", "p21", "p41", "y21"))
    return PixelLayout(name, components, colour, alpha, bits, (16 - bits) if aligned_high and bits > 8 else 0)


def _order(name: str, parts: Any, planar: bool) -> list[tuple[int, int]] | None:
    """Offset and step of every component, in samples."""
    alone = len({p.plane for p in parts}) == len(parts)
    if alone:
        return [(0, 1)] * len(parts)
    if name in _YUYV:
        return [(offset, 2 if i == 0 else 4) for i, offset in enumerate(_YUYV[name])]
    if name.startswith(_SEMI_PLANAR):
        first_v = name in ("nv21", "nv42")
        return [(0, 1), (int(first_v), 2), (int(not first_v), 2)]
    if name in ("ya8", "ya16le"):
        return [(0, 2), (1, 2)]
    packed = _PACKED_RGB.fullmatch(name)
    if planar or packed is None:
        return None
    letters = packed[1]
    return [(letters.index(letter), len(letters)) for letter in "rgba"[: len(parts)]]
