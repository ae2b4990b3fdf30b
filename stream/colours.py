"""From stored samples to RGB: the matrix for a pixel format, and the loop that applies it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from stream.planes import PixelLayout


@lru_cache(maxsize=64)
def rgb_matrix(name: str, matrix: int, full_range: bool) -> NDArray[np.float32]:
    """The affine map `[3,4]` from stored samples (Y, U, V, or R, G, B) to RGB in 0-255.

    It is the inverse of what `PixelLayout.ink` draws by, so that reading and drawing share one definition.

    Args:
        name: FFmpeg's name of the pixel format.
        matrix: number of the YUV matrix as in H.273.
        full_range: whether black is 0.
    """
    layout = PixelLayout.of(name)
    fine = PixelLayout.of("yuv444p16le" if layout.colour == "yuv" else "gbrp16le")
    black = np.array(fine.ink((0, 0, 0), matrix, full_range), np.float64)
    if layout.colour == "yuv":
        # A third of each primary, as full ones reach the end of the scale and would be clipped there.
        primaries = ((1 / 3, 0.0, 0.0), (0.0, 1 / 3, 0.0), (0.0, 0.0, 1 / 3))
        forward = 3 * np.stack([np.array(fine.ink(p, matrix, full_range)) - black for p in primaries], axis=1)
    else:
        forward = np.diag(np.array(fine.ink((1, 1, 1), matrix, full_range)) - black)
    top = (1 << layout.bits) - 1
    scale = (65535 / top if full_range else 1 << (16 - layout.bits)) / (1 << layout.shift)
    inverse = np.linalg.inv(forward) * 255
    return np.concatenate([inverse * scale, -(inverse @ black)[:, None]], axis=1).astype(np.float32)


def fill_rgb(components: list[NDArray[Any]], matrix: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """Write the RGB of a picture into `out[:h,:w]`, rounded.

    Args:
        components: three `[h,w]`, or one for grey; uint8 or uint16, each contiguous.
        matrix: what `rgb_matrix` gives.
        out: uint8 `[≥h,≥w,3]`.
    """
    height, width = components[0].shape
    flat = [component.reshape(-1) for component in components] * (3 // len(components))
    rgb = np.empty((3, height * width), np.uint8)
    _transform(flat[0], flat[1], flat[2], matrix, rgb[0], rgb[1], rgb[2])
    target = out[:height, :width]
    planes = list(rgb.reshape(3, height, width))
    if cv2.merge(planes, target) is not target:  # OpenCV made an array of its own, as the rows are laid out oddly
        target[:] = np.stack(planes, axis=-1)


@compiled
def _transform(
    a: NDArray[Any],
    b: NDArray[Any],
    c: NDArray[Any],
    m: NDArray[np.float32],
    red: NDArray[np.uint8],
    green: NDArray[np.uint8],
    blue: NDArray[np.uint8],
) -> None:
    """One affine map for all pixels. Flat arrays and hoisted factors let the compiler use vector instructions."""
    bottom, top, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    r0, r1, r2, r3 = m[0, 0], m[0, 1], m[0, 2], m[0, 3] + half
    g0, g1, g2, g3 = m[1, 0], m[1, 1], m[1, 2], m[1, 3] + half
    b0, b1, b2, b3 = m[2, 0], m[2, 1], m[2, 2], m[2, 3] + half
    for i in range(a.size):
        x, y, z = np.float32(a[i]), np.float32(b[i]), np.float32(c[i])
        red[i] = np.uint8(np.int32(min(max(r0 * x + r1 * y + r2 * z + r3, bottom), top)))
        green[i] = np.uint8(np.int32(min(max(g0 * x + g1 * y + g2 * z + g3, bottom), top)))
        blue[i] = np.uint8(np.int32(min(max(b0 * x + b1 * y + b2 * z + b3, bottom), top)))


def cell_means(view: NDArray[Any], parts: NDArray[np.int64], width: int, height: int) -> NDArray[Any]:
    """`[N,height,width]` of the type of `view`: N parts `[N,4]` of `[h,w]`, each `x1, y1, x2, y2` inside it, in cells,
    each the mean of up to eight samples of two rows of it."""
    means = np.empty((len(parts), height, width), view.dtype)
    _cell_means(view, parts, means)
    return means


@compiled
def _cell_means(view: NDArray[Any], parts: NDArray[np.int64], means: NDArray[Any]) -> None:
    count, height, width = means.shape
    for n in range(count):
        part = view[parts[n, 1] : parts[n, 3], parts[n, 0] : parts[n, 2]]
        for j in range(height):
            for i in range(width):
                means[n, j, i] = _cell_mean(part, j, i, height, width)


@compiled
def _cell_mean(view: NDArray[Any], j: int, i: int, height: int, width: int) -> int:
    rows, columns = view.shape
    top = j * rows // height
    high = max(1, (j + 1) * rows // height - top)
    left = i * columns // width
    right = max(left + 1, (i + 1) * columns // width)
    step = max(1, (right - left) // 8)
    total = count = 0
    for y in (top + high // 4, top + 3 * high // 4):
        for x in range(left + step // 2, right, step):
            total += view[y, x]
            count += 1
    return (total + count // 2) // count


def fill_cells(components: list[NDArray[Any]], matrix: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """What `fill_rgb` makes of the `cell_means` of the components: as many cells as `out` `[height,width,3]` has."""
    a, b, c = components * (3 // len(components))
    _fill_cells(a, b, c, matrix, out)


@compiled
def _fill_cells(
    a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], m: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    bottom, top, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    height, width = out.shape[:2]
    for j in range(height):
        for i in range(width):
            x = np.float32(_cell_mean(a, j, i, height, width))
            y = np.float32(_cell_mean(b, j, i, height, width))
            z = np.float32(_cell_mean(c, j, i, height, width))
            for k in range(3):
                value = m[k, 0] * x + m[k, 1] * y + m[k, 2] * z + (m[k, 3] + half)
                out[j, i, k] = np.uint8(np.int32(min(max(value, bottom), top)))
