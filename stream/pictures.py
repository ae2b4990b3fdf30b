"""Decoded pictures: safe to draw on, small to look at, sharp where a face is.

All three read the decoded planes; a frame is never turned into RGB as a whole unless its format leaves no other way.

    picture = writable(frame.picture)                  # now `Overlay.draw` may touch it
    small_rgb(frame.picture, 640, 360, buffer)         # what the detector looks at
    face = region_rgb(frame.picture, 200, 80, 320, 240)
"""

from __future__ import annotations

import threading
from functools import lru_cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engine.errors import InputError
from stream.planes import PixelLayout, is_full_range, matrix_of

_SWS_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}

_local = threading.local()


def writable(picture: av.VideoFrame, pixel_format: str | None = None) -> av.VideoFrame:
    """The picture, safe to draw on.

    A decoder goes on reading the frames it has given out, to predict later ones from them. Frames that it still holds
    are copied (the planes; time, colour, field flags and side data stay); frames that nobody else holds cost nothing.
    The given object itself becomes writable and is returned, unless `pixel_format` asks for another format. Do not
    read `picture.side_data` before this call: PyAV keeps the addresses, and they may move.
    """
    if pixel_format is not None and picture.format.name != pixel_format:
        return convert(picture, pixel_format)
    picture.make_writable()
    return picture


def convert(
    picture: av.VideoFrame, pixel_format: str, width: int | None = None, height: int | None = None
) -> av.VideoFrame:
    """The picture in another pixel format or size; the same object if it is in it already.

    Time, field flags and side data stay, and so does what the numbers mean (matrix and range); RGB becomes BT.709 and,
    as grey does, limited range, unless the target is one of the full-range `yuvj` formats.
    """
    width, height = width or picture.width, height or picture.height
    if (picture.format.name, picture.width, picture.height) == (pixel_format, width, height):
        return picture
    source = av.VideoFormat(picture.format.name)
    matrix = int(picture.colorspace)
    if source.is_rgb or len(source.components) < 3:
        matrix = 1 if source.is_rgb else matrix_of(picture)
        full = pixel_format.startswith("yuvj")
    else:
        full = is_full_range(picture)
    made = _reformatter().reformat(
        picture,
        width,
        height,
        pixel_format,
        src_colorspace=_SWS_MATRICES.get(matrix_of(picture)),
        dst_colorspace=_SWS_MATRICES.get(matrix if matrix in _SWS_MATRICES else matrix_of(picture)),
        dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        threads=1,
    )
    made.colorspace = matrix
    return made


def small_rgb(picture: av.VideoFrame, width: int, height: int, out: NDArray[np.uint8]) -> None:
    """Scale the picture to `width` x `height` RGB and write it into `out[:height, :width]`.

    Args:
        picture: any software pixel format; matrix and range are taken from it, guessed as players do where unsaid.
        out: uint8 `[≥height, ≥width, 3]`; what lies beyond `height` and `width` is left alone.
    """
    scaled = _reformatter().reformat(
        picture,
        width,
        height,
        "rgb24",
        src_colorspace=_SWS_MATRICES.get(matrix_of(picture)),
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BILINEAR,
        threads=1,
    )
    plane = scaled.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    out[:height, :width] = rows[:, : 3 * width].reshape(height, width, 3)


def region_rgb(picture: av.VideoFrame, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
    """The pixels `[y0:y1, x0:x1]` of the stored picture as uint8 `[y1-y0, x1-x0, 3]` RGB, at full resolution.

    Only that region of the planes is read. Bounds outside the picture are an error; boxes are clipped by the caller.

    Raises:
        ValueError: the region is empty or reaches outside the picture.
    """
    if not (0 <= x0 < x1 <= picture.width and 0 <= y0 < y1 <= picture.height):
        raise ValueError(f"region {x0},{y0}-{x1},{y1} is not inside {picture.width}x{picture.height}")
    try:
        layout = PixelLayout.of(picture.format.name)
    except InputError:  # palettes, big-endian and the like: rare enough to convert whole
        whole = np.empty((picture.height, picture.width, 3), np.uint8)
        small_rgb(picture, picture.width, picture.height, whole)
        return whole[y0:y1, x0:x1].copy()

    channels = []
    views = layout.views(picture)[:1] if layout.colour == "gray" else layout.views(picture)[:3]
    for view, component in zip(views, layout.components, strict=False):
        channels.append(_samples(view, component.shift_x, component.shift_y, x0, y0, x1, y1))
    if layout.colour == "gray":
        channels *= 3
    matrix = _to_rgb(layout.name, layout.colour, matrix_of(picture), is_full_range(picture))
    rgb = cv2.transform(cv2.merge(channels), matrix)
    if rgb.dtype != np.uint8:
        rgb = np.minimum(rgb, 255).astype(np.uint8)
    return np.asarray(rgb)


def _samples(
    view: NDArray[np.uint8] | NDArray[np.uint16], shift_x: int, shift_y: int, x0: int, y0: int, x1: int, y1: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One component of the region, at the size of the region; subsampled ones are interpolated between samples."""
    if shift_x == 0 and shift_y == 0:
        return np.ascontiguousarray(view[y0:y1, x0:x1])
    # One sample more on every side, so that the region's border does not depend on where it was cut.
    left, top = max(0, (x0 >> shift_x) - 1), max(0, (y0 >> shift_y) - 1)
    right = min(view.shape[1], -(-x1 >> shift_x) + 1)
    bottom = min(view.shape[0], -(-y1 >> shift_y) + 1)
    part = np.ascontiguousarray(view[top:bottom, left:right])
    grown = cv2.resize(
        part, ((right - left) << shift_x, (bottom - top) << shift_y), interpolation=cv2.INTER_LINEAR
    )
    x, y = x0 - (left << shift_x), y0 - (top << shift_y)
    return grown[y : y + y1 - y0, x : x + x1 - x0]  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _to_rgb(name: str, colour: str, matrix: int, full_range: bool) -> NDArray[np.float32]:
    """The 3x4 affine map from stored samples to RGB in 0-255: the inverse of the one that `PixelLayout.ink` draws by."""
    layout = PixelLayout.of(name)
    fine = PixelLayout.of("yuv444p16le" if colour == "yuv" else "gbrp16le")
    if fine.colour == "rgb":  # its components are listed R, G, B
        black = np.array(fine.ink((0, 0, 0), matrix, full_range), np.float64)
        white = np.array(fine.ink((1, 1, 1), matrix, full_range), np.float64)
        forward = np.diag(white - black)
    else:
        black = np.array(fine.ink((0, 0, 0), matrix, full_range), np.float64)
        # A third of each primary, as full ones reach the end of the scale and would be clipped there.
        unit = np.eye(3) / 3
        forward = 3 * np.stack([np.array(fine.ink(tuple(e), matrix, full_range)) - black for e in unit], axis=1)
    top = (1 << layout.bits) - 1
    scale = (65535 / top if full_range else 1 << (16 - layout.bits)) / (1 << layout.shift)
    inverse = np.linalg.inv(forward) * 255
    return np.concatenate([inverse * scale, -(inverse @ black)[:, None]], axis=1).astype(np.float32)


def _reformatter() -> VideoReformatter:
    """One scaler a thread: it keeps its tables from call to call and must not be shared."""
    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()
    reformatter: VideoReformatter = _local.reformatter
    return reformatter
