"""Pictures to draw on, to look at, and to cut faces from."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Interpolation
from numpy.typing import NDArray

from engine.alignment import face_region
from stream.eyes import cut_square
from stream.frames import VideoInfo
from stream.pictures import convert, region_rgb, small_rgb, writable
from stream.planes import PixelLayout, matrix_of
from stream.source import FileSource
from tests.stream.media import Video, write

SWS = {1: 1, 2: None, 5: 5, 6: 5, 7: 7, 9: 9}
PRECISE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
PRECISE |= Interpolation.FULL_CHR_H_INP


def smooth(width: int, height: int, blob: int = 8) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(1).integers(0, 255, (height // blob + 2, width // blob + 2, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def painted(
    pixel_format: str, matrix: int, full: bool, width: int = 64, height: int = 48, blob: int = 8
) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(smooth(width, height, blob), "rgb24")
    made = frame.reformat(format=pixel_format, dst_colorspace=SWS[matrix], dst_color_range=2 if full else 1)
    made.colorspace, made.color_range = matrix, 2 if full else 1
    return made


def whole(frame: av.VideoFrame) -> NDArray[np.int64]:
    """The reference: swscale on the whole frame, at its most careful."""
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=SWS.get(matrix_of(frame)),
        dst_color_range=ColorRange.JPEG,
        interpolation=PRECISE,
    )
    return rgb.to_ndarray().astype(np.int64)


YUV = [
    "yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv420p10le", "yuv422p10le", "yuv444p10le",
    "yuv420p12le", "yuv444p16le", "nv12", "nv21", "p010le", "yuyv422", "uyvy422", "yuva420p", "yuv420p10be",
]  # fmt: skip


@pytest.mark.parametrize("pixel_format", YUV)
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9, 2])
@pytest.mark.parametrize("full", [False, True])
def test_region_is_the_whole_conversion_cut_out(pixel_format: str, matrix: int, full: bool) -> None:
    frame = painted(pixel_format, matrix, full)
    reference = whole(frame)
    for x0, y0, x1, y1 in ((0, 0, 64, 48), (5, 3, 41, 40), (17, 11, 18, 12), (40, 21, 64, 48)):
        region = region_rgb(frame, x0, y0, x1, y1)
        assert region.dtype == np.uint8
        assert region.shape == (y1 - y0, x1 - x0, 3)
        off = np.abs(region - reference[y0:y1, x0:x1])
        # Packed and big-endian formats go through swscale, whose chroma differs a little at borders.
        assert off.max() <= (8 if pixel_format.endswith("be") else 3)
        assert off.mean() < 1.5


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "gbrp", "gbrp10le", "rgb24", "bgra", "rgb48le"])
def test_region_of_grey_and_rgb(pixel_format: str) -> None:
    frame = av.VideoFrame.from_ndarray(smooth(64, 48), "rgb24").reformat(format=pixel_format)
    reference = frame.reformat(format="rgb24").to_ndarray().astype(int)
    assert np.abs(region_rgb(frame, 3, 5, 50, 40) - reference[5:40, 3:50]).max() <= 1


def test_odd_sizes_have_their_last_row_and_column() -> None:
    """The same samples in a picture one row and one column smaller mean the same colours."""
    even = painted("yuv420p", 1, False, 54, 32)
    odd = av.VideoFrame(53, 31, "yuv420p")
    odd.colorspace, odd.color_range = even.colorspace, even.color_range
    for small, large in zip(PixelLayout.of("yuv420p").views(odd), PixelLayout.of("yuv420p").views(even), strict=True):
        small[:] = large[: small.shape[0], : small.shape[1]]
    assert np.array_equal(region_rgb(odd, 0, 0, 53, 31), region_rgb(even, 0, 0, 53, 31))
    assert np.array_equal(region_rgb(odd, 41, 21, 53, 31), region_rgb(even, 41, 21, 53, 31))


@pytest.mark.parametrize("bounds", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 65, 5), (10, 10, 5, 20)])
def test_region_outside_the_picture_is_an_error(bounds: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="region"):
        region_rgb(painted("yuv420p", 1, False), *bounds)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le", "nv12", "gbrp", "yuv422p"])
@pytest.mark.parametrize(("matrix", "full"), [(1, False), (6, False), (9, False), (1, True)])
def test_small_rgb_has_honest_colours(pixel_format: str, matrix: int, full: bool) -> None:
    """Against an area average of the whole frame; a wrong matrix or range would be off by tens."""
    if pixel_format == "gbrp":
        frame = av.VideoFrame.from_ndarray(smooth(256, 128, 32), "rgb24").reformat(format="gbrp")
        reference = frame.reformat(format="rgb24").to_ndarray()
    else:
        frame = painted(pixel_format, matrix, full, 256, 128, 32)
        reference = whole(frame).astype(np.uint8)
    out = np.full((72, 130, 3), 7, np.uint8)
    small_rgb(frame, 128, 64, out)
    wanted = cv2.resize(reference, (128, 64), interpolation=cv2.INTER_AREA).astype(int)
    off = np.abs(out[:64, :128] - wanted)
    assert off.mean() < 1.5
    assert np.percentile(off, 99) <= 8
    assert (out[64:] == 7).all()  # padding is the caller's
    assert (out[:, 128:] == 7).all()


def test_small_rgb_of_any_ratio() -> None:
    frame = painted("yuv420p", 1, False, 854, 480, 40)
    reference = whole(frame).astype(np.uint8)
    for width, height in ((640, 360), (854, 480), (320, 179), (100, 56), (1000, 562)):
        out = np.zeros((height, width, 3), np.uint8)
        small_rgb(frame, width, height, out)
        how = cv2.INTER_AREA if width < 854 else cv2.INTER_LINEAR
        assert np.abs(out - cv2.resize(reference, (width, height), interpolation=how).astype(int)).mean() < 2


def draw(picture: av.VideoFrame) -> None:
    for plane in picture.planes:
        np.frombuffer(plane, np.uint8)[:] = 0  # type: ignore[call-overload]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "mpeg4", "libvpx-vp9"])
def test_drawing_does_not_reach_later_frames(tmp_path: Path, codec: str) -> None:
    options = {
        "libx264": {"preset": "medium", "bf": "3", "refs": "4"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
        "libsvtav1": {"preset": "10"},
        "mpeg4": {"bf": "2"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    }[codec]
    path = write(tmp_path / "a.mkv", Video(frames=24, codec=codec, options=options, width=64, height=64))
    wanted = [f.picture.to_ndarray() for f in FileSource(path, 1).frames()]
    for threads in (1, 3):
        for i, frame in enumerate(FileSource(path, threads).frames()):
            assert np.array_equal(frame.picture.to_ndarray(), wanted[i])
            picture = writable(frame.picture)
            draw(picture)
            assert not picture.to_ndarray().any()


def test_without_a_writable_copy_later_frames_would_suffer(tmp_path: Path) -> None:
    """The fault that `writable` cures is real."""
    path = write(tmp_path / "a.mkv", Video(frames=24, options={"preset": "medium", "bf": "0"}))
    wanted = [f.picture.to_ndarray() for f in FileSource(path, 1).frames()]
    harmed = 0
    for i, frame in enumerate(FileSource(path, 1).frames()):
        harmed += not np.array_equal(frame.picture.to_ndarray(), wanted[i])
        draw(frame.picture)
    assert harmed


def test_a_writable_copy_keeps_all_that_belongs_to_the_frame(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp4",
        Video(frames=8, interlaced="tt", colour=(1, 9, 16, 9), rotation=90, options={"preset": "ultrafast"}),
    )
    for frame in FileSource(path, 1).frames():
        before = frame.picture
        kept = (before.pts, before.time_base, before.duration, before.interlaced_frame, before.rotation)
        colour = (before.color_range, before.color_primaries, before.color_trc, before.colorspace)
        after = writable(before)
        assert (after.pts, after.time_base, after.duration, after.interlaced_frame, after.rotation) == kept
        assert (after.color_range, after.color_primaries, after.color_trc, after.colorspace) == colour
        assert after.interlaced_frame
        assert after.rotation == 90


def test_writable_in_another_format() -> None:
    frame = painted("gbrp", 2, True)
    frame.pts, frame.time_base = 77, Fraction(1, 1000)
    made = writable(frame, "yuv444p")
    assert (made.format.name, made.pts, made.time_base) == ("yuv444p", 77, Fraction(1, 1000))
    assert (made.colorspace, made.color_range) == (1, 1)
    assert np.abs(region_rgb(made, 0, 0, 64, 48) - region_rgb(frame, 0, 0, 64, 48).astype(int)).max() <= 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9, 2])
def test_conversion_keeps_what_the_numbers_mean(matrix: int, full: bool) -> None:
    frame = painted("yuv420p", matrix, full)
    made = convert(frame, "yuv444p")
    assert (made.colorspace, made.color_range) == (matrix, 2 if full else 1)
    same = np.frombuffer(made.planes[0], np.uint8).reshape(48, -1)[:, :64]  # type: ignore[call-overload]
    assert np.abs(same.astype(int) - frame.to_ndarray()[:48, :64]).max() <= 1
    assert convert(made, "yuv444p") is made


def test_a_square_that_one_row_of_an_interlaced_picture_lies_in_is_cut_too() -> None:
    info = VideoInfo("tape.mkv", 64, 48, 0, Fraction(1, 25), None, None, "yuv420p", interlaced=True)
    picture = av.VideoFrame.from_ndarray(np.full((72, 64), 128, np.uint8), "yuv420p")
    matrix = np.array([[1, 0, 0], [0, 1, -49.5]], np.float32)  # its margin reaches the last row, which is odd
    assert face_region(matrix, 64, 48, 112)[1::2] == (47, 48)
    out = np.full((112, 112, 3), 7, np.uint8)
    cut_square(picture, matrix, info, out)
    assert not (out == 7).any()
