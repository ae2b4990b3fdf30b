"""Boxes into the grid and out again, and who answers for what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics import box_iou
from train.data.grid import FACES, Grid, closest_anchor, decode_grid, encode_grid


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    """From the middle and the sides."""
    return np.array([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]], np.float32)


def nothing(count: int) -> np.ndarray:
    return np.zeros(count, bool)


def test_the_grid_of_the_write_up() -> None:
    target = encode_grid(np.zeros((0, 4), np.float32), nothing(0), 416, 416, FACES)
    assert target.values.shape == (13, 13, 2, 5)
    np.testing.assert_allclose(FACES.ratios, [1.0, 1.15])


@given(
    places=st.lists(st.tuples(st.integers(0, 168), st.floats(0.02, 0.98), st.floats(0.02, 0.98)), max_size=20),
    sides=st.lists(st.tuples(st.floats(4, 400), st.floats(4, 400)), min_size=20, max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_decoding_inverts_encoding(places: list[tuple[int, float, float]], sides: list[tuple[float, float]]) -> None:
    """Every box whose cell has a box to spare comes back where it was; no other one appears."""
    faces = [
        box((cell % 13 + x) * 32, (cell // 13 + y) * 32, width, height)
        for (cell, x, y), (width, height) in zip(places, sides, strict=False)
    ]
    boxes = np.concatenate(faces) if faces else np.zeros((0, 4), np.float32)
    found, scores = decode_grid(encode_grid(boxes, nothing(len(boxes)), 416, 416, FACES).values, FACES)
    cells = [cell for cell, _, _ in places]
    assert len(found) == sum(min(2, cells.count(cell)) for cell in set(cells))
    assert (scores == 1).all()
    if len(found):
        assert np.abs(found[:, None] - boxes[None]).max(axis=2).min(axis=1).max() < 0.01
    for k, cell in enumerate(cells):
        if cells.count(cell) <= 2:
            assert np.abs(found - boxes[k]).max(axis=1).min() < 0.01


@pytest.mark.parametrize(
    ("width", "height", "anchor"), [(50, 50, 0), (50, 57.5, 1), (50, 53, 0), (50, 54.5, 1), (90, 50, 0), (50, 120, 1)]
)
def test_a_box_goes_to_the_closest_aspect_ratio(width: float, height: float, anchor: int) -> None:
    face = box(100, 100, width, height)
    assert closest_anchor(face, FACES).tolist() == [anchor]
    values = encode_grid(face, nothing(1), 416, 416, FACES).values
    assert np.argwhere(values[..., 0]).tolist() == [[3, 3, anchor]]


@given(st.floats(5, 300), st.floats(5, 300))
@settings(max_examples=60, deadline=None)
def test_closest_means_the_largest_overlap_of_the_shapes(width: float, height: float) -> None:
    """Between ratios of one area, the closest one is the one that covers most: another way to the same answer."""
    face = np.array([[0, 0, width, height]], np.float32)
    ratio, area = height / width, width * height
    shapes = np.array([[0, 0, np.sqrt(area / r), np.sqrt(area * r)] for r in FACES.ratios])
    middle = np.sqrt(FACES.ratios.prod())
    if abs(ratio / middle - 1) > 1e-3:
        offset = shapes[:, 2:] / 2
        centred = np.concatenate([-offset, offset], 1)
        own = np.array([[-width / 2, -height / 2, width / 2, height / 2]])
        assert closest_anchor(face, FACES)[0] == box_iou(own, centred)[0].argmax()


def test_two_faces_of_one_cell_share_its_boxes_and_the_larger_chooses() -> None:
    faces = np.concatenate([box(100, 100, 40, 40), box(110, 110, 60, 60)])
    values = encode_grid(faces, nothing(2), 416, 416, FACES).values
    assert values[3, 3, :, 0].tolist() == [1, 1]
    assert values[3, 3, :, 3].tolist() == pytest.approx([60 / 416, 40 / 416])


def test_the_spare_box_of_a_cell_with_a_face_is_ignored() -> None:
    target = encode_grid(box(100, 100, 50, 50), nothing(1), 416, 416, FACES)
    assert np.argwhere(target.ignore).tolist() == [[3, 3, 1]]


def test_cells_under_an_ignored_face_are_ignored_but_not_those_of_a_face() -> None:
    faces = np.concatenate([box(96, 96, 128, 128), box(80, 80, 40, 40)])
    target = encode_grid(faces, np.array([True, False]), 416, 416, FACES)
    blind = target.ignore.all(axis=2)
    assert np.argwhere(blind | (target.values[..., 0] > 0).any(axis=2)).min(axis=0).tolist() == [1, 1]
    assert blind.sum() == 15  # 4 × 4 cells less the one of the face
    assert not (target.ignore & (target.values[..., 0] > 0)).any()


def test_a_small_ignored_face_blinds_its_cell() -> None:
    target = encode_grid(box(200, 130, 9, 9), np.array([True]), 416, 416, FACES)
    assert np.argwhere(target.ignore.all(axis=2)).tolist() == [[4, 6]]
    assert not target.values.any()


def test_a_crop_keeps_the_unit_of_width_and_height() -> None:
    whole = encode_grid(box(48, 48, 52, 52), nothing(1), 416, 416, FACES).values[1, 1, 0]
    crop = encode_grid(box(48, 48, 52, 52), nothing(1), 128, 160, FACES).values
    assert crop.shape == (4, 5, 2, 5)
    np.testing.assert_array_equal(crop[1, 1, 0], whole)
    assert whole[3] == pytest.approx(52 / 416)


def test_a_middle_on_the_far_edge_belongs_to_the_last_cell() -> None:
    grid = Grid(cell=5, picture=15, anchors=((5.0, 5.0),))
    values = encode_grid(box(15, 15, 4, 4), nothing(1), 15, 15, grid).values
    assert values[2, 2, 0].tolist() == pytest.approx([1, 1, 1, 4 / 15, 4 / 15])
    np.testing.assert_allclose(decode_grid(values, grid)[0], box(15, 15, 4, 4), atol=1e-5)
