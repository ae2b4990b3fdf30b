"""Small grey patches of faces: what they leave out, where they break, and where in a picture they are taken."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.frames import Rotation, VideoInfo
from stream.patches import BROKEN, SIDE, alike, is_broken, parting, patch_places, patches_of
from stream.pictures import grey_cells

RANDOM = np.random.default_rng(5)
ONE, OTHER = (RANDOM.integers(60, 190, (SIDE, SIDE), dtype=np.uint8) for _ in range(2))


def info(rotation: Rotation = 0) -> VideoInfo:
    return VideoInfo("a.mp4", 320, 240, rotation, Fraction(1, 25), None, Fraction(25), "yuv420p")


def patch_of(cells: NDArray[Any]) -> NDArray[np.float32]:
    """Of one face."""
    (patch,) = patches_of(cells[None])
    return np.asarray(patch)


def mixed(share: float) -> NDArray[np.float32]:
    """The patch of the one melting into the other."""
    return patch_of((1 - share) * ONE + share * OTHER)


def test_light_and_contrast_do_not_count() -> None:
    assert alike(patch_of(ONE), patch_of(ONE // 2 + 60)) > 0.99
    assert alike(patch_of(ONE), patch_of(OTHER)) < 0.3
    assert alike(patch_of(ONE), patch_of(255 - ONE)) < -0.99


def test_where_nothing_is_to_be_seen_nothing_changes() -> None:
    black, white = (patch_of(np.full((SIDE, SIDE), value, np.uint8)) for value in (16, 235))
    assert alike(black, white) == 1.0
    assert alike(black, patch_of(ONE)) == 0.0


def test_a_face_that_melts_into_another_does_not_break() -> None:
    slow = [mixed(step / 10) for step in range(11)]
    assert not is_broken(slow)
    assert is_broken([*slow[:3], *slow[8:]])
    assert alike(slow[0], slow[-1]) < BROKEN


@pytest.mark.parametrize("at", [1, 4, 9])
def test_two_faces_are_parted_where_the_second_begins(at: int) -> None:
    assert parting([mixed(0.0)] * at + [mixed(1.0)] * (10 - at)) == at


def test_where_one_melts_into_the_other_the_middle_parts_them() -> None:
    patches = [mixed(0.0)] * 5 + [mixed(step / 6) for step in range(1, 6)] + [mixed(1.0)] * 5
    assert parting(patches) in (7, 8)


def test_a_patch_lies_where_the_face_is_stored() -> None:
    box = np.array([[40, 60, 104, 140]], np.float32)
    assert patch_places(box, info()).tolist() == [[40, 60, 104, 140]]
    assert patch_places(box, info(180)).tolist() == [[216, 100, 280, 180]]
    assert patch_places(box, info(90)).tolist() == [[60, 136, 140, 200]]


@pytest.mark.parametrize(
    "box", [[-50, -50, -20, -20], [319.6, 239.7, 400, 400], [10, 10, 10.2, 10.2], [-5, -5, 500, 500]]
)
def test_a_patch_is_inside_the_picture_and_never_empty(box: list[float]) -> None:
    ((x1, y1, x2, y2),) = patch_places(np.array([box], np.float32), info())
    assert 0 <= x1 < x2 <= 320
    assert 0 <= y1 < y2 <= 240


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "yuv420p10le", "rgb24", "gray", "pal8"])
def test_every_pixel_format_gives_the_same_patch(pixel_format: str) -> None:
    """Of a grey picture, whose shades lie far apart."""
    shades = ((ONE.astype(int) // 16) * 16).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    rgb = np.full((240, 320, 3), 90, np.uint8)
    rgb[100:164, 80:144] = shades[..., None]
    picture = av.VideoFrame.from_ndarray(rgb, "rgb24")
    if pixel_format == "pal8":
        grey = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 4))
        shown: Any = (rgb[..., 0].copy(), grey)
        picture = av.VideoFrame.from_ndarray(shown, "pal8")
    elif pixel_format != "rgb24":
        picture = picture.reformat(format=pixel_format)
    here, elsewhere = patches_of(grey_cells(picture, np.array([[80, 100, 144, 164], [0, 0, 64, 64]]), SIDE))
    assert alike(here, patch_of(shades[::4, ::4])) > 0.99
    assert not elsewhere.any()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_patches_have_no_mean_and_length_one(kind: type) -> None:
    cells: Any = np.random.default_rng(2).integers(0, 255, (3, SIDE, SIDE)).astype(kind)
    cells[1] = 7
    patches = patches_of(cells)
    flat = cells.reshape(3, -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat[[0, 2]] /= np.linalg.norm(flat[[0, 2]], axis=1, keepdims=True)
    assert patches.dtype == np.float32
    np.testing.assert_allclose(patches, flat, atol=1e-6)
