"""Whose face it is on a photo of several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.facechoice import PhotoFaces, choose_faces

RNG = np.random.default_rng(0)
D = 64


def somebody() -> NDArray[np.float32]:
    v: NDArray[np.float64] = RNG.normal(size=D)
    return np.asarray(v / np.linalg.norm(v), np.float32)


def again(person: NDArray[np.float32], noise: float = 0.5) -> NDArray[np.float32]:
    v = person + noise * somebody()
    return np.asarray(v / np.linalg.norm(v), np.float32)


def photo(*people: NDArray[np.float32], prominence: list[float] | None = None) -> PhotoFaces:
    weights = np.array(prominence or [1.0] * len(people), np.float32)
    return PhotoFaces(np.stack([again(p) for p in people]), weights)


ANN, BEN, CHO, DAE = (somebody() for _ in range(4))


def test_no_photos() -> None:
    assert choose_faces([], 0.4) == []


def test_single_faces_are_taken_without_a_word() -> None:
    choices = choose_faces([photo(ANN), photo(ANN), photo(ANN)], 0.4)
    assert [(c.face, c.remark) for c in choices] == [(0, "")] * 3


def test_the_one_like_the_single_faces() -> None:
    choices = choose_faces([photo(ANN), photo(BEN, ANN, prominence=[9, 1]), photo(CHO, DAE, ANN), photo(ANN)], 0.4)
    assert [c.face for c in choices] == [0, 1, 2, 0]
    assert "3 faces; took the one like the other photos" in choices[2].remark


def test_nobody_like_the_single_faces() -> None:
    choices = choose_faces([photo(ANN), photo(ANN), photo(BEN, CHO)], 0.4)
    assert choices[2].face is None
    assert "none of its 2 faces is like the other photos" in choices[2].remark


def test_a_poor_likeness_will_do_where_it_is_the_only_one() -> None:
    e = np.eye(D, dtype=np.float32)
    half = (0.5 * e[0] + np.sqrt(0.75) * e[1]).astype(np.float32)
    less = (0.45 * e[0] + np.sqrt(1 - 0.45**2) * e[2]).astype(np.float32)

    def pick(*faces: NDArray[np.float32]) -> int | None:
        alone = [PhotoFaces(e[:1], np.ones(1, np.float32))] * 2
        return choose_faces([*alone, PhotoFaces(np.stack(faces), np.ones(len(faces), np.float32))], 0.8)[2].face

    assert pick(e[3], half) == 1  # 0.5 is less than 0.8, but more than half of it, and the stranger is at 0
    assert pick(less, half) is None  # either may be the person
    assert pick(e[3], e[4]) is None


def test_one_wrong_single_face_does_not_mislead() -> None:
    photos = [photo(ANN), photo(BEN), photo(ANN), photo(ANN), photo(BEN, ANN), photo(ANN, BEN)]
    choices = choose_faces(photos, 0.4)
    assert [c.face for c in choices] == [0, 0, 0, 0, 1, 0]
    assert "unlike the other photos" in choices[1].remark
    assert [choices[n].remark for n in (0, 2, 3)] == [""] * 3


def test_two_that_do_not_fit_together_are_both_remarked_on() -> None:
    choices = choose_faces([photo(ANN), photo(BEN)], 0.4)
    assert all(c.face == 0 and "unlike the other photos" in c.remark for c in choices)
    assert choose_faces([photo(ANN)], 0.4)[0].remark == ""


def test_the_face_that_recurs_where_none_is_alone() -> None:
    photos = [photo(BEN, ANN, prominence=[9, 1]), photo(ANN, CHO), photo(DAE, somebody(), ANN)]
    choices = choose_faces(photos, 0.4)
    assert [c.face for c in choices] == [1, 0, 2]
    assert all("recurs" in c.remark for c in choices)


def test_of_two_who_always_appear_together_the_prominent_one() -> None:
    rows = np.stack([ANN, BEN])
    photos = [PhotoFaces(rows, np.array([1, 5], np.float32)) for _ in range(3)]
    assert [c.face for c in choose_faces(photos, 0.4)] == [1, 1, 1]


def test_the_largest_where_nothing_recurs() -> None:
    photos = [photo(ANN, BEN, prominence=[1, 2]), photo(CHO, DAE, prominence=[3, 1])]
    choices = choose_faces(photos, 0.6)
    assert [c.face for c in choices] == [1, 0]
    assert all("took the largest of 2 faces; check" in c.remark for c in choices)
    assert choose_faces([photo(ANN, BEN, prominence=[1, 2])], 0.4)[0].face == 1
