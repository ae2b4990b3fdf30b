"""The geometry of the letterbox, there and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.letterbox import Letterbox, letterbox

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, st.integers(16, 1280), st.sampled_from([1, 8, 32, 64]))
def test_fits_and_pads_as_little_as_possible(width: int, height: int, size: int, multiple: int) -> None:
    box = Letterbox.fit(width, height, size, multiple)
    assert max(box.inner) == size
    for inner, padded, side in zip(box.inner, box.padded, (width, height), strict=True):
        assert padded % multiple == 0
        assert 0 <= padded - inner < multiple
        assert abs(inner - max(1, side * size / max(width, height))) <= 0.5


@given(SIDES, SIDES)
def test_the_corners_come_back_exactly(width: int, height: int) -> None:
    box = Letterbox.fit(width, height)
    whole = np.array([[0, 0, *box.inner]], np.float64)
    np.testing.assert_allclose(box.to_frame(whole), [[0, 0, width, height]])
    middle = np.array([[box.inner_width / 2, box.inner_height / 2]])
    np.testing.assert_allclose(box.to_frame(middle), [[width / 2, height / 2]])


def test_a_mark_is_found_where_it_was() -> None:
    rgb = np.zeros((481, 853, 3), np.uint8)
    rgb[200:240, 500:560] = 255
    box = Letterbox.fit(853, 481)
    ys, xs = np.nonzero(letterbox(rgb, box)[:, :, 0] > 127)
    found = box.to_frame(np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float64))
    np.testing.assert_allclose(found, [[500, 200, 560, 240]], atol=1)


def test_the_padding_is_black_also_in_used_memory() -> None:
    rgb = np.full((90, 160, 3), 200, np.uint8)
    box = Letterbox.fit(160, 90, 100, 32)
    out = np.full((*box.padded[::-1], 3), 77, np.uint8)
    assert letterbox(rgb, box, out) is out
    assert (out[: box.inner_height, : box.inner_width] == 200).all()
    assert not out[box.inner_height :].any()
    assert not out[:, box.inner_width :].any()


def test_writes_into_a_row_of_a_batch() -> None:
    box = Letterbox.fit(64, 48, 64, 32)
    batch = np.zeros((3, *box.padded[::-1], 3), np.uint8)
    letterbox(np.full((48, 64, 3), 9, np.uint8), box, batch[1])
    assert batch.sum(axis=(1, 2, 3)).tolist() == [0, 9 * 48 * 64 * 3, 0]


def test_reduces_by_averaging() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255  # what aliases first
    small = letterbox(stripes, Letterbox.fit(400, 400, 100, 1))
    assert abs(small.astype(int) - 128).max() <= 1


def test_takes_flipped_views() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    box = Letterbox.fit(80, 60, 40, 8)
    straight = np.ascontiguousarray(rgb[:, :, ::-1])
    assert (letterbox(rgb[:, :, ::-1], box) == letterbox(straight, box)).all()
    assert (letterbox(straight, box)[:30, :40] == cv2.resize(straight, (40, 30), interpolation=cv2.INTER_AREA)).all()


def test_refuses_another_size() -> None:
    box = Letterbox.fit(80, 60)
    with pytest.raises(ValueError, match=r"rgb\.shape"):
        letterbox(np.zeros((80, 60, 3), np.uint8), box)
    with pytest.raises(ValueError, match=r"out\.shape"):
        letterbox(np.zeros((60, 80, 3), np.uint8), box, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="start at 1"):
        Letterbox.fit(0, 5)
