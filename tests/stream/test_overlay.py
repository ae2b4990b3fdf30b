"""What is drawn lies where the record says, in every pixel format, orientation and range."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.errors import InputError
from stream.frames import Face, Rotation, VideoInfo
from stream.glyphs import Glyphs
from stream.overlay import (
    Label,
    Outline,
    Overlay,
    Rect,
    draw_rgb,
    marks,
    pixel_box,
    stored_rect,
    text_size_of,
    thickness_of,
)
from stream.styles import Marks, Style, Unknown

FORMATS = [
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "yuv440p",
    "yuv411p",
    "yuv410p",
    "yuva420p",
    "nv12",
    "nv21",
    "nv16",
    "yuyv422",
    "uyvy422",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p12le",
    "yuv420p16le",
    "p010le",
    "p210le",
    "y210le",
    "gbrp",
    "gbrp10le",
    "rgb24",
    "bgr24",
    "rgba",
    "bgra",
    "rgb0",
    "argb",
    "rgb48le",
]
GRAY = ["gray", "gray10le", "ya8"]
ROTATIONS: list[Rotation] = [0, 90, 180, 270]
GLYPHS = Glyphs()


def face(box: tuple[float, float, float, float], name: str | None = "유리", track: int = 0) -> Face:
    return Face(track, np.array(box, np.float32), 0.9, np.zeros((5, 2), np.float32), name, 0.6 if name else None)


def info(width: int, height: int, rotation: Rotation = 0, pixel_format: str = "yuv420p") -> VideoInfo:
    return VideoInfo("v.mp4", width, height, rotation, Fraction(1, 25), None, None, pixel_format)


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """A smooth greenish picture without a trace of red."""
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 20 * x / width, 110 + 60 * y / height, 90 + 50 * x / width], -1).astype(np.uint8)


def picture(rgb: NDArray[np.uint8], fmt: str, matrix: str = "ITU709", full: bool = False) -> av.VideoFrame:
    """A stored frame that says which matrix and range it has."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    is_rgb = av.VideoFormat(fmt, 16, 16).is_rgb
    wanted = "JPEG" if full or is_rgb or fmt.startswith("yuvj") else "MPEG"
    made = frame.reformat(
        format=fmt,
        dst_colorspace=None if is_rgb else matrix,
        src_color_range="JPEG",
        dst_color_range=wanted,
        interpolation="AREA",
    )
    made.colorspace = 0 if is_rgb else {"ITU709": 1, "ITU601": 6, "BT2020": 9}[matrix]
    made.color_range = 2 if wanted == "JPEG" else 1
    return made


def shown(frame: av.VideoFrame, rotation: Rotation = 0) -> NDArray[np.int16]:
    """The frame as a player shows it, converted by FFmpeg and not by us."""
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=None if frame.format.is_rgb else frame.colorspace,
        src_color_range=frame.color_range,
        dst_color_range="JPEG",
        interpolation="POINT",
    )
    return np.rot90(rgb.to_ndarray(), -(rotation // 90)).astype(np.int16)


def redness(rgb: NDArray[np.int16]) -> NDArray[np.int16]:
    return rgb[..., 0] - np.maximum(rgb[..., 1], rgb[..., 2])


def ring(rect: Rect, thickness: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Reference outline, made another way: the box minus the box without its rim."""
    mask = np.zeros(shape, bool)
    mask[rect.top : rect.bottom, rect.left : rect.right] = True
    mask[rect.top + thickness : rect.bottom - thickness, rect.left + thickness : rect.right - thickness] = False
    return mask


@pytest.mark.parametrize(
    ("fmt", "rotation"),
    [(fmt, 0) for fmt in FORMATS]
    + [(fmt, r) for fmt in ("yuv420p", "yuv422p10le", "nv12", "yuyv422", "rgb24") for r in ROTATIONS[1:]],
)
def test_red_edges_stand_where_the_record_says(fmt: str, rotation: Rotation) -> None:
    coded = scene(256, 192)
    frame = picture(coded, fmt)
    overlay = Overlay(info(256, 192, rotation, fmt))
    width, height = (192, 256) if rotation in (90, 270) else (256, 192)
    before = shown(frame, rotation)
    box = (40.0, 88.0, 120.0, 168.0)  # on a 4 x 4 grid, so that every chroma grid fits
    overlay.draw(frame, [face(box)])
    after = shown(frame, rotation)

    rect = Rect(40, 88, 120, 168)
    edge = ring(rect, 2, (height, width))
    label = next(m for m in marks([face(box)], width, height, overlay.glyphs) if isinstance(m, Label))
    halo = np.zeros_like(edge)  # chroma of the 2-px stroke is shared with its neighbours
    reach = {"yuv410p": 4, "yuv411p": 4}.get(fmt, 2)
    for r in (rect, label.rect):
        halo[max(0, r.top - reach) : r.bottom + reach, max(0, r.left - reach) : r.right + reach] = True
    inside = np.zeros_like(edge)
    inside[rect.top + 8 : rect.bottom - 8, rect.left + 8 : rect.right - 8] = True
    untouched = ~halo | inside
    np.testing.assert_array_equal(after[untouched], before[untouched])
    outer = ring(rect, 2, (height, width))
    assert redness(after)[outer].min() > (60 if fmt in ("yuv410p", "yuv411p") else 200)
    assert redness(before).max() < 0


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "nv12", "yuv410p"])
def test_luma_edges_are_exact_at_odd_positions_and_chroma_is_shared_by_area(fmt: str) -> None:
    frame = picture(scene(101, 97), fmt)
    unit = 4 if fmt.endswith("10le") else 1
    planes = [np.array(v, np.int64) for v in _planes(frame)]
    overlay = Overlay(info(101, 97))
    faces = [face((11, 31, 100.6, 96.5), "A"), face((1, 1, 1.2, 9), "nobody")]
    overlay.draw(frame, faces)
    drawn = [np.array(v, np.int64) for v in _planes(frame)]

    # Reference: opaque masks at full resolution, then the mean over each chroma cell.
    red = np.zeros((97, 101))
    text = np.zeros((97, 101))
    for mark in marks(faces, 101, 97, overlay.glyphs):
        r = mark.rect
        if isinstance(mark, Outline):
            red[ring(r, mark.thickness, red.shape)] = 1
        else:
            red[r.top : r.bottom, r.left : r.right] = 1
            text[r.top : r.bottom, r.left : r.right] = mark.mask / 255
    values = [(63, 235), (102, 128), (240, 128)]  # red and white in BT.709, limited range, 8 bit
    for plane, was, (of_red, of_white) in zip(drawn, planes, values, strict=True):
        fy, fx = -(-97 // plane.shape[0]), -(-101 // plane.shape[1])
        expected = _cells(red * (1 - text), fy, fx) * of_red * unit + _cells(text, fy, fx) * of_white * unit
        expected += (1 - _cells(red, fy, fx)) * was
        # Two marks that meet in one cell are laid on one after the other, so that cell may differ.
        off = np.abs(plane - expected) > 1.01 + 1.5 * (unit > 1)  # the reference rounds at 8 bit
        assert off.mean() < 0.01, (fmt, plane.shape)
        if plane.shape == (97, 101):
            assert not off.any()
        untouched = _cells(red, fy, fx) == 0
        np.testing.assert_array_equal(plane[untouched], was[untouched])


def _planes(frame: av.VideoFrame) -> list[NDArray[np.generic]]:
    """Y, U, V through PyAV's buffers, without the project's own reading of formats."""
    kind = "u2" if frame.format.components[0].bits > 8 else "u1"
    found = [np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1) for plane in frame.planes]
    if frame.format.name == "nv12":
        chroma = found[1]
        width = frame.planes[1].width
        return [found[0][:, : frame.width], chroma[:, 0 : 2 * width : 2], chroma[:, 1 : 2 * width : 2]]
    return [rows[:, : plane.width] for rows, plane in zip(found, frame.planes, strict=True)]


def _cells(mask: NDArray[np.float64], fy: int, fx: int) -> NDArray[np.float64]:
    """Mean over cells of fy x fx, the last ones cut off by the picture's rim."""
    height, width = mask.shape
    rows, columns = range(0, height, fy), range(0, width, fx)

    def sums(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(of, rows, 0), columns, 1)

    return sums(mask) / sums(np.ones_like(mask))


@pytest.mark.parametrize("matrix", ["ITU601", "ITU709", "BT2020"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("fmt", ["yuv444p", "yuv444p10le", "yuv420p12le"])
def test_the_red_is_pure_in_every_matrix_and_range(matrix: str, full: bool, fmt: str) -> None:
    frame = picture(scene(128, 128), fmt, "ITU709", full)
    frame.colorspace = {"ITU601": 6, "ITU709": 1, "BT2020": 9}[matrix]
    Overlay(info(128, 128)).draw(frame, [face((20, 60, 90, 120), None), face((20, 60, 100, 120), "A")])
    edge = shown(frame)[70:110, 20:22].reshape(-1, 3)
    assert np.abs(edge - [255, 0, 0]).max() <= 4


def test_a_frame_that_says_no_matrix_is_read_as_players_do() -> None:
    values = []
    for width, height in ((1280, 720), (720, 576), (720, 480)):
        frame = av.VideoFrame(width, height, "yuv444p")
        assert frame.colorspace == 2
        Overlay(info(width, height)).draw(frame, [face((100, 100, 200, 200), "A")])
        values.append([int(v[150, 100]) for v in _planes(frame)])
    assert values == [[63, 102, 240], [81, 90, 240], [81, 90, 240]]


@pytest.mark.parametrize(("transfer", "luma"), [(16, 64 + 876 * 0.58 * 0.2627), (18, 64 + 876 * 0.75 * 0.2627)])
def test_hdr_frames_get_red_at_graphics_white_not_at_full_signal(transfer: int, luma: float) -> None:
    frame = av.VideoFrame(320, 240, "yuv420p10le")
    frame.colorspace, frame.color_trc, frame.color_range = 9, transfer, 1
    Overlay(info(320, 240)).draw(frame, [face((100, 100, 200, 200), "A")])
    assert abs(int(_planes(frame)[0][150, 100]) - luma) < 1


@pytest.mark.parametrize("fmt", GRAY)
def test_grey_pictures_can_be_drawn_on(fmt: str) -> None:
    frame = picture(scene(128, 128), fmt)
    frame.color_range = 2
    Overlay(info(128, 128)).draw(frame, [face((20, 60, 90, 120), "A")])
    grey = frame.reformat(format="gray", src_color_range="JPEG", dst_color_range="JPEG").to_ndarray()
    assert np.abs(grey[70:110, 20:22].astype(int) - 54).max() <= 1


def typeset(name: str, size: int) -> NDArray[np.uint8]:
    """The name as OpenCV sets it, white on black, without a margin."""
    canvas = np.zeros((3 * size, 12 * size), np.uint8)
    cv2.putText(canvas, name, (size, 2 * size), (255,), cv2.FontFace("sans"), size, 600)
    rows, columns = np.flatnonzero(canvas.any(1)), np.flatnonzero(canvas.any(0))
    return canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize("name", ["유리", "さくら", "Юрий", "Ann-Marie"])
@pytest.mark.parametrize(("fmt", "rotation"), [("yuv420p", 0), ("yuv420p10le", 90), ("p010le", 180), ("rgb24", 270)])
def test_the_name_can_be_read_off_the_picture(fmt: str, rotation: Rotation, name: str) -> None:
    """Cross-correlation with the name set by OpenCV directly finds it at the label, and prefers it to other names."""
    frame = picture(scene(480, 360), fmt)
    overlay = Overlay(info(480, 360, rotation, fmt))
    width, height = (360, 480) if rotation in (90, 270) else (480, 360)
    box = (101.0, 151.0, 203.0, 255.0)
    overlay.draw(frame, [face(box, name)])
    rgb = shown(frame, rotation)
    green = np.clip(rgb[..., 1], 0, 255).astype(np.uint8)  # white text stands out of the red plate in green
    scores = {}
    for other in ("유리", "さくら", "Юрий", "Ann-Marie"):
        template = typeset(other, text_size_of(width, height))
        response = cv2.matchTemplate(green, template, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(response)
        scores[other] = best, x, y
    best, x, y = scores[name]
    assert best > 0.85
    assert best > max(score for other, (score, _, _) in scores.items() if other != name) + 0.15
    label = next(m for m in marks([face(box, name)], width, height, overlay.glyphs) if isinstance(m, Label))
    assert label.rect.left - 3 <= x <= label.rect.right
    assert label.rect.top - 6 <= y <= label.rect.bottom
    assert label.rect.bottom == 151  # it stands on the box


@pytest.mark.parametrize(("encoder", "fmt"), [("libx264", "yuv420p"), ("libx265", "yuv420p10le")])
def test_edges_and_names_survive_an_encoder_and_a_decoder(tmp_path: Path, encoder: str, fmt: str) -> None:
    path = tmp_path / "drawn.mp4"
    overlay = Overlay(info(640, 480))
    boxes = [(41.0 + 4 * i, 161.0 + 2 * i, 221.0 + 4 * i, 361.0 + 2 * i) for i in range(6)]
    with av.open(path, "w") as out:
        stream: Any = out.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, fmt
        stream.options = {"crf": "23", "preset": "veryfast", "x265-params": "log-level=none"}
        stream.codec_context.colorspace = 1
        for i, box in enumerate(boxes):
            frame = picture(scene(640, 480), fmt)
            overlay.draw(frame, [face(box)])
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    name, other = typeset("유리", text_size_of(640, 480)), typeset("최예나", text_size_of(640, 480))
    with av.open(path) as source:
        for box, frame in zip(boxes, source.decode(video=0), strict=True):
            rgb = shown(frame)
            red = redness(rgb) > 30
            columns, rows = np.flatnonzero(red[240:320].any(0)), np.flatnonzero(red.any(1))
            assert abs(columns[0] - box[0]) <= 1
            assert abs(columns[-1] + 1 - box[2]) <= 1
            assert abs(rows[-1] + 1 - box[3]) <= 1
            green = np.clip(rgb[..., 1], 0, 255).astype(np.uint8)
            _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(green, name, cv2.TM_CCOEFF_NORMED))
            _, wrong, _, _ = cv2.minMaxLoc(cv2.matchTemplate(green, other, cv2.TM_CCOEFF_NORMED))
            assert score > max(0.8, wrong + 0.15)
            assert box[0] <= x <= box[0] + 12
            assert box[1] - 28 <= y <= box[1]


def test_frames_that_the_decoder_still_needs_are_not_spoiled(tmp_path: Path) -> None:
    """Drawing on a reference frame would smear the red over the frames predicted from it."""
    path = tmp_path / "moving.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(np.roll(scene(320, 240), 3 * i, 1), format="rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode())
    with av.open(path) as source:
        clean = [f.to_ndarray(format="rgb24") for f in source.decode(video=0)]
    overlay = Overlay(info(320, 240))
    with av.open(path) as source:
        for i, frame in enumerate(source.decode(video=0)):
            if i % 2 == 0:
                overlay.draw(frame, [face((40, 60, 280, 200))])
            else:
                np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), clean[i])


def test_nothing_to_draw_touches_nothing() -> None:
    frame = picture(scene(160, 120), "yuv420p")
    before = [bytes(p) for p in frame.planes]
    outside = [face((-50, -50, -5, -5)), face((160, 0, 200, 50)), face((10, 10, 10, 40)), face((30, 20, 20, 40))]
    Overlay(info(160, 120)).draw(frame, [*outside, face((10, 10, 60, 60), None)])
    assert [bytes(p) for p in frame.planes] == before


def test_unknown_people_are_drawn_only_where_asked() -> None:
    frame = picture(scene(480, 480), "yuv444p")
    Overlay(info(480, 480), unknown="box").draw(frame, [face((100, 200, 300, 400), None)])
    rgb = shown(frame)
    assert np.ptp(rgb[200:400, 100:103], axis=-1).max() < 8  # no colour
    assert rgb[300, 100:102].min() > 150
    assert (redness(rgb) < 40).all()


@pytest.mark.parametrize("ground", [0, 90, 178, 255])
@pytest.mark.parametrize("style", ["boxes", "corners"])
def test_the_box_of_an_unknown_person_shows_on_any_ground(ground: int, style: Marks) -> None:
    rgb = np.full((240, 320, 3), ground, np.uint8)
    draw_rgb(rgb, [face((100, 60, 200, 180), None)], unknown="box", style=Style(style))
    apart = abs(rgb[60:180, 100:200].astype(int) - ground).max(axis=-1)
    assert apart[:, :3].max(axis=1)[3:20].min() > 60  # every row of the left stroke, near its corner
    assert apart[:3].max(axis=0)[3:20].min() > 60
    assert apart[20:-20, 20:-20].max() == 0


def test_a_fixed_part_of_the_record_and_no_name_in_it_draws_no_label() -> None:
    found = marks([face((100, 100, 150, 150), None)], 640, 360, GLYPHS, "box")
    assert [type(m) for m in found] == [Outline, Outline]
    assert marks([face((100, 100, 150, 150), None)], 640, 360, GLYPHS) == []


def test_strokes_and_names_grow_with_the_picture() -> None:
    assert [thickness_of(*s) for s in ((64, 64), (640, 360), (1280, 720), (1920, 1080), (3840, 2160))] == [
        2,
        2,
        3,
        4,
        9,
    ]
    assert [text_size_of(*s) for s in ((64, 64), (640, 360), (1280, 720), (1080, 1920))] == [12, 12, 24, 36]


@given(
    st.lists(
        st.tuples(*[st.floats(-300, 900, width=32) for _ in range(4)], st.sampled_from(["유리", "x" * 60, None])),
        max_size=8,
    ),
    st.integers(1, 400),
    st.integers(1, 300),
    st.sampled_from(ROTATIONS),
    st.sampled_from(["none", "box"]),
    st.sampled_from(["yuv420p", "yuv410p", "yuv422p10le"]),
)
@settings(max_examples=60, deadline=None)
def test_any_box_on_any_size_stays_inside(
    given_faces: list[tuple[float, float, float, float, str | None]],
    width: int,
    height: int,
    rotation: Rotation,
    unknown: Unknown,
    fmt: str,
) -> None:
    frame = av.VideoFrame(width, height, fmt)
    faces = [face((a, b, c, d), name) for a, b, c, d, name in given_faces]
    shown_size = (height, width) if rotation in (90, 270) else (width, height)
    for mark in marks(faces, *shown_size, GLYPHS, unknown):
        left, top, right, bottom = mark.rect
        assert 0 <= left < right <= shown_size[0]
        assert 0 <= top < bottom <= shown_size[1]
        assert isinstance(mark, Outline) or mark.mask.shape == (bottom - top, right - left)
    Overlay(info(width, height, rotation, fmt), unknown=unknown).draw(frame, faces)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_stored_rect_is_where_numpy_turns_the_picture(rotation: Rotation) -> None:
    stored = np.zeros((40, 60), np.uint8)
    width, height = (40, 60) if rotation in (90, 270) else (60, 40)
    rect = stored_rect(Rect(3, 5, 17, 30), rotation, width, height)
    stored[rect.top : rect.bottom, rect.left : rect.right] = 1
    display = np.rot90(stored, -(rotation // 90))
    expected = np.zeros((height, width), np.uint8)
    expected[5:30, 3:17] = 1
    np.testing.assert_array_equal(display, expected)


def labels_of(*faces: Face, width: int = 640, height: int = 360) -> list[Rect]:
    return [m.rect for m in marks(faces, width, height, GLYPHS) if isinstance(m, Label)]


def test_labels_stand_above_or_below_or_inside() -> None:
    (above,) = labels_of(face((100, 100, 180, 200)))
    assert (above.left, above.bottom) == (100, 100)
    (below,) = labels_of(face((100, 3, 180, 200)))
    assert (below.left, below.top) == (100, 200)
    (inside,) = labels_of(face((100, 3, 180, 358)))
    assert (inside.left, inside.top) == (100, 3)
    (moved,) = labels_of(face((630, 100, 640, 200), "a long name"))
    assert moved.right == 640


def test_labels_do_not_jump() -> None:
    """A face that moves up and down by a pixel where the room above it just ends, and one that is passed by another."""
    room = labels_of(face((100, 200, 180, 300)))[0]
    high = room.bottom - room.top

    def sides(frames: Sequence[Sequence[Face]], start: Mapping[str, int] | None = None) -> list[int]:
        """Of A's label on each frame."""
        found, before = [], start or {}
        for faces in frames:
            labels = [m for m in marks(faces, 640, 360, GLYPHS, sides=before) if isinstance(m, Label)]
            before = {label.name: label.side for label in labels}
            found.append(before["A"])
        return found

    trembling = [[face((100, high + (-1) ** i, 180, 200), "A")] for i in range(10)]
    assert sides(trembling) == [0] + [2] * 9
    near = [[face((100, high + (-1) ** i, 180, 359), "A")] for i in range(10)]  # no room below either
    assert sides(near) == [0] + [4] * 9
    assert sides([[face((100, 2 * high, 180, 359), "A")]], {"A": 4}) == [0], "room to spare again"
    passing = [[face((100, 100, 180, 200), "A"), face((40 * i - 100, 60, 40 * i - 30, 99), "B")] for i in range(10)]
    assert sides(passing)[0] == 0 < sides(passing)[-1]
    assert sides(passing) == sorted(sides(passing)), "it never comes back"
    assert sides([faces[:: (-1) ** i] for i, faces in enumerate(passing)]) == sides(passing), "in any order"


@pytest.mark.parametrize("rotation", [0, 90])
def test_frames_that_are_passed_over_count_as_drawn(rotation: Rotation) -> None:
    def picture_after(passed: int) -> NDArray[np.uint8]:
        overlay = Overlay(info(320, 240, rotation))
        for i in range(4):
            drawn = av.VideoFrame.from_ndarray(scene(320, 240), format="rgb24")
            faces = [face((60, 5 if i == 1 else 40, 120, 140), "A")]  # once there is no room above it
            if i < passed:
                overlay.pass_over(faces, 320, 240)
            else:
                overlay.draw(drawn, faces)
        return np.asarray(drawn.to_ndarray(), np.uint8)

    assert not np.array_equal(picture_after(0), scene(320, 240))
    for passed in (1, 2, 3):
        np.testing.assert_array_equal(picture_after(passed), picture_after(0))


def test_labels_keep_off_other_faces_and_each_other() -> None:
    upper, lower = face((100, 100, 180, 180), "A"), face((100, 184, 180, 260), "B")
    over, under = labels_of(upper, lower)
    assert over.bottom == 100
    assert under.top == 260
    row = [face((100 + 30 * i, 100, 128 + 30 * i, 140), "a longish name") for i in range(3)]
    rects = labels_of(*row)
    assert all(a.overlap(b) == 0 for a, b in itertools.combinations(rects, 2))


def test_pixel_box_agrees_with_the_rounded_record() -> None:
    rng = np.random.default_rng(5)
    for box in rng.uniform(-20, 700, (500, 4)).astype(np.float32):
        record = np.array([round(v, 1) for v in box.tolist()], np.float32)
        assert pixel_box(box, 640, 360) == pixel_box(record, 640, 360)


def test_rgb_pictures_get_the_same_marks_as_video_frames() -> None:
    rgb = scene(321, 243)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    faces = [face((31, 91, 128, 200)), face((200, 50, 330, 150), "b")]
    Overlay(info(321, 243), unknown="box").draw(frame, faces)
    alpha = np.dstack([rgb, np.zeros((243, 321), np.uint8)])
    draw_rgb(rgb, faces, unknown="box")
    np.testing.assert_array_equal(frame.to_ndarray(), rgb)
    draw_rgb(alpha, faces, unknown="box")
    np.testing.assert_array_equal(alpha[..., :3], rgb)
    assert alpha[150, 31, 3] == 255  # a box on a transparent picture can be seen
    assert alpha[10, 10, 3] == 0


@pytest.mark.parametrize("fmt", ["pal8", "yuv420p10be", "gbrpf32le", "rgb565le", "bayer_rggb8", "xv30le", "monow"])
def test_formats_that_cannot_be_drawn_on_are_refused_by_name(fmt: str) -> None:
    frame = av.VideoFrame(64, 64, fmt)
    with pytest.raises(InputError, match=f"{fmt}.*convert"):
        Overlay(info(64, 64)).draw(frame, [face((10, 10, 50, 50))])


def test_drawing_twice_gives_the_same_picture() -> None:
    frames = [picture(scene(320, 240), "yuv420p") for _ in range(2)]
    for frame in frames:
        Overlay(info(320, 240)).draw(frame, [face((33, 71, 150, 200))])
    assert bytes(frames[0].planes[1]) == bytes(frames[1].planes[1])


def test_a_flipped_frame_with_negative_line_size_is_drawn_upright() -> None:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=128, height=128, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25))
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    graph.push(picture(scene(128, 128)[::-1], "yuv420p"))
    frame = graph.pull()
    assert isinstance(frame, av.VideoFrame)
    assert frame.planes[0].line_size < 0
    frame.colorspace, frame.color_range = 1, 1
    frame.pts = None
    Overlay(info(128, 128)).draw(frame, [face((20, 40, 80, 100))])
    red = redness(shown(frame)) > 100
    assert red[60:90, 20:22].all()
    assert np.flatnonzero(red[:, 50:70].any(1))[-1] + 1 == 100
