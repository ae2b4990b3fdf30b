"""The warp kernel against SciPy in floating point, and against what the product does on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from engine.alignment import ARCFACE_TEMPLATE, SIZE, face_region, invert, shifted, similarity_transform, warp_face
from engine.cuda.kernels import Form, Kernels, Normalisation
from engine.cuda.pictures import Picture
from stream.pictures import region_rgb
from tests.engine.cuda.host import HostModule, address, frame, picture_of


def run(
    kernels: Kernels, picture: Picture, matrices: NDArray[Any], form: Form = "f32", size: int = SIZE, **more: Any
) -> NDArray[np.float64]:
    """What the kernel writes, as float64 `[N,size,size,3]`."""
    count = len(matrices)
    if form == "bytes":
        out = np.full((count, size, size, 3), 77, np.uint8)
    else:
        out = np.full((count, 3, size, size), 77, np.float16 if form == "f16" else np.float32)
    kernels.warp(picture, matrices, address(out), size=size, form=form, **more)
    return out.astype(np.float64) if form == "bytes" else out.transpose(0, 2, 3, 1).astype(np.float64)


def turned(scale: float, angle: float, x: float, y: float) -> NDArray[np.float32]:
    """Picture → crop: (x, y) of the picture goes to the crop's middle, `scale` picture pixels become one."""
    a, b = np.cos(angle) / scale, np.sin(angle) / scale
    m = np.array([[a, -b], [b, a]])
    return np.column_stack([m, SIZE / 2 - m @ (x, y)]).astype(np.float32)


def product(made: Any, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """The crop as `stream.analysis` makes it on a CPU."""
    x1, y1, x2, y2 = face_region(matrix, made.width, made.height)
    if x1 == x2 or y1 == y2:
        return np.zeros((SIZE, SIZE, 3))
    region = region_rgb(made, x1, y1, x2, y2)
    return warp_face(region, shifted(matrix, x1, y1)).astype(np.float64)


def interpolated(rgb: NDArray[np.float64], matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """The crop of a picture in floating point, without halving; black beyond the picture."""
    (a, b, x), (c, d, y) = np.linalg.inv(np.vstack([matrix.astype(np.float64), [0, 0, 1]]))[:2]
    v, u = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    places = [c * u + d * v + y, a * u + b * v + x]
    channels = [map_coordinates(rgb[..., k], places, order=1, mode="grid-constant") for k in range(3)]
    return np.stack(channels, -1)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le"])
def test_exact_where_nothing_is_subsampled(
    pixel_format: str, matrix: str, full_range: bool, kernels: Kernels, module: HostModule
) -> None:
    made = frame(pixel_format, 150, 130, matrix, full_range)
    from stream.planes import PixelLayout

    picture = picture_of(made)
    values = np.stack(PixelLayout.of(pixel_format).views(made), -1).astype(np.float64)
    rgb = np.clip(values @ picture.matrix[:, :3].astype(np.float64).T + picture.matrix[:, 3], 0, 255)
    where = turned(1.1, 0.4, 75, 65)
    np.testing.assert_allclose(run(kernels, picture, where[None])[0], interpolated(rgb, where), atol=0.05)
    assert module.launches[-1] == ("warp_u16_f32" if "10" in pixel_format else "warp_u8_f32")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(0.2, 9),
    st.floats(-np.pi, np.pi),
    st.floats(-60, 700),
    st.floats(-60, 460),
    st.sampled_from(["nv12", "yuv420p10le", "p010le", "yuv422p"]),
)
def test_agrees_with_the_cpu_path_of_the_product(
    kernels: Kernels, scale: float, angle: float, x: float, y: float, pixel_format: str
) -> None:
    """Faces of any size, in and half out of the picture; odd sides. What varies slowly differs by rounding only."""
    made = frame(pixel_format, 641, 403, seed=None)
    matrix = turned(scale, angle, x, y)
    found, expected = run(kernels, picture_of(made), matrix[None], "bytes")[0], product(made, matrix)
    difference = np.abs(found - expected)
    # At the picture's edge OpenCV's 1/32 of a pixel is up to 1/32 of the way to black; elsewhere hardly a level.
    assert np.quantile(difference, 0.9) <= 3
    assert difference.mean() < 1.5
    assert (difference > 12).mean() < 0.005


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("pixel_format", ["nv12", "yuv420p", "p010le"])
def test_noise_agrees_too_where_nothing_is_halved(pixel_format: str, scale: float, kernels: Kernels) -> None:
    made = frame(pixel_format, 320, 240)
    matrix = turned(scale, 0.3, 160, 120)
    difference = np.abs(run(kernels, picture_of(made), matrix[None], "bytes")[0] - product(made, matrix))
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) <= 8


def test_landmarks_come_to_the_template(kernels: Kernels) -> None:
    """A bright square on each landmark of a turned face lies on its place in the crop."""
    made = frame("yuv420p", 640, 480, seed=None)
    landmarks = ARCFACE_TEMPLATE @ np.array([[1.9, 0.8], [-0.8, 1.9]]) + (250, 60)
    from stream.planes import PixelLayout

    y, u, v = PixelLayout.of("yuv420p").views(made)
    y[...], u[...], v[...] = 30, 128, 128
    for px, py in landmarks.round().astype(int):
        y[py - 5 : py + 6, px - 5 : px + 6] = 220
    crop = run(kernels, picture_of(made), similarity_transform(landmarks)[None], "bytes")[0]
    for px, py in ARCFACE_TEMPLATE.round().astype(int):
        assert crop[py, px].min() > 180
        assert crop[py + 8, px].max() < 60


def test_forms_hold_the_same_faces(kernels: Kernels) -> None:
    made = frame("nv12", 320, 240)
    matrices = np.stack([turned(1.2, 0.2, 100, 90), turned(0.7, -1, 300, 20)])
    exact = run(kernels, picture_of(made), matrices)
    np.testing.assert_array_equal(run(kernels, picture_of(made), matrices, "bytes"), np.floor(exact + 0.5))
    to = Normalisation((1 / 127.5,) * 3, (-1.0,) * 3)
    halves = run(kernels, picture_of(made), matrices, "f16", normalisation=to)
    np.testing.assert_allclose(halves, exact / 127.5 - 1, atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 130])
def test_any_number_of_faces(count: int, kernels: Kernels, module: HostModule) -> None:
    made = frame("nv12", 128, 96)
    matrices = np.stack([turned(0.4, 0.1 * k, k % 128, k % 96) for k in range(count + 1)])[:count]
    before = len(module.launches)
    found = run(kernels, picture_of(made), matrices, "bytes", size=12)
    assert len(module.launches) - before == -(-count // 64)
    for k in {0, 63, 64, 127, 129} & set(range(count)):
        np.testing.assert_array_equal(
            found[k], run(kernels, picture_of(made), matrices[k : k + 1], "bytes", size=12)[0]
        )


def test_a_face_outside_is_black(kernels: Kernels) -> None:
    made = frame("nv12", 128, 96)
    matrices = np.stack([turned(1, 0, -500, 50), turned(1, 0, 50, 9000), turned(0.001, 0, 5000, 5000)])
    assert not run(kernels, picture_of(made), matrices).any()


@pytest.mark.parametrize("scale", [0.3, 1.7, 6.0])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (38, 0), (38, 30), (0, 30)])
def test_nothing_beyond_the_planes_is_read(scale: float, x: float, y: float, kernels: Kernels) -> None:
    """Planes of exactly the samples' size, odd sides: a sanitizer's run of this test sees every step too far."""
    rng = np.random.default_rng(5)
    luma, chroma = rng.integers(0, 256, (31, 39), np.uint8), rng.integers(0, 256, (16, 40), np.uint8)
    matrix = picture_of(frame("nv12", 2, 2)).matrix
    picture = Picture.semi_planar(address(luma), 39, address(chroma), 40, 39, 31, matrix)
    found = run(kernels, picture, turned(scale, 0.7, x, y)[None])
    assert found.min() >= 0
    assert found.max() <= 255
    assert found.any()


def test_threads_may_come_in_any_order(cooperating: Kernels, kernels: Kernels) -> None:
    made = frame("nv12", 128, 96)
    matrices = np.stack([turned(1, 0.5, 60, 50), turned(3, 0.1, 60, 50)])
    picture = picture_of(made)
    np.testing.assert_array_equal(
        run(cooperating, picture, matrices, "bytes"), run(kernels, picture, matrices, "bytes")
    )


def test_what_cannot_be_is_refused(kernels: Kernels) -> None:
    picture = picture_of(frame("nv12", 64, 48))
    out = np.empty((1, 112, 112, 3), np.uint8)
    with pytest.raises(ValueError, match="without an inverse"):
        kernels.warp(picture, np.zeros((1, 2, 3)), address(out))
    with pytest.raises(ValueError, match="expected matrices"):
        kernels.warp(picture, np.zeros((2, 3)), address(out))
    with pytest.raises(ValueError, match="multiples of 4"):
        kernels.warp(picture, turned(1, 0, 5, 5)[None], address(out), size=50)


def test_the_way_back_is_the_inverse() -> None:
    """The reference above inverts as the product does."""
    matrix = turned(2.5, 1.1, 40, 60)
    full = np.linalg.inv(np.vstack([matrix.astype(np.float64), [0, 0, 1]]))[:2]
    np.testing.assert_allclose(invert(matrix), full, rtol=1e-5, atol=1e-4)
