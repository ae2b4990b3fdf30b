"""Landmark errors: which faces are known, which are clean, and how far off an answer is."""

from __future__ import annotations

import numpy as np
import pytest

from engine.types import Detections
from tests.train.faces import blank, detections
from train.landmark_eval import by_kind, errors, known_faces
from train.teacher_views import Sightings

BOX = [100.0, 100.0, 200.0, 220.0]
APART = 40.0
"""Between the eyes of that box."""


def moved(found: Detections, x: float, y: float = 0.0) -> Detections:
    return Detections(found.boxes, found.scores, found.landmarks + np.array([x, y], np.float32))


def seen(gap: float = 0.0, scores: tuple[float, float] = (0.9, 0.8)) -> Sightings:
    """Two teachers whose points are `gap` eye distances apart."""
    first = detections([BOX], [scores[0]])
    return Sightings([first], [moved(detections([BOX], [scores[1]]), gap * APART)], [])


def test_a_known_face_is_the_mean_of_both() -> None:
    (face,) = known_faces([blank()], seen(0.06))
    assert face.gap == pytest.approx(0.06, abs=1e-6)
    assert face.apart == pytest.approx(APART, abs=1e-4)
    assert face.size == pytest.approx(100, abs=1e-4)
    assert np.allclose(face.points, detections([BOX], [1]).landmarks[0] + [0.03 * APART, 0])
    assert face.turn == pytest.approx(0, abs=1e-6)
    assert face.clean
    assert face.kinds == ("clean", "≥ 96 px", "frontal")


def test_what_is_not_clean() -> None:
    (apart,) = known_faces([blank()], seen(0.1))
    assert not apart.clean
    assert known_faces([blank()], seen(0.3)) == [], "teachers that far apart tell nothing"
    (small,) = known_faces([blank(width=1600)], seen())
    assert small.size == pytest.approx(40)
    assert not small.clean
    found = detections([BOX], [0.9])
    found.landmarks[0, 2, 0] += 0.3 * APART
    (turned,) = known_faces([blank()], Sightings([found], [found], []))
    assert turned.turn == pytest.approx(0.3, abs=1e-6)
    assert turned.kinds == ("≥ 96 px", "turned")
    rolled = detections([BOX], [0.9])
    middle = rolled.landmarks[0].mean(0)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]], np.float32)
    rolled.landmarks[0] = (rolled.landmarks[0] - middle) @ turn.T + middle
    (upright,) = known_faces([blank()], Sightings([rolled], [rolled], []))
    assert upright.turn == pytest.approx(0, abs=1e-6), "a head on its side is still frontal"


def test_faces_that_only_one_is_sure_of_are_unknown() -> None:
    assert known_faces([blank()], seen(scores=(0.9, 0.4))) == []
    assert known_faces([blank()], Sightings([detections([BOX], [0.9])], [detections([], [])], [])) == []
    ignored = blank(boxes=[BOX])
    ignored.ignore[0] = True
    assert known_faces([ignored], seen()) == []


def test_errors_are_in_eye_distances() -> None:
    known = known_faces([blank()], seen())
    ((_, error),) = errors(lambda k: moved(detections([BOX], [0.9]), 3, 4), known, 0.5)
    assert error == pytest.approx(5 / APART, abs=1e-6)
    assert errors(lambda k: detections([BOX], [0.4]), known, 0.5) == []
    assert errors(lambda k: detections([[300, 300, 400, 420]], [0.9]), known, 0.5) == []


def test_the_best_box_answers_and_is_asked_for_once() -> None:
    known = known_faces([blank()], seen())
    known = [*known, *known]
    asked = []

    def detect(number: int) -> Detections:
        asked.append(number)
        return detections([[110, 100, 210, 220], BOX], [0.95, 0.6])

    assert [error for _, error in errors(detect, known, 0.5)] == pytest.approx([0, 0], abs=1e-6)
    assert asked == [0]


def test_bins_give_mean_and_median() -> None:
    (face,) = known_faces([blank()], seen())
    figures = by_kind([(face, 0.01), (face, 0.02), (face, 0.09)])
    assert figures == {kind: {"faces": 3, "mean": 0.04, "median": 0.02} for kind in ("clean", "frontal", "≥ 96 px")}
    assert by_kind([]) == {}
