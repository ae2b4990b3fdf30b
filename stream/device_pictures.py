"""Decoded pictures as a GPU sees them: where NVDEC left them, or what has to be put there of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engine.cuda.pictures import Picture, Plane
from engine.device_vision import DeviceFrame, Outline, Place, Plate
from engine.errors import InputError
from stream.colours import rgb_matrix
from stream.overlay import Inked
from stream.pictures import convert
from stream.planes import PixelLayout, is_full_range, matrix_of, on_gpu, stored_format

DEFAULT_STREAM = 0
"""Where FFmpeg's decoders put their work, as PyAV opens them."""


def device_frame(picture: av.VideoFrame) -> DeviceFrame:
    """A picture that was decoded on the GPU and is still there; nothing is copied.

    Raises:
        ValueError: it is elsewhere.
    """
    if not on_gpu(picture):
        raise ValueError(f"{picture} is not on a GPU")
    layout = PixelLayout.of(stored_format(picture))
    planes = picture.planes
    described = describe(picture, layout, [plane.line_size for plane in planes], [plane.buffer_ptr for plane in planes])
    return DeviceFrame(described, DEFAULT_STREAM, picture)


def host_planes(picture: av.VideoFrame) -> tuple[list[NDArray[np.uint8]], Callable[[Sequence[int]], Picture]]:
    """What has to be put on the GPU of a picture that was decoded on the CPU, and what makes the picture of the
    addresses that its planes have then.

    Palettes and the like, whose samples no kernel reads, become 4:4:4 first.
    """
    try:
        layout = PixelLayout.of(picture.format.name)
    except InputError:
        picture = convert(picture, "yuv444p")
        layout = PixelLayout.of("yuv444p")
    planes: Any = picture.planes
    made = partial(_placed, picture, layout, [(plane.line_size, plane.height) for plane in planes])
    return [np.frombuffer(plane, np.uint8) for plane in planes], made


def _placed(
    picture: av.VideoFrame, layout: PixelLayout, sizes: Sequence[tuple[int, int]], addresses: Sequence[int]
) -> Picture:
    # A plane that is stored bottom up begins with its last row.
    starts = [
        address + (rows - 1) * -stride if stride < 0 else address
        for (stride, rows), address in zip(sizes, addresses, strict=True)
    ]
    return describe(picture, layout, [stride for stride, _ in sizes], starts)


def describe(picture: av.VideoFrame, layout: PixelLayout, strides: Sequence[int], addresses: Sequence[int]) -> Picture:
    """What the kernels are told about a picture.

    Args:
        picture: gives size, matrix and range.
        layout: where its planes have their samples.
        strides: of each plane: bytes from a row to the next, negative where it is stored bottom up.
        addresses: of each plane's top row.
    """
    matrix = rgb_matrix(layout.name, matrix_of(picture), is_full_range(picture))
    size = 1 if layout.bits == 8 else 2
    planes = [
        Plane(
            addresses[c.plane] + c.offset * size,
            strides[c.plane],
            -(-picture.width >> c.shift_x),
            -(-picture.height >> c.shift_y),
            *(c.step, c.shift_x, c.shift_y),
        )
        for c in layout.components
    ]
    if layout.colour == "gray":
        planes[:1] *= 3
    first, second, third = planes[:3]
    return Picture(picture.width, picture.height, (first, second, third), matrix, 1 if size == 1 else 2)


def device_marks(todo: Iterable[Inked]) -> list[Outline | Plate]:
    """What an overlay draws, as a GPU takes it."""
    return [
        Outline(Place(*mark.rect), mark.back, mark.thickness)
        if mark.mask is None
        else Plate(Place(*mark.rect), mark.back, mark.text, mark.mask, mark.key)
        for mark in todo
    ]
