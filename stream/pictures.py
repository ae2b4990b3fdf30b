"""Decoded pictures: safe to draw on, small to look at, sharp where a face is.

All of them read the decoded planes; a frame is never turned into RGB as a whole unless its format leaves no other way.

    picture = writable(frame.picture)                  # now `Overlay.draw` may touch it
    small_rgb(frame.picture, 640, 360, buffer)         # what the detector looks at
    cells = coarse_rgb(frame.picture, 32, 18)          # what shots are told apart by
    face = region_rgb(frame.picture, 200, 80, 320, 240)
"""

from __future__ import annotations

import threading
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engine.errors import InputError
from stream.colours import cell_means, fill_cells, fill_rgb, rgb_matrix
from stream.planes import Component, PixelLayout, is_full_range, matrix_of, on_gpu, stored_format

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
    """The picture in another pixel format or size; the same object if it is in it already. One in a GPU's memory is
    brought down.

    Time, field flags and side data stay, and so does what the numbers mean (matrix and range); RGB becomes BT.709 and,
    as grey does, limited range, unless the target is one of the full-range `yuvj` formats.
    """
    width, height = width or picture.width, height or picture.height
    if (picture.format.name, picture.width, picture.height) == (pixel_format, width, height):
        return picture
    if on_gpu(picture):
        return convert(picture.reformat(format=stored_format(picture)), pixel_format, width, height)
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
    """Scale the stored picture to `width` x `height` RGB and write it into `out[:height, :width]`.

    Each plane is scaled for itself and only the small picture is turned into RGB, in full chroma resolution.

    Args:
        picture: any software pixel format; matrix and range are taken from it, guessed as players do where unsaid.
        out: uint8 `[≥height, ≥width, 3]`; what lies beyond `height` and `width` is left alone.
    """
    layout = _layout(picture)
    if layout is None:
        out[:height, :width] = _rgb(picture, width, height)
        return
    components = [_scaled(view, width, height) for view in _three(layout, picture)]
    _fill(picture, layout, components, out)


def coarse_rgb(picture: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """The stored picture as uint8 `[height,width,3]` RGB, each pixel the mean of a cell of it: for telling pictures
    apart at next to no cost. A few samples of a cell stand for all of them.
    """
    layout = _layout(picture)
    if layout is None:
        return _rgb(picture, width, height)
    out = np.empty((height, width, 3), np.uint8)
    fill_cells(_three(layout, picture), _matrix(picture, layout), out)
    return out


def grey_cells(picture: av.VideoFrame, parts: NDArray[np.int64], side: int) -> NDArray[Any]:
    """Parts `[N,4]` of the stored picture, x1, y1, x2, y2 inside it, in `[N,side,side]` cells: luma or green, in the
    samples' own numbers. A few samples of a cell stand for all of them.
    """
    layout = _layout(picture)
    if layout is None:
        return cell_means(_rgb(picture, picture.width, picture.height)[..., 1], parts, side, side)
    return cell_means(_three(layout, picture)[layout.grey], parts, side, side)


def region_rgb(picture: av.VideoFrame, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
    """The pixels `[y0:y1, x0:x1]` of the stored picture as uint8 `[y1-y0, x1-x0, 3]` RGB, at full resolution.

    Only that region of the planes is read. Bounds outside the picture are an error; boxes are clipped by the caller.

    Raises:
        ValueError: the region is empty or reaches outside the picture.
    """
    if not (0 <= x0 < x1 <= picture.width and 0 <= y0 < y1 <= picture.height):
        raise ValueError(f"region {x0},{y0}-{x1},{y1} is not inside {picture.width}x{picture.height}")
    layout = _layout(picture)
    if layout is None:
        return _rgb(picture, picture.width, picture.height)[y0:y1, x0:x1].copy()
    out = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    components = [
        _cut(view, component, x0, y0, x1, y1)
        for view, component in zip(_three(layout, picture), layout.components, strict=False)
    ]
    _fill(picture, layout, components, out)
    return out


def _layout(picture: av.VideoFrame) -> PixelLayout | None:
    """Where the samples are; None for palettes, big-endian and the like, which swscale converts whole."""
    try:
        return PixelLayout.of(picture.format.name)
    except InputError:
        return None


def _three(layout: PixelLayout, picture: av.VideoFrame) -> list[NDArray[Any]]:
    """The components that make the colour: one for grey, three for all else."""
    views: list[Any] = layout.views(picture)
    return views[:1] if layout.colour == "gray" else views[:3]


def _fill(picture: av.VideoFrame, layout: PixelLayout, components: list[NDArray[Any]], out: NDArray[np.uint8]) -> None:
    fill_rgb(components, _matrix(picture, layout), out)


def _matrix(picture: av.VideoFrame, layout: PixelLayout) -> NDArray[np.float32]:
    return rgb_matrix(layout.name, matrix_of(picture), is_full_range(picture))


def _scaled(view: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """A component at another size: halved by averaging while that goes evenly, which is fast, then interpolated."""
    while all(n % 2 == 0 and n >= 2 * m for n, m in zip(view.shape, (height, width), strict=True)):
        size = (view.shape[1] // 2, view.shape[0] // 2)
        view = cv2.resize(_dense(view), size, interpolation=cv2.INTER_AREA)
    if view.shape != (height, width):
        still_large = view.shape[0] >= 2 * height or view.shape[1] >= 2 * width
        how = cv2.INTER_AREA if still_large else cv2.INTER_LINEAR
        view = cv2.resize(_dense(view), (width, height), interpolation=how)
    return np.ascontiguousarray(view)


def _dense(view: NDArray[Any]) -> NDArray[Any]:
    """What OpenCV takes without a copy: samples side by side, rows any distance apart."""
    return view if view.strides[1] == view.itemsize and view.strides[0] > 0 else np.ascontiguousarray(view)


def _cut(view: NDArray[Any], component: Component, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
    """One component of the region, at the size of the region; subsampled ones are interpolated between samples."""
    shift_x, shift_y = component.shift_x, component.shift_y
    if shift_x == 0 and shift_y == 0:
        return np.ascontiguousarray(view[y0:y1, x0:x1])
    # One sample more on every side, so that the region's border does not depend on where it was cut.
    left, top = max(0, (x0 >> shift_x) - 1), max(0, (y0 >> shift_y) - 1)
    right = min(view.shape[1], -(-x1 >> shift_x) + 1)
    bottom = min(view.shape[0], -(-y1 >> shift_y) + 1)
    size = ((right - left) << shift_x, (bottom - top) << shift_y)
    grown = cv2.resize(_dense(view[top:bottom, left:right]), size, interpolation=cv2.INTER_LINEAR)
    x, y = x0 - (left << shift_x), y0 - (top << shift_y)
    return np.ascontiguousarray(grown[y : y + y1 - y0, x : x + x1 - x0])


def _rgb(picture: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """The whole picture through swscale: a view `[height, width, 3]` of a frame of its own."""
    scaled = _reformatter().reformat(
        picture,
        width,
        height,
        "rgb24",
        src_colorspace=_SWS_MATRICES.get(matrix_of(picture)),
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND,
        threads=1,
    )
    plane: Any = scaled.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    return rows[:, : 3 * width].reshape(height, width, 3)


def _reformatter() -> VideoReformatter:
    """One scaler a thread: it keeps its tables from call to call and must not be shared."""
    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()
    reformatter: VideoReformatter = _local.reformatter
    return reformatter
