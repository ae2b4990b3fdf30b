"""Teachers: decoding of their outputs, agreement, landmarks, the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.modelfile import ModelFile
from engine.types import Detections
from train.data.boxes import Picture, unknown_landmarks
from train.data.dense_teacher import DenseTeacher, known_cells, settled
from train.data.detection_augment import Sample
from train.data.face_teachers import FaceTeacher, decode_centerface, decode_scrfd, decode_yunet
from train.data.pseudo_labels import (
    View,
    add_landmarks,
    add_missing,
    agree,
    cached_views,
    flip_detections,
    fuse,
    look,
    pseudo_label,
)


def faces(boxes: list[list[float]], scores: list[float]) -> Detections:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    marks = array[:, None, :2] + np.arange(10, dtype=np.float32).reshape(5, 2)
    return Detections(array, np.asarray(scores, np.float32), marks.astype(np.float32))


def blank(boxes: list[list[float]] | None = None) -> Picture:
    array = np.asarray(boxes or [], np.float32).reshape(-1, 4)
    return Picture(
        "p.jpg", np.zeros((100, 120, 3), np.uint8), array, np.zeros(len(array), bool), unknown_landmarks(len(array))
    )


def test_what_both_see_is_a_face_and_what_one_sees_is_ignored() -> None:
    first = faces([[10, 10, 30, 30], [50, 50, 70, 70], [80, 80, 90, 90]], [0.9, 0.8, 0.3])
    second = faces([[12, 10, 32, 30], [90, 10, 110, 30], [40, 80, 50, 90]], [0.6, 0.5, 0.3])
    labelled = pseudo_label(blank(), first, second)
    assert labelled.boxes[~labelled.ignore].tolist() == [[11, 10, 31, 30]]
    assert labelled.boxes[labelled.ignore].tolist() == [[50, 50, 70, 70], [90, 10, 110, 30]], (
        "weak lone ones are background"
    )
    assert np.isfinite(labelled.landmarks[~labelled.ignore]).all()
    assert np.isnan(labelled.landmarks[labelled.ignore]).all()


def test_agreement_without_conviction_is_ignored() -> None:
    positives, ignored = agree(faces([[10, 10, 30, 30]], [0.3]), faces([[10, 10, 30, 30]], [0.4]))
    assert len(positives) == 0
    assert ignored.tolist() == [[10, 10, 30, 30]]
    assert len(agree(Detections.empty(), Detections.empty())[0]) == 0


def test_faces_that_the_labels_miss_are_added_and_known_ones_are_not_doubled() -> None:
    picture = blank([[10, 10, 30, 30]])
    first = faces([[12, 10, 32, 30], [50, 50, 70, 70], [90, 10, 110, 30]], [0.9, 0.8, 0.9])
    second = faces([[10, 12, 30, 32], [50, 50, 70, 70]], [0.9, 0.7])
    whole = add_missing(picture, first, second)
    assert whole.boxes.tolist() == [[10, 10, 30, 30], [50, 50, 70, 70], [90, 10, 110, 30]]
    assert whole.ignore.tolist() == [False, False, True]
    assert np.isnan(whole.landmarks[0]).all(), "the known face stays as it was"
    assert np.isfinite(whole.landmarks[1]).all()
    assert add_missing(picture, Detections.empty(), Detections.empty()).boxes.tolist() == picture.boxes.tolist()


def test_landmarks_come_from_teachers_that_overlap_and_agree() -> None:
    picture = blank([[10, 10, 40, 40], [60, 60, 90, 90], [0, 80, 10, 90]])
    near = faces([[11, 10, 41, 40], [60, 60, 90, 90]], [0.9, 0.9])
    far = faces([[10, 10, 40, 40], [60, 60, 90, 90]], [0.9, 0.9])
    far.landmarks[1] += 20
    marked = add_landmarks(picture, near, far)
    assert np.allclose(marked.landmarks[0], (near.landmarks[0] + far.landmarks[0]) / 2)
    assert np.isnan(marked.landmarks[1]).all(), "teachers that differ teach nothing"
    assert np.isnan(marked.landmarks[2]).all()
    alone = add_landmarks(picture, near, Detections.empty())
    assert np.allclose(alone.landmarks[0], near.landmarks[0])
    assert np.isnan(add_landmarks(picture, near, Detections.empty(), both=True).landmarks).all()


def test_flipping_twice_changes_nothing() -> None:
    seen = faces([[10, 20, 30, 50], [60, 5, 80, 25]], [0.9, 0.4])
    once = flip_detections(seen, 120)
    assert once.boxes[0].tolist() == [90, 20, 110, 50]
    assert once.landmarks[0, 0, 0] == 120 - seen.landmarks[0, 1, 0]
    back = flip_detections(once, 120)
    assert np.allclose(back.boxes, seen.boxes)
    assert np.allclose(back.landmarks, seen.landmarks)


def test_views_are_fused_by_score() -> None:
    fused = fuse([faces([[10, 10, 30, 30]], [0.75]), faces([[14, 10, 34, 30], [60, 60, 80, 80]], [0.25, 0.5])])
    assert np.allclose(fused.boxes, [[11, 10, 31, 30], [60, 60, 80, 80]])
    assert fused.scores.tolist() == [0.75, 0.5]
    assert len(fuse([Detections.empty()])) == 0


def test_yunet_is_decoded_as_published() -> None:
    outputs: dict[str, np.ndarray] = {}
    for stride in (8, 16, 32):
        cells = (64 // stride) ** 2
        outputs |= {
            f"cls_{stride}": np.zeros((1, cells, 1), np.float32),
            f"obj_{stride}": np.ones((1, cells, 1), np.float32),
        }
        outputs |= {
            f"bbox_{stride}": np.zeros((1, cells, 4), np.float32),
            f"kps_{stride}": np.ones((1, cells, 10), np.float32),
        }
    outputs["cls_16"][0, 6] = 0.81  # row 1, column 2
    outputs["bbox_16"][0, 6] = [0.5, 0.25, np.log(2), np.log(1.5)]
    found = decode_yunet(outputs, 64, 64, 0.5)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert np.allclose(found.boxes, [[40 - 16, 20 - 12, 40 + 16, 20 + 12]])
    assert np.allclose(found.landmarks, np.tile([48, 32], (1, 5, 1)))


def test_centerface_is_decoded_as_published() -> None:
    shape = (1, 1, 16, 16)
    heat, marks = np.zeros(shape, np.float32), np.zeros((1, 10, 16, 16), np.float32)
    scale, offset = np.zeros((1, 2, 16, 16), np.float32), np.zeros((1, 2, 16, 16), np.float32)
    heat[0, 0, 5, 7] = 0.8
    scale[0, :, 5, 7] = np.log([4, 3])  # height, width in cells
    offset[0, :, 5, 7] = [0.25, -0.25]
    marks[0, :, 5, 7] = np.tile([0.5, 0.25], 5)  # y, x in parts of the box
    found = decode_centerface({"537": heat, "538": scale, "539": offset, "540": marks}, 64, 64, 0.5)
    assert np.allclose(found.boxes, [[29 - 6, 23 - 8, 29 + 6, 23 + 8]])
    assert np.allclose(found.landmarks, np.tile([23 + 3, 15 + 8], (1, 5, 1)))


def test_scrfd_is_decoded_as_published() -> None:
    outputs: dict[str, np.ndarray] = {}
    for level, stride in enumerate((8, 16, 32)):
        rows = 2 * (64 // stride) ** 2
        for offset, size in ((0, 1), (3, 4), (6, 10)):
            outputs[f"out{level + offset}"] = np.zeros((1, rows, size), np.float32)
    outputs["out1"][0, 2 * 5] = 0.7  # stride 16, row 1, column 1, first anchor
    outputs["out4"][0, 2 * 5] = [0.5, 1, 1.5, 2]
    outputs["out7"][0, 2 * 5] = np.tile([0.25, -0.25], 5)
    found = decode_scrfd(outputs, 64, 64, 0.5)
    assert np.allclose(found.boxes, [[8, 0, 40, 48]])
    assert np.allclose(found.landmarks, np.tile([20, 12], (1, 5, 1)))


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"yunet\.onnx: no such file"):
        FaceTeacher.yunet(tmp_path / "yunet.onnx")


class FakeTeacher:
    """Sees one face whose place tells the view."""

    name = "Fake"

    def __init__(self) -> None:
        self.looks = 0

    def detect(self, rgb: np.ndarray, size: int, threshold: float) -> Detections:
        self.looks += 1
        return faces([[size, 0, size + 20, 20]], [0.9])


def test_what_teachers_saw_is_kept(tmp_path: Path) -> None:
    teacher = FakeTeacher()
    views = (View(10), View(40, flipped=True))
    pictures = [blank(), blank()]
    first = cached_views(pictures, teacher, views, tmp_path)  # type: ignore[arg-type]
    again = cached_views(pictures, teacher, views, tmp_path)  # type: ignore[arg-type]
    assert teacher.looks == 4
    assert [d.boxes.tolist() for d in first] == [d.boxes.tolist() for d in again]
    assert sorted(first[0].boxes[:, 0].tolist()) == [10, 60], "the mirrored view is mirrored back"
    assert len(look(teacher, blank(), views, 0.1)) == 2  # type: ignore[arg-type]


def test_what_teachers_saw_on_other_pictures_is_not_taken(tmp_path: Path) -> None:
    """Frames of two videos have the same names and sizes."""
    teacher, views = FakeTeacher(), (View(10),)
    cached_views([blank()], teacher, views, tmp_path)  # type: ignore[arg-type]
    other = blank()
    other.rgb[5, 5] = 9
    cached_views([other], teacher, views, tmp_path)  # type: ignore[arg-type]
    assert teacher.looks == 2
    for kept in tmp_path.iterdir():
        kept.write_bytes(kept.read_bytes()[:50])
    (found,) = cached_views([other], teacher, views, tmp_path)  # type: ignore[arg-type]
    assert (teacher.looks, len(found)) == (3, 1), "a damaged file is made anew"


def test_a_network_that_is_no_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"yunet_n\.onnx: no such file"):
        FaceTeacher.yunet(tmp_path / "yunet_n.onnx")
    (tmp_path / "yunet_n.onnx").write_bytes(b"not a network")
    with pytest.raises(InputError, match=r"yunet_n\.onnx cannot be opened as the YuNet-n network"):
        FaceTeacher.yunet(tmp_path / "yunet_n.onnx")
    with pytest.raises(InputError, match=r"is not the CenterFace network: it has no output 537, 538"):
        FaceTeacher.centerface(ModelFile.shipped("embedder").path)


@pytest.mark.shared
def test_teachers_find_the_faces_of_labelled_pictures(shared_data: Path) -> None:
    """Decoding is right if two teachers reach what is known of them on a few pictures."""
    from engine.metrics import FaceTruth, average_precision
    from train.data.boxes import load_box_set

    pictures = load_box_set(shared_data / "detect" / "train.zip")[::60]
    folder = shared_data / "teachers"
    for teacher in (FaceTeacher.yunet(folder / "yunet_n.onnx"), FaceTeacher.centerface(folder / "centerface.onnx")):
        seen = [teacher.detect(p.rgb, 416) for p in pictures]
        truths = [FaceTruth(p.boxes, p.ignore) for p in pictures]
        assert average_precision(seen, truths, minimum=20).ap > 0.75, teacher.name


def test_opinions_lie_in_the_cells_they_are_about(monkeypatch: pytest.MonkeyPatch) -> None:
    strides, asked = (8, 16, 32), []
    outputs: dict[str, np.ndarray] = {}
    for stride in strides:
        cells = (64 // stride) ** 2
        outputs |= {f"{name}_{stride}": np.zeros((1, cells, n), np.float32) for name, n in (("bbox", 4), ("kps", 10))}
        outputs |= {f"{name}_{stride}": np.full((1, cells, 1), 0.25, np.float32) for name in ("cls", "obj")}
    outputs["cls_16"][0, 6] = 1.0  # row 1, column 2
    outputs["bbox_16"][0, 6] = [0.5, 0.25, np.log(2), np.log(1.5)]

    class Silent:
        def answer(self, rgb: np.ndarray) -> dict[str, np.ndarray]:
            asked.append(rgb)
            return outputs

    monkeypatch.setattr(FaceTeacher, "yunet", lambda path, threads: Silent())
    faces = np.array([[24, 8, 56, 32], [0, 40, 8, 48]], np.float32)
    sample = Sample(np.full((64, 64, 3), 7, np.uint8), faces, np.array([False, True]), unknown_landmarks(2))
    said = DenseTeacher(Path("yunet_n.onnx")).opinions([sample, sample], strides)
    assert len(asked) == 2
    assert said.scores.shape == (2, 64 + 16 + 4)
    assert said.heard.tolist() == [1.0] * 80 + [0.0] * 4
    assert said.scores[1, 64 + 6] == 0.5
    np.testing.assert_allclose(said.boxes[1, 64 + 6], [40 - 16, 20 - 12, 40 + 16, 20 + 12])
    np.testing.assert_allclose(said.scores[0, :64], 0.25)
    assert not said.scores[:, 80:].any()
    known = known_cells([sample, sample], strides)
    assert known.shape == said.scores.shape
    assert known[0, :64].reshape(8, 8)[1:4, 3:7].all()
    assert known[0, :64].sum() == 12  # the ignored face is not known


def test_a_teacher_draws_faces_that_are_known_as_they_are_known() -> None:
    known = np.array([[10, 14, 30, 34], [60, 60, 70, 70]], np.float32)
    seen = np.array(
        [
            [10, 8, 30, 33],  # higher up, as around a mask
            [11, 8, 31, 33],  # the same face from another cell
            [10, 8, 30, 33],  # hardly seen
            [60, 60, 90, 90],  # far larger than the known one
            [80, 10, 90, 20],  # nobody knew
        ],
        np.float32,
    )
    scores = np.array([0.9, 0.4, 0.2, 0.9, 0.8], np.float32)
    drawn = settled(seen, scores, known)
    np.testing.assert_array_equal(drawn, [known[0], known[0], *seen[2:]])
    np.testing.assert_array_equal(settled(seen, scores, known[:0]), seen)
