"""Styles: what the words mean, that the palette can be told apart, and what the marks cover."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.errors import UsageError
from stream.glyphs import Glyphs
from stream.overlay import Label, Outline, Rect, draw_rgb, marks, strokes
from stream.styles import DARK, GREY, PALETTE, RED, STYLES, Marks, Style, colour_of, text_colour
from tests.stream.export.records import face

GLYPHS = Glyphs()
CAST = tuple("ABCDEFGHIJKLM")
"""One more than there are colours."""


def test_words() -> None:
    assert Style.parse([]) == Style.parse(["boxes"]) == Style()
    assert Style.parse(["blur"]) == Style("none", "blur")
    assert Style.parse(["pixelate-unknown", "colours"]) == Style("colours", "pixelate", True)
    for word in STYLES:
        assert Style.parse([word]) == Style.parse([word, word])


@pytest.mark.parametrize("words", [["sparkle"], ["boxes", "names"], ["blur", "pixelate"], ["blur", "blur-unknown"]])
def test_words_that_make_no_sense(words: list[str]) -> None:
    with pytest.raises(UsageError) as failure:
        Style.parse(words)
    assert all(word in str(failure.value) for word in words)


# Machado, Oliveira & Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009:
# linear RGB as people without one kind of cone see it.
VISION = {
    "usual": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colour: tuple[float, float, float], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) of an sRGB colour as somebody sees it."""
    rgb = np.array(colour)
    linear = np.clip(seen @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    t = xyz / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_everybody_tells_the_colours_apart(vision: str) -> None:
    for one, other in combinations([*PALETTE, GREY], 2):
        apart = np.linalg.norm(lab(one, VISION[vision]) - lab(other, VISION[vision]))
        assert apart > 10, (one, other)  # 2.3 is just noticeable side by side


def test_red_and_green_would_not_pass() -> None:
    """The measure sees what it is there to see."""
    red, green = (0.8, 0.2, 0.0), (0.4, 0.5, 0.0)
    assert np.linalg.norm(lab(red, VISION["usual"]) - lab(green, VISION["usual"])) > 40
    assert np.linalg.norm(lab(red, VISION["no green cones"]) - lab(green, VISION["no green cones"])) < 20


def test_a_persons_colour_stays() -> None:
    assert [colour_of(name, CAST) for name in CAST] == [*PALETTE, PALETTE[0]]
    assert colour_of("somebody", CAST) == colour_of("somebody", ())
    assert len(set(PALETTE)) == len(CAST) - 1
    for colour in (*PALETTE, RED, GREY):
        assert sum(abs(a - b) for a, b in zip(text_colour(colour), colour, strict=True)) > 1


@pytest.mark.parametrize("style", ["boxes", "colours", "corners", "names", "none"])
def test_what_each_style_draws(style: Marks) -> None:
    faces = [face(0, "A", (20, 40, 100, 140)), face(1, "B", (150, 40, 230, 140)), face(2, None, (250, 40, 300, 140))]
    found = marks(faces, 320, 180, GLYPHS, "box", style, CAST)
    outlines = [m for m in found if isinstance(m, Outline)]
    labels = [m for m in found if isinstance(m, Label)]
    colours = {
        "boxes": {RED, GREY, DARK},
        "colours": {*PALETTE[:2], GREY, DARK},
        "corners": {RED, GREY, DARK},
        "names": set(),
        "none": set(),
    }
    assert {m.colour for m in outlines} == colours[style]
    assert len(outlines) == {"boxes": 4, "colours": 4, "corners": 32, "names": 0, "none": 0}[style]
    assert len(labels) == (0 if style == "none" else 2)
    assert [m.colour for m in labels] == ([*PALETTE[:2]] if style == "colours" else [RED] * len(labels))


def test_corner_ticks_leave_the_sides_free() -> None:
    rgb = np.zeros((200, 200, 3), np.uint8)
    draw_rgb(rgb, [face(0, "A", (40, 60, 140, 160))], style=Style("corners"))
    red = rgb[..., 0] == 255
    t = 2
    assert red[60 : 60 + t, 40:65].all()
    assert red[60:85, 140 - t : 140].all()
    assert red[160 - t : 160, 40:65].all()
    assert not red[60:160, 66:114].any()
    assert not red[86:134, 40:140].any()


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 6), st.sampled_from(["boxes", "corners"]))
def test_strokes_lie_in_the_box_and_do_not_overlap(wide: int, high: int, thickness: int, style: Marks) -> None:
    canvas = np.zeros((110, 110), int)
    for left, top, right, bottom in strokes(Rect(10, 10, 10 + wide, 10 + high), thickness, style):
        canvas[top:bottom, left:right] += 1
    inside = canvas[10 : 10 + high, 10 : 10 + wide]
    assert inside.sum() == canvas.sum()
    assert canvas.max() == 1
    for corner in (inside[0, 0], inside[0, -1], inside[-1, 0], inside[-1, -1]):
        assert corner == 1
    np.testing.assert_array_equal(inside, inside[::-1])
    np.testing.assert_array_equal(inside, inside[:, ::-1])
