"""The letterbox kernel against OpenCV in floating point, and against what the product does on a CPU."""

from __future__ import annotations

import doctest
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.cuda import pictures
from engine.cuda.kernels import Form, Kernels, Normalisation, scaling
from engine.cuda.pictures import Picture, Plane
from engine.letterbox import Letterbox
from engine.letterbox import letterbox as letterbox_rgb
from stream.orientation import upright
from stream.pictures import convert, region_rgb, small_rgb
from tests.engine.cuda.host import HostModule, address, frame, picture_of, plane_of

FORMATS = ["nv12", "nv21", "p010le", "yuv420p", "yuv420p10le", "yuv422p", "yuv444p12le", "yuyv422", "gray", "rgb24"]


def run(
    kernels: Kernels, picture: Picture, box: Letterbox, form: Form = "f32", turns: int = 0, **more: Any
) -> NDArray[np.float64]:
    """What the kernel writes, as float64 `[padded_height,padded_width,3]`; memory is dirty before and after."""
    shape = (box.padded_height, box.padded_width)
    if form == "bytes":
        out = np.full((*shape, 3), 77, np.uint8)
    else:
        out = np.full((3, *shape), 77, np.float16 if form == "f16" else np.float32)
    kernels.letterbox(picture, box, address(out), form=form, turns=turns, **more)
    return out.astype(np.float64) if form == "bytes" else out.transpose(1, 2, 0).astype(np.float64)


def scaled(view: NDArray[Any], width: int, height: int) -> NDArray[np.float32]:
    """A plane scaled as the CPU scales it, without its rounding."""
    values = np.ascontiguousarray(view).astype(np.float32)
    while all(n % 2 == 0 and n >= 2 * m for n, m in zip(values.shape, (height, width), strict=True)):
        values = values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean((1, 3))
    large = values.shape[0] >= 2 * height or values.shape[1] >= 2 * width
    if values.shape != (height, width):
        values = np.asarray(
            cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA if large else cv2.INTER_LINEAR)
        )
    return values.reshape(height, width)


def expected_rgb(made: Any, box: Letterbox, turns: int = 0) -> NDArray[np.float64]:
    """The padded picture in floating point, from OpenCV and NumPy."""
    from stream.planes import PixelLayout

    width, height = (box.inner_height, box.inner_width) if turns % 2 else box.inner
    picture = picture_of(made)
    views = PixelLayout.of(made.format.name).views(made)
    values = np.stack([scaled(view, width, height) for view in (views * 3)[:3]], -1).astype(np.float64)
    matrix = picture.matrix.astype(np.float64)
    rgb = np.clip(values @ matrix[:, :3].T + matrix[:, 3], 0, 255)
    padded = np.zeros((box.padded_height, box.padded_width, 3))
    padded[: box.inner_height, : box.inner_width] = np.rot90(rgb, -turns)
    return padded


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("pixel_format", ["nv12", "p010le", "yuv420p", "yuv420p10le"])
def test_every_matrix_range_and_depth(
    pixel_format: str, matrix: str, full_range: bool, kernels: Kernels, module: HostModule
) -> None:
    made = frame(pixel_format, 130, 74, matrix, full_range)
    box = Letterbox.fit(130, 74, 64)
    found = run(kernels, picture_of(made), box)
    np.testing.assert_allclose(found, expected_rgb(made, box), atol=0.02)
    assert module.launches[-1] == ("letterbox_u16_f32" if "10" in pixel_format else "letterbox_u8_f32")


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_layout(pixel_format: str, kernels: Kernels) -> None:
    made = frame(pixel_format, 96, 64)
    for size in (32, 40, 96, 128):
        box = Letterbox.fit(96, 64, size)
        np.testing.assert_allclose(run(kernels, picture_of(made), box), expected_rgb(made, box), atol=0.02)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([16, 32, 50, 64, 97]),
    st.sampled_from(["nv12", "yuv420p", "p010le"]),
    st.integers(0, 3),
    st.integers(0, 2**16),
)
def test_any_size_and_turn(
    kernels: Kernels, width: int, height: int, size: int, pixel_format: str, turns: int, seed: int
) -> None:
    made = frame(pixel_format, width, height, seed=seed)
    shown = (height, width) if turns % 2 else (width, height)
    box = Letterbox.fit(*shown, size)
    inner = (box.inner_height, box.inner_width) if turns % 2 else box.inner
    found, expected = run(kernels, picture_of(made), box, turns=turns), expected_rgb(made, box, turns)
    narrow = any(
        scaling(p.width, p.height, *inner)[1] and (p.width < inner[0] or p.height < inner[1])
        for p in picture_of(made).planes
    )
    if not narrow:  # enlarged one way and averaged the other: OpenCV has a formula of its own for that
        np.testing.assert_allclose(found, expected, atol=0.03)
    assert not found[box.inner_height :].any()
    assert not found[:, box.inner_width :].any()


@pytest.mark.parametrize("form", ["bytes", "f32"])
@pytest.mark.parametrize(("width", "height"), [(132, 75), (36, 100), (4, 4), (60, 9)])
def test_sides_that_blocks_do_not_divide(width: int, height: int, form: Form, kernels: Kernels) -> None:
    made = frame("nv12", width, height)
    box = Letterbox.fit(width, height, max(width, height), 4)
    assert box.padded_height % 8 or box.padded_width % 32
    # A byte is what is next to the exact value.
    tolerance = 0.53 if form == "bytes" else 0.02
    np.testing.assert_allclose(run(kernels, picture_of(made), box, form), expected_rgb(made, box), atol=tolerance)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize(("width", "height"), [(640, 360), (426, 240), (241, 135), (320, 180), (150, 90)])
@pytest.mark.parametrize("pixel_format", ["nv12", "yuv420p10le"])
def test_agrees_with_the_cpu_path_of_the_product(
    pixel_format: str, width: int, height: int, turns: int, kernels: Kernels
) -> None:
    """Noise is the worst case: the CPU rounds each plane after each step, and a matrix triples what it rounds."""
    made = frame(pixel_format, width, height)
    box = Letterbox.fit(*((height, width) if turns % 2 else (width, height)), 160)
    inner = (box.inner_height, box.inner_width) if turns % 2 else box.inner
    small = np.empty((inner[1], inner[0], 3), np.uint8)
    small_rgb(made, *inner, small)
    expected = np.zeros((box.padded_height, box.padded_width, 3))
    expected[: box.inner_height, : box.inner_width] = upright(small, (0, 90, 180, 270)[turns])
    difference = np.abs(run(kernels, picture_of(made), box, "bytes", turns) - expected)
    assert difference.max() <= 4
    assert difference.mean() < 0.6


def test_agrees_with_the_letterbox_of_photos(kernels: Kernels) -> None:
    """Another filter, the same geometry: what varies slowly comes out the same, and an edge in the same place."""
    made = frame("yuv420p", 960, 540, seed=None)
    box = Letterbox.fit(960, 540, 320)
    photo = letterbox_rgb(region_rgb(made, 0, 0, 960, 540), box)
    difference = np.abs(run(kernels, picture_of(made), box, "bytes") - photo)
    assert difference.max() <= 3


@pytest.mark.parametrize("pixel_format", ["nv12", "p010le"])
def test_forms_hold_the_same_picture(pixel_format: str, kernels: Kernels) -> None:
    made = frame(pixel_format, 190, 110)
    box = Letterbox.fit(190, 110, 100)
    exact = run(kernels, picture_of(made), box)
    np.testing.assert_array_equal(run(kernels, picture_of(made), box, "bytes"), np.floor(exact + 0.5))
    to = Normalisation((1 / 255, 1 / 128, 2.0), (-0.5, 0.25, 0.0))
    scaled_as_asked = exact * np.array(to.scale) + np.array(to.bias)
    np.testing.assert_allclose(
        run(kernels, picture_of(made), box, "f32", normalisation=to), scaled_as_asked, rtol=1e-6, atol=1e-4
    )
    np.testing.assert_allclose(
        run(kernels, picture_of(made), box, "f16", normalisation=to), scaled_as_asked, rtol=1e-3, atol=1e-3
    )


def test_threads_may_come_in_any_order(cooperating: Kernels, kernels: Kernels) -> None:
    made = frame("nv12", 130, 70)
    box = Letterbox.fit(130, 70, 130, 4)
    np.testing.assert_array_equal(
        run(cooperating, picture_of(made), box, "bytes"), run(kernels, picture_of(made), box, "bytes")
    )


@pytest.mark.parametrize("backwards", [False, True])
def test_rows_may_lie_any_distance_apart_and_nothing_beyond_is_read(backwards: bool, kernels: Kernels) -> None:
    """Exactly as much memory as the samples need: a sanitizer's run of this test sees every step too far."""
    rng = np.random.default_rng(3)

    def plane(width: int, height: int, stride: int) -> NDArray[np.uint8]:
        memory = rng.integers(0, 256, (height - 1) * stride + width, np.uint8)
        view = np.lib.stride_tricks.as_strided(memory, (height, width), (stride, 1))
        return view[::-1] if backwards else view

    y, u, v = plane(51, 33, 64), plane(26, 17, 26), plane(26, 17, 40)
    matrix = picture_of(frame("yuv420p", 2, 2)).matrix
    picture = Picture(51, 33, (plane_of(y), plane_of(u, 1, 1), plane_of(v, 1, 1)), matrix)
    made = frame("yuv420p", 51, 33)
    from stream.planes import PixelLayout

    for view, samples in zip(PixelLayout.of("yuv420p").views(made), (y, u, v), strict=True):
        view[...] = samples
    for size in (16, 51, 80):
        box = Letterbox.fit(51, 33, size)
        np.testing.assert_allclose(run(kernels, picture, box), expected_rgb(made, box), atol=0.02)


def test_the_constructor_says_where_samples_lie() -> None:
    for pixel_format in ("nv12", "p010le"):
        made = frame(pixel_format, 75, 41)
        seen = picture_of(made)
        planes = made.planes
        where = [np.frombuffer(plane, np.uint8).ctypes.data for plane in planes]  # type: ignore[call-overload]
        built = Picture.semi_planar(
            where[0], planes[0].line_size, where[1], planes[1].line_size, 75, 41, seen.matrix, seen.sample_bytes
        )
        assert built.planes == seen.planes


def test_the_example_runs() -> None:
    result = doctest.testmod(pictures)
    assert result.attempted > 1
    assert not result.failed


def test_what_cannot_be_is_refused(kernels: Kernels) -> None:
    made = frame("nv12", 64, 48)
    picture = picture_of(made)
    out = np.empty((64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="is not for 64x48"):
        kernels.letterbox(picture, Letterbox.fit(48, 64), address(out))
    with pytest.raises(ValueError, match="is not for 64x48"):
        kernels.letterbox(picture, Letterbox.fit(64, 48), address(out), turns=4)
    with pytest.raises(ValueError, match="multiples of 4"):
        kernels.letterbox(picture, Letterbox.fit(64, 48, 62, 1), address(out))
    with pytest.raises(ValueError, match="multiples of 4"):
        kernels.letterbox(picture, Letterbox.fit(64, 48, 64), address(out) + 1)
    with pytest.raises(ValueError, match="expected a plane"):
        Picture(
            64, 48, (Plane(0, 64, 64, 48), Plane(0, 64, 31, 24, 2, 1, 1), Plane(0, 64, 32, 24, 2, 1, 1)), picture.matrix
        )
    y, u, v = Plane(0, 64, 64, 48), Plane(0, 64, 32, 48, 1, 1, 0), Plane(0, 64, 32, 24, 1, 1, 1)
    with pytest.raises(ValueError, match="of one size"):
        Picture(64, 48, (y, u, v), picture.matrix)
    with pytest.raises(ValueError, match="multiples of 2"):
        Picture.semi_planar(1, 128, 0, 128, 64, 48, picture.matrix, 2)
    with pytest.raises(ValueError, match="sides are"):
        Picture.semi_planar(0, 20_000, 0, 20_000, 20_000, 48, picture.matrix)
    with pytest.raises(ValueError, match="matrix"):
        Picture.semi_planar(0, 64, 0, 64, 64, 48, np.eye(3, dtype=np.float32))


def test_converted_frames_are_read_as_they_are(kernels: Kernels) -> None:
    """NV12 and planar YUV of one picture give one result."""
    planar = frame("yuv420p", 128, 72)
    box = Letterbox.fit(128, 72, 64)
    semi = convert(planar, "nv12")
    np.testing.assert_array_equal(run(kernels, picture_of(planar), box), run(kernels, picture_of(semi), box))
