"""Who is likely to be confused: those within reach of each other's name, and nobody else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.gallery import Gallery, distance
from engine.gallery_page import page, pairs


def at(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors on a circle; the cosine of two is that of the angle between them."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def gallery(threshold_degrees: float, **people: NDArray[np.float32]) -> Gallery:
    return Gallery.build(people, "0" * 64, float(np.cos(np.radians(threshold_degrees))))


def test_only_who_is_within_reach_of_the_others_name_is_listed() -> None:
    """Names reach 30 degrees. Bo's farthest photo is 25 from Al's medoid, Cy's nearest is 35 from Bo's."""
    made = gallery(30, Al=at(-4, 0, 4), Bo=at(25, 40, 42), Cy=at(75, 90, 92), Di=at(180, 181))
    (pair,) = pairs(made)
    assert (made.people[pair.first], made.people[pair.second]) == ("Al", "Bo")
    assert pair.distance == pytest.approx(distance(np.cos(np.radians(40))), abs=1e-5)
    assert pair.nearest == pytest.approx(distance(np.cos(np.radians(25))), abs=1e-5)
    assert (pair.too_close, pair.mistaken) == (False, 0)


def test_mistaken_photos_come_first() -> None:
    made = gallery(30, Al=at(0, 1, 2, 21), Bo=at(22, 23, 24), Cy=at(100, 101), Di=at(102, 103, 104))
    first, second = pairs(made)
    assert [made.people[first.first], made.people[first.second]] == ["Al", "Bo"]
    assert first.mistaken == 1  # at 21, nearer Bo's
    assert [made.people[second.first], made.people[second.second]] == ["Cy", "Di"]
    assert second.nearest < first.nearest
    assert pairs(made, 1) == [first]


def test_the_page_says_when_nobody_is() -> None:
    text = page(gallery(30, Al=at(0, 1), Bo=at(90, 91)), "two", [b""] * 4)
    assert f"as near to another person as a name takes ({distance(np.cos(np.radians(30))):.2f})" in text
    assert "There is only one person" in page(gallery(30, Al=at(0, 1)), "one", [b""] * 2)
    assert 'class="pairs"' in page(gallery(30, Al=at(0, 1), Bo=at(20, 21)), "near", [b""] * 4)
