"""Close-ups hold one large face, and recall counts what is found in them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.metrics import box_iou
from tests.train.faces import blank, detections, seer
from train.close_up_eval import agreed, by_kind, gather, hits
from train.data.boxes import Picture
from train.data.close_ups import MOST, VISIBLE, CloseUp, close_ups
from train.teacher_views import Sightings


def painted(name: str, boxes: list[list[int]]) -> Picture:
    """A picture whose faces are white and of which every other pixel tells its place."""
    picture = blank(name, 900, 700, boxes)
    ys, xs = np.mgrid[:700, :900]
    picture.rgb[..., 0], picture.rgb[..., 1] = xs % 200, ys % 200
    for x1, y1, x2, y2 in boxes:
        picture.rgb[y1:y2, x1:x2] = 255
    return picture


PICTURES = [
    painted(str(k), [[40 + 23 * k, 30 + 11 * k, 40 + 23 * k + 110 + 5 * k, 30 + 11 * k + 150 + 6 * k]])
    for k in range(28)
]


def test_crops_show_what_their_box_says() -> None:
    crops = close_ups(PICTURES, 60)
    assert len(crops) == 60
    for crop in crops:
        rgb, (box,) = crop.picture.rgb, crop.picture.boxes
        height, width = rgb.shape[:2]
        assert (box >= 0).all()
        assert box[2] <= width
        assert box[3] <= height
        assert box[3] - box[1] >= 0.5 * height
        assert crop.share >= 0.5
        assert VISIBLE <= crop.visible <= 1.0001
        white = (rgb == 255).all(axis=2)
        ys, xs = np.nonzero(white)
        assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == pytest.approx(box.tolist(), abs=1)
    shares = np.array([crop.share for crop in crops])
    assert shares.min() < 0.65
    assert shares.max() > 1.15, "up to overfilling the frame"
    assert {kind for crop in crops for kind in crop.kinds} >= {"whole", "cut by the border"}


def test_a_face_is_shown_a_few_times_and_never_twice_the_same() -> None:
    crops = close_ups(PICTURES[:4], 60)
    assert len(crops) == 4 * MOST
    assert len({crop.picture.name for crop in crops}) == len(crops)


def test_they_are_off_centre() -> None:
    crops = close_ups(PICTURES, 80)
    middles = [(c.picture.boxes[0, 0] + c.picture.boxes[0, 2]) / 2 / c.picture.rgb.shape[1] for c in crops]
    assert np.std(middles) > 0.1


def test_the_same_seed_gives_the_same_crops() -> None:
    first, again, other = (close_ups(PICTURES, 20, seed=seed) for seed in (1, 1, 2))
    assert [c.picture.name for c in first] == [c.picture.name for c in again]
    assert all(np.array_equal(a.picture.rgb, b.picture.rgb) for a, b in zip(first, again, strict=True))
    assert [c.picture.name for c in first] != [c.picture.name for c in other]


def test_small_and_ignored_faces_are_not_cropped_to() -> None:
    small = blank("s", boxes=[[10, 10, 60, 60]])
    ignored = blank("i", boxes=[[10, 10, 200, 200]])
    ignored.ignore[0] = True
    assert close_ups([small, ignored], 10) == []
    assert close_ups([], 5) == []


def test_faces_come_from_teachers_that_agree() -> None:
    picture = blank()
    both = [100, 100, 200, 220]
    one = Sightings(
        [detections([both, [300, 100, 400, 200], [500, 10, 600, 100]], [0.9, 0.9, 0.6])],
        [detections([[104, 100, 204, 220], [500, 10, 600, 100]], [0.6, 0.6])],
        [],
    )
    (labelled,) = agreed([picture], one)
    assert labelled.boxes.tolist() == [[102, 100, 202, 220]], "seen by one alone, or by two who are not sure: left out"
    assert not labelled.ignore.any()


def test_sources_share_the_crops() -> None:
    crops = gather({"one": PICTURES[:6], "two": PICTURES[6:], "none": []}, 30)
    assert [sum(crop.source == name for crop in crops) for name in ("one", "two", "none")] == [10, 10, 0]


def test_recall_counts_faces_found_at_the_threshold() -> None:
    crops = close_ups(PICTURES, 20)
    truths = {crop.picture.rgb.tobytes(): crop.picture.boxes for crop in crops}

    def exact(score: float, shift: float) -> np.ndarray:
        def answer(rgb: np.ndarray, size: int) -> object:
            box = truths[np.ascontiguousarray(rgb).tobytes()]
            return detections((box + shift * (box[0, 2] - box[0, 0])).tolist(), [score])

        return hits(seer(answer), crops)  # type: ignore[arg-type]

    assert exact(0.6, 0.0).all()
    assert not exact(0.4, 0.0).any(), "under the threshold"
    moved = crops[0].picture.boxes
    assert box_iou(moved, moved + 0.5 * (moved[0, 2] - moved[0, 0])).max() < 0.5
    assert not exact(0.6, 0.5).any(), "elsewhere"
    assert not hits(seer(lambda rgb, size: detections([], [])), crops).any()


def test_figures_are_given_by_kind() -> None:
    def crop(share: float, visible: float, source: str) -> CloseUp:
        return CloseUp(PICTURES[0], share, visible, source)

    crops = [crop(0.6, 1.0, "a"), crop(0.9, 0.8, "a"), crop(1.2, 1.0, "b"), crop(1.3, 0.7, "b")]
    figures = by_kind(crops, np.array([True, True, True, False]))
    assert figures["all"] == {"crops": 4, "recall": 0.75}
    assert figures["a"]["recall"] == 1.0
    assert figures["b"]["recall"] == 0.5
    assert figures["face 1.1–1.4 of the frame"] == {"crops": 2, "recall": 0.5}
    assert figures["cut by the border"] == {"crops": 2, "recall": 0.5}
