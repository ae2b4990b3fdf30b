"""What a few cells of the frames between two looks say about the faces there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.between import astray
from stream.frames import Rotation, VideoInfo
from stream.shots import GRID, Glance, glance

WIDTH, HEIGHT = 640, 360
SIZE = 120.0
RNG = np.random.default_rng(3)
WALL = RNG.integers(60, 110, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
ACROSS = np.hypot(*np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 120)))
HEAD = (250 * np.exp(-2 * ACROSS**2))[..., None].repeat(3, 2).astype(np.uint8)

Light = Callable[[NDArray[np.float64], int], NDArray[np.float64]]


def info(rotation: Rotation = 0) -> VideoInfo:
    return VideoInfo("a.mp4", WIDTH, HEIGHT, rotation, Fraction(1, 30), None, None, "yuv420p")


def picture(left: float, light: Light | None = None, number: int = 0) -> Glance:
    """A head with its left edge there."""
    rgb = WALL.copy()
    x = round(left)
    rgb[120:240, x : x + 120] = HEAD
    if light is not None:
        rgb = np.clip(light(rgb.astype(np.float64), number), 0, 255).astype(np.uint8)
    return glance(rgb)


def boxes(*places: float, size: float = SIZE) -> NDArray[np.float32]:
    """One face that is at the first of these at one end, at the last at the other."""
    middle = 180.0
    ends = [[x, middle - size / 2, x + size, middle + size / 2] for x in (places[0], places[-1])]
    return np.array([ends], np.float32)


def asked(places: Sequence[float], light: Light | None = None) -> int | None:
    pictures = [picture(left, light, number) for number, left in enumerate(places)]
    return astray(pictures, boxes(*places), info())


def test_where_a_face_stands_still_there_is_no_doubt() -> None:
    assert asked([200.0] * 9) is None


@pytest.mark.parametrize("step", [1.0, 3.0, 5.0])
def test_who_moves_evenly_is_where_both_ends_say(step: float) -> None:
    assert asked([200 + step * i for i in range(9)]) is None


@pytest.mark.parametrize(("period", "peaks"), [(8, {2, 6}), (4, {1, 3, 5, 7})])
def test_who_sways_in_time_is_found_out_where_it_is_farthest_off(period: int, peaks: set[int]) -> None:
    assert asked([200 + 0.4 * SIZE * float(np.sin(2 * np.pi * i / period)) for i in range(9)]) in peaks


def test_a_small_sway_is_left_alone() -> None:
    assert asked([200 + 0.06 * SIZE * float(np.sin(2 * np.pi * i / 8)) for i in range(9)]) is None


@pytest.mark.parametrize(
    "light",
    [
        lambda rgb, i: rgb * (1.5 if i % 2 else 0.6),
        lambda rgb, i: rgb * [(1.2, 0.4, 0.5), (0.4, 1.2, 0.6), (0.5, 0.4, 1.2)][i % 3],
        lambda rgb, i: rgb * 0.5 + 60 * (i % 3),
        lambda rgb, i: rgb * (i != 4),
    ],
    ids=["strobe", "colours", "fog", "black"],
)
def test_light_on_everything_raises_no_doubt(light: Light) -> None:
    assert asked([200.0] * 9, light) is None


def test_of_a_face_of_a_few_cells_nothing_is_said() -> None:
    places = [200 + 48 * float(np.sin(2 * np.pi * i / 8)) for i in range(9)]
    pictures = [picture(left) for left in places]
    cell = WIDTH / GRID[0]
    assert astray(pictures, boxes(*places), info()) is not None
    assert astray(pictures, boxes(*places, size=cell), info()) is None


def test_of_a_face_without_contrast_nothing_is_said() -> None:
    even = np.full((HEIGHT, WIDTH, 3), 80, np.uint8)
    even[:, :100] = 250
    pictures = []
    for i in range(9):
        rgb = even.copy()
        rgb[120:240, 300 : 420 - 8 * (i % 4)] += np.uint8(2)
        pictures.append(glance(rgb))
    assert astray(pictures, boxes(300.0), info()) is None


def test_every_face_is_asked_about() -> None:
    places = [200 + 48 * float(np.sin(2 * np.pi * i / 8)) for i in range(9)]
    pictures = [picture(left) for left in places]
    elsewhere = boxes(480.0)
    assert astray(pictures, elsewhere, info()) is None
    assert astray(pictures, np.concatenate([elsewhere, boxes(*places)]), info()) in {2, 6}


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_boxes_are_those_of_the_turned_picture(rotation: Rotation) -> None:
    places = [60 + 48 * float(np.sin(2 * np.pi * i / 8)) for i in range(9)]
    pictures = [picture(left) for left in places]
    x1, y1, x2, y2 = boxes(*places)[0, 0]
    turned = {
        90: (HEIGHT - y2, x1, HEIGHT - y1, x2),
        180: (WIDTH - x2, HEIGHT - y2, WIDTH - x1, HEIGHT - y1),
        270: (y1, WIDTH - x2, y2, WIDTH - x1),
    }[rotation]
    there = np.array([[turned, turned]], np.float32)
    assert astray(pictures, there, info(rotation)) in {2, 6}
    across = there + np.float32(280) * np.array([0, 1, 0, 1] if rotation != 180 else [-1, 0, -1, 0], np.float32)
    assert astray(pictures, across, info(rotation)) is None


def test_a_face_half_outside_the_picture_is_no_trouble() -> None:
    assert astray([picture(0.0)] * 5, boxes(-60.0), info()) is None
    assert astray([picture(0.0)] * 5, boxes(-400.0), info()) is None
