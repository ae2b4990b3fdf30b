"""Whose picture is remembered, and for how long."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.continuity import AWAY, Continuity
from stream.frames import Face, Frame
from stream.patches import SIDE

BASE = Fraction(1, 100)


class Pictures:
    """Eyes that see what they are told to."""

    def __init__(self) -> None:
        self.patch = np.zeros(SIDE * SIDE, np.float32)

    def patches(self, frame: Frame, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([self.patch for _ in boxes])


def unit(seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=SIDE * SIDE)
    noise -= noise.mean()
    return (noise / np.linalg.norm(noise)).astype(np.float32)


@pytest.mark.parametrize(("later", "remembered"), [(0.3, True), (AWAY + 0.5, False)])
def test_a_face_is_forgotten_when_it_was_away_for_long(later: float, remembered: bool) -> None:
    """So a camera that stands still for hours holds no more pictures than there are people before it."""
    eyes = Pictures()
    continuity = Continuity(cast(Any, eyes))

    def look(seconds: float, track: int, seed: int) -> dict[int, float]:
        pts = round(seconds / BASE)
        frame = Frame(av.VideoFrame(16, 16, "gray"), pts, pts, BASE)
        eyes.patch = unit(seed)
        face = Face(track, np.array([0, 0, 9, 9], np.float32), 1.0, np.zeros((5, 2), np.float32))
        return continuity.changes(frame, [face], [])

    assert look(0, track=0, seed=1) == {}
    continuity.know(0)
    look(later, track=1, seed=2)
    assert look(later, track=0, seed=3) == ({0: 0.0} if remembered else {})
    likeness = continuity.likeness(0)
    assert (likeness is not None and likeness < 0.9) == remembered
