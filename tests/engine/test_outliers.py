"""Wrong photos and photos saved twice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.outliers import FEWEST, _standing_out, same_pictures, typical_distances, wrong_photos

D = 64


def unit(v: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True), np.float32)


def folder(seed: int, good: int, wrong: int, noise: float = 0.5) -> NDArray[np.float32]:
    """A person's photos (cosine about 0.8 to each other), and photos of as many strangers at the end."""
    rng = np.random.default_rng(seed)
    middle = unit(rng.normal(size=D))
    own = unit(middle + noise * rng.normal(size=(good, D)) / np.sqrt(D))
    return np.concatenate([own, unit(rng.normal(size=(wrong, D)))])


@pytest.mark.parametrize(("good", "wrong"), [(4, 1), (6, 1), (9, 2), (20, 5), (40, 1)])
def test_strangers_are_found_and_nobody_else(good: int, wrong: int) -> None:
    for seed in range(20):
        expected = [False] * good + [True] * wrong
        assert wrong_photos(folder(seed, good, wrong), 0.45).tolist() == expected, seed


def test_several_photos_of_one_other_person_stand_out_though_they_raise_the_scatter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found() -> tuple[float, int]:
        """The share of wrong photos, and how many right ones, that are called wrong: of forty folders in which some of
        the right photos are as good as equal and others hard to recognise."""
        folders = [
            np.concatenate([folder(n, 4, 0, 0.2), folder(n, 9, 0, 1.1)[4:], folder(1000 + n, 3, 0, 0.5)])
            for n in range(40)
        ]
        calls = np.array([wrong_photos(photos, 0.4) for photos in folders])
        return float(calls[:, 9:].mean()), int(calls[:, :9].sum())

    share, right = found()
    assert share > 0.75
    assert right == 0
    monkeypatch.setattr("engine.outliers.STRANGE", -1.0)
    assert found()[0] < 0.3


def test_a_clean_folder_loses_next_to_nothing() -> None:
    lost = [wrong_photos(folder(seed, 15, 0), 0.45).sum() for seed in range(100)]
    assert sum(lost) == 0
    # However alike the photos are, the one that is a little less so stays.
    tight = folder(0, 10, 0, noise=0.01)
    tight[0] = unit(tight[0] + 0.2 * np.eye(D)[0])
    assert not wrong_photos(tight, 0.45).any()


def test_who_is_left_is_not_wrong_by_the_same_rule() -> None:
    """Of some folders others stand out once the first are gone; a second look at what is left never finds more."""
    once = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        spread = [folder(seed, 9, 0, noise)[3 * n : 3 * n + 3] for n, noise in enumerate((0.2, 0.7, 1.2))]
        photos = np.concatenate([*spread, unit(spread[0][:2] + rng.normal(size=(2, D)) / 5), folder(seed + 500, 0, 2)])
        wrong = wrong_photos(photos, 0.45)
        assert not wrong_photos(photos[~wrong], 0.45).any()
        once += int(_standing_out(photos, 0.45).sum() < wrong.sum())
    assert once > 0, "no folder here needs a second look"


def test_of_few_photos_none_is_wrong() -> None:
    for count in range(1, FEWEST):
        assert not wrong_photos(unit(np.eye(D)[:count]), 0.45).any()


def test_where_no_more_than_half_would_stay_all_do() -> None:
    halves = np.concatenate([folder(1, 5, 0, 0.1), folder(2, 5, 0, 0.1)])
    assert not wrong_photos(halves, 0.45).any()


def test_typical_distances_by_definition() -> None:
    vectors = folder(0, 6, 1).astype(float)
    expected = [
        np.median([np.linalg.norm(a - b) for j, b in enumerate(vectors) if j != i]) for i, a in enumerate(vectors)
    ]
    np.testing.assert_allclose(typical_distances(vectors.astype(np.float32)), expected, atol=1e-6)


def test_one_picture_saved_twice() -> None:
    rng = np.random.default_rng(0)
    vectors, places = folder(0, 6, 0), rng.uniform(0.2, 0.8, (6, 5, 2)).astype(np.float32)
    vectors[4] = unit(vectors[1].astype(float) + 0.01 * rng.normal(size=D))  # 4 is 1 again, saved anew
    places[4] = places[1] + 0.004
    places[5] = places[2]  # the same place, another face
    vectors[3] = vectors[0]  # the same embedding, elsewhere in the picture
    assert same_pictures(vectors, places).tolist() == [[1, 4]]
    places[1, 2, 0] = np.nan
    assert same_pictures(vectors, places).tolist() == []
    assert len(same_pictures(vectors[:1], places[:1])) == 0
