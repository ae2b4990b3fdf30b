"""Hidden faces are gone: nothing but a few averages is left of them, in every pixel format, orientation and moment."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.frames import Rotation, VideoInfo
from stream.hiding import CELLS, GROW, hidden_boxes, wipe
from stream.overlay import Overlay, draw_rgb
from stream.planes import PixelLayout
from stream.styles import Hide, Style
from stream.tracks import read
from tests.stream.export import records
from tests.stream.test_overlay import FORMATS, GRAY


def noise(name: str, width: int = 97, height: int = 75) -> av.VideoFrame:
    """A picture in which no two neighbours are alike, whatever the format."""
    picture = av.VideoFrame(width, height, name)
    layout = PixelLayout.of(name)
    rng = np.random.default_rng(5)
    picture.make_writable()
    for view in layout.views(picture):
        low, high = 40 << (layout.bits - 8), 215 << (layout.bits - 8)
        view[...] = np.left_shift(rng.integers(low, high, view.shape), layout.shift).astype(view.dtype)
    return picture


def components(picture: av.VideoFrame) -> list[NDArray[Any]]:
    layout = PixelLayout.of(picture.format.name)
    return [np.array(view, np.int64) >> layout.shift for view in layout.views(picture)]


def info(picture: av.VideoFrame, rotation: Rotation = 0) -> VideoInfo:
    return VideoInfo("v.mp4", picture.width, picture.height, rotation, Fraction(1, 25), None, None, picture.format.name)


@pytest.mark.parametrize("how", ["blur", "pixelate"])
@pytest.mark.parametrize("name", FORMATS + GRAY)
def test_nothing_but_averages_is_left(name: str, how: Hide) -> None:
    picture = noise(name)
    layout = PixelLayout.of(name)
    before = components(picture)
    box = np.array([20.3, 10.7, 69.5, 60.2], np.float32)
    Overlay(info(picture), style=Style("none", how)).draw(picture, [], [box])
    after = components(picture)
    for i, (was, now, part) in enumerate(zip(before, after, layout.components, strict=True)):
        x = slice(20 >> part.shift_x, -(-70 >> part.shift_x))
        y = slice(10 >> part.shift_y, -(-61 >> part.shift_y))
        if layout.alpha and i == len(before) - 1:
            np.testing.assert_array_equal(was, now)
            continue
        old, new = was[y, x].astype(float), now[y, x].astype(float)
        assert abs(np.corrcoef((old - old.mean()).ravel(), (new - new.mean()).ravel())[0, 1]) < 0.45
        assert len(np.unique(new)) <= (CELLS * CELLS if how == "pixelate" else 10**9)
        steps = max(np.abs(np.diff(new, axis=0)).mean(), np.abs(np.diff(new, axis=1)).mean())
        assert steps < 0.15 * np.abs(np.diff(old, axis=0)).mean()
        assert abs(new.mean() - old.mean()) < 0.05 * old.mean()
        # Outside, at most the samples that share a chroma sample with the box are touched.
        margin_x, margin_y = 4 >> part.shift_x, 4 >> part.shift_y
        outside = np.ones(was.shape, bool)
        outside[max(0, y.start - margin_y) : y.stop + margin_y, max(0, x.start - margin_x) : x.stop + margin_x] = False
        np.testing.assert_array_equal(was[outside], now[outside])


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_hidden_where_it_is_displayed(rotation: Rotation) -> None:
    picture = noise("yuv420p", 96, 64)
    before = np.rot90(components(picture)[0], -(rotation // 90))
    box = np.array([10, 20, 40, 60], np.float32)
    Overlay(info(picture, rotation), style=Style("none", "pixelate")).draw(picture, [], [box])
    changed = np.rot90(components(picture)[0], -(rotation // 90)) != before
    assert changed[20:60, 10:40].mean() > 0.95
    changed[20:60, 10:40] = False
    assert not changed.any()


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(-40, 140)] * 2, *[st.integers(1, 120)] * 2),
    st.tuples(st.integers(1, 97), st.integers(1, 75)),
    st.sampled_from(["yuv420p", "yuv411p", "nv12", "p010le", "rgb24", "gray"]),
    st.sampled_from(["blur", "pixelate"]),
)
def test_any_box_on_any_size(rect: tuple[int, int, int, int], size: tuple[int, int], name: str, how: Hide) -> None:
    picture = noise(name, *size)
    box = np.array([rect[0], rect[1], rect[0] + rect[2], rect[1] + rect[3]], np.float32)
    Overlay(info(picture), style=Style("none", how)).draw(picture, [], [box])
    assert all(int(part.max()) <= 235 << (PixelLayout.of(name).bits - 8) for part in components(picture))


def test_a_small_face_is_left_fewer_averages() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (20, 20, 3), np.uint8)
    views = [rgb[..., i] for i in range(3)]
    wipe(views, PixelLayout.of("rgb24"), (4, 4, 12, 12), (20, 20), "pixelate")
    assert len(np.unique(rgb[4:12, 4:12, 0])) == 4


def test_marks_are_drawn_over_what_is_hidden() -> None:
    rgb = np.zeros((120, 160, 3), np.uint8)
    rgb[::2] = 200
    known = records.face(0, "Yuri", (60, 40, 100, 80))
    draw_rgb(rgb, [known], style=Style("boxes", "blur"), hidden=[np.array([50, 30, 110, 90], np.float32)])
    assert (rgb[40:42, 60:100, 0] == 255).all()
    assert np.ptp(rgb[50:70, 70:90, 0].astype(int)) < 20


def boxes_at(hidden: list[list[NDArray[np.float32]]], index: int) -> list[list[float]]:
    return [[round(float(v), 1) for v in box] for box in hidden[index]]


def test_a_face_is_hidden_before_it_is_found_and_after_it_is_lost(tmp_path: Path) -> None:
    """At 29.97 frames a second a third of a second is ten frames less a bit."""
    frames: records.Frames = [(int(i >= 40), []) for i in range(60)]
    for i in range(20, 25):
        frames[i] = (0, [records.face(0, None, (40, 40, 60, 60))])
    for i in range(40, 42):
        frames[i] = (1, [records.face(1, None, (10, 10, 20, 20))])
    hidden = hidden_boxes(read(records.write(tmp_path / "a.tracks.jsonl", frames, {})))
    assert [i for i in range(40) if hidden[i]] == list(range(11, 34))
    assert [i for i in range(40, 60) if hidden[i]] == list(range(40, 51))  # never across the cut
    assert boxes_at(hidden, 11) == [[40 - 20 * GROW, 40 - 20 * GROW, 60 + 20 * GROW, 60 + 20 * GROW]]


def test_a_gap_in_a_track_is_bridged(tmp_path: Path) -> None:
    frames: records.Frames = [(0, []) for _ in range(41)]
    frames[0] = (0, [records.face(0, None, (0, 0, 20, 20))])
    frames[40] = (0, [records.face(0, None, (80, 40, 100, 60))])
    hidden = hidden_boxes(read(records.write(tmp_path / "a.tracks.jsonl", frames, {})))
    ((x1, y1, x2, y2),) = boxes_at(hidden, 20)
    assert x1 < 40 - 20 * GROW < 60 + 20 * GROW < x2  # a little more than the place itself: the frames beside it too
    assert y1 < 20 - 20 * GROW < 40 + 20 * GROW < y2


def test_the_named_are_spared_by_the_final_verdict(tmp_path: Path) -> None:
    record = read(records.stage(tmp_path / "mv.tracks.jsonl"))
    everybody, strangers = hidden_boxes(record), hidden_boxes(record, spare_named=True)
    assert [len(boxes) for boxes in everybody[:3]] == [1, 2, 2]  # the second is found at frame 10
    assert [bool(boxes) for boxes in strangers] == [False] * 25 + [True] * 15
    assert not hidden_boxes(records.empty_record(tmp_path))
