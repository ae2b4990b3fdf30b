"""The kernels of cells and of sharpness against the CPU's own: the same numbers, bit for bit."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.cuda.kernels import Kernels
from engine.cuda.pictures import Picture
from stream.colours import cell_means, fill_cells
from stream.eyes import sharpness, sharpness_of
from stream.pictures import coarse_rgb
from stream.planes import PixelLayout
from stream.shots import GRID
from tests.engine.cuda.host import HostModule, address, frame, picture_of

FORMATS = ["nv12", "yuv420p", "p010le", "yuv422p10le", "yuv444p", "rgb24", "gray"]


def cells_of(view: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """All of `view` in `[height,width]` cells, by the CPU."""
    return np.asarray(cell_means(view, np.array([[0, 0, *view.shape[::-1]]]), width, height)[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(FORMATS),
    st.integers(1, 300),
    st.integers(1, 200),
    st.integers(1, 40),
    st.integers(1, 20),
)
def test_cells_are_those_of_the_cpu(
    kernels: Kernels, pixel_format: str, width: int, height: int, columns: int, rows: int
) -> None:
    made = frame(pixel_format, width, height)
    samples = np.uint8 if PixelLayout.of(pixel_format).bits == 8 else np.uint16
    out = np.full((3, rows, columns), 7, samples)
    kernels.cells(picture_of(made), columns, rows, address(out))
    views = PixelLayout.of(pixel_format).views(made)
    for found, view in zip(out, views * (3 // len(views)), strict=True):
        np.testing.assert_array_equal(found, cells_of(view, columns, rows))


@pytest.mark.parametrize("pixel_format", ["nv12", "p010le"])
def test_shots_are_told_apart_by_the_same_picture(pixel_format: str, kernels: Kernels) -> None:
    made = frame(pixel_format, 641, 363)
    picture = picture_of(made)
    width, height = GRID
    out = np.empty((3, height, width), np.uint8 if pixel_format == "nv12" else np.uint16)
    kernels.cells(picture, width, height, address(out))
    rgb = np.empty((height, width, 3), np.uint8)
    fill_cells(list(out), picture.matrix, rgb)
    np.testing.assert_array_equal(rgb, coarse_rgb(made, width, height))


def test_a_field_is_every_second_row(kernels: Kernels) -> None:
    """Planes of exactly the samples' size, of which the last row belongs to the field."""
    rng = np.random.default_rng(3)
    luma, chroma = rng.integers(0, 256, (11, 16), np.uint8), rng.integers(0, 256, (6, 16), np.uint8)
    whole = Picture.semi_planar(address(luma), 16, address(chroma), 16, 16, 11, np.eye(3, 4, dtype=np.float32))
    field = whole.field()
    assert (field.width, field.height) == (16, 6)
    out = np.empty((3, 3, 4), np.uint8)
    kernels.cells(field, 4, 3, address(out))
    parts = (luma[::2], chroma[::2, ::2], chroma[::2, 1::2])
    for found, view in zip(out, parts, strict=True):
        np.testing.assert_array_equal(found, cells_of(view, 4, 3))


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("place", [(0, 0, 97, 63), (30, 10, 70, 50), (31, 11, 72, 52), (95, 61, 97, 63)])
def test_a_part_is_what_lies_there(place: tuple[int, int, int, int], pixel_format: str, kernels: Kernels) -> None:
    """Its samples of full size; those that share pixels begin with the one that the first pixel has."""
    left, top, right, bottom = place
    made = frame(pixel_format, 97, 63)
    layout = PixelLayout.of(pixel_format)
    part = picture_of(made).part(left, top, right, bottom)
    assert (part.width, part.height) == (right - left, bottom - top)
    out = np.empty((3, 16, 16), np.uint8 if layout.bits == 8 else np.uint16)
    kernels.cells(part, 16, 16, address(out))
    views = layout.views(made)
    for found, view, component in zip(
        out, views * (3 // len(views)), layout.components * (3 // len(views)), strict=True
    ):
        x, y = left >> component.shift_x, top >> component.shift_y
        wide, high = -(-(right - left) >> component.shift_x), -(-(bottom - top) >> component.shift_y)
        np.testing.assert_array_equal(found, cells_of(view[y : y + high, x : x + wide], 16, 16))


def test_sharpness_is_that_of_the_cpu(cooperating: Kernels) -> None:
    rng = np.random.default_rng(4)
    crops = rng.integers(0, 256, (5, 112, 112, 3), np.uint8)
    crops[1] = 90
    crops[2] = np.arange(112, dtype=np.uint8)[:, None, None]
    crops[3] //= 24
    out = np.full(5, -7, np.float32)
    cooperating.sharpness(address(crops), 5, address(out))
    assert out[1] == 0
    for crop, variance in zip(crops, out.tolist(), strict=True):
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        assert variance == pytest.approx(float(cv2.Laplacian(grey, cv2.CV_64F).var()), rel=1e-6)
        assert sharpness_of(variance) == pytest.approx(sharpness(crop), rel=1e-5)
    assert 0.1 < sharpness_of(float(out[3])) < 1, "one of them tells more than the bounds"


def test_no_crops_are_no_launch(kernels: Kernels, module: HostModule) -> None:
    before = len(module.launches)
    kernels.sharpness(0, 0, 0)
    assert len(module.launches) == before
