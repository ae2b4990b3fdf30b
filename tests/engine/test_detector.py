"""Detection on pictures whose faces are known, decoding against a plain reference, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import Detections, Detector, Letterbox
from engine.decoding import candidates, select
from engine.devices import Backend
from engine.errors import InputError
from engine.letterbox import letterbox
from engine.metrics import box_iou
from engine.nms import nms
from tests.networks import PEOPLE, POINTS, scene, write_detector

BOXES = [(100, 50, 160, 130), (400, 200, 560, 420), (700, 60, 724, 90)]
COLOURS = list(PEOPLE.values())


def picture(width: int = 853, height: int = 481, boxes: Sequence[tuple[int, ...]] | None = None) -> NDArray[np.uint8]:
    return scene(width, height, list(zip(BOXES if boxes is None else boxes, COLOURS, strict=False)))


def check(faces: Detections, boxes: Sequence[tuple[int, ...]], atol: float = 1.5) -> None:
    assert len(faces) == len(boxes)
    assert (np.diff(faces.scores) <= 0).all()
    order = np.argsort(faces.boxes[:, 0])
    expected = np.array(sorted(boxes), np.float32).reshape(-1, 4)
    np.testing.assert_allclose(faces.boxes[order], expected, atol=atol)
    points = expected[:, None, :2] + POINTS * (expected[:, None, 2:] - expected[:, None, :2])
    np.testing.assert_allclose(faces.landmarks[order], points, atol=atol)
    assert all(a.dtype == np.float32 for a in (faces.boxes, faces.scores, faces.landmarks))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_finds_faces_where_they_are(backend: Backend, detector_file: Path) -> None:
    found = Detector.open(detector_file, backend=backend, threads=1).detect([picture()])
    check(found[0], BOXES)


def test_pictures_of_many_shapes_come_back_in_their_order(detector: Detector) -> None:
    small, upright = [(10, 10, 40, 50)], [(100, 500, 200, 640)]
    pictures = [
        picture(),
        scene(320, 180),
        picture(160, 120, small),
        picture(),
        picture(480, 854, upright),
        scene(64, 64),
    ]
    before = detector.session.work.inferences, detector.session.work.items
    found = detector.detect(pictures)
    for faces, expected in zip(found, [BOXES, [], small, BOXES, upright, []], strict=True):
        check(faces, expected)
    # 640×384 three times, 640×480, 384×640, 640×640: one inference for each shape.
    assert detector.session.work.inferences - before[0] == 4
    assert detector.session.work.items - before[1] == 6


def test_long_lists_go_in_batches(detector: Detector) -> None:
    before = detector.session.work.inferences
    small = Detector(detector.session, size=128)
    found = small.detect([scene(128, 64)] * 20)
    assert [len(faces) for faces in found] == [0] * 20
    assert detector.session.work.inferences - before == 3


def test_nothing_in_nothing_out(detector: Detector) -> None:
    assert detector.detect([]) == []
    assert detector.detect_letterboxed(np.zeros((0, 64, 64, 3), np.uint8), []) == []


def test_the_two_doors_lead_to_the_same_room(detector: Detector) -> None:
    rgb = picture()
    box = detector.letterbox(853, 481)
    through = detector.detect_letterboxed(letterbox(rgb, box)[None], [box])[0]
    direct = detector.detect([rgb])[0]
    for name in ("boxes", "scores", "landmarks"):
        np.testing.assert_array_equal(getattr(through, name), getattr(direct, name))


def test_the_padding_of_a_letterbox_is_not_part_of_the_picture(detector: Detector) -> None:
    box = Letterbox.fit(640, 360)
    batch = np.zeros((1, 384, 640, 3), np.uint8)
    batch[0, 340:380, 300:340] = PEOPLE["ann"]  # half of it below the picture's edge
    faces = detector.detect_letterboxed(batch, [box])[0]
    assert faces.boxes[0, 3] == 360
    batch[0] = 0
    batch[0, 364:380, 300:316] = PEOPLE["ann"]  # all of it
    assert len(detector.detect_letterboxed(batch, [box])[0]) == 0


def test_jobs_overlap_and_copy_nothing(detector: Detector) -> None:
    box = detector.letterbox(640, 360)
    jobs = [detector.job(1, 384, 640) for _ in range(3)]
    places = [[(100 + 90 * n, 100, 160 + 90 * n, 180)] for n in range(3)]
    for job, place in zip(jobs, places, strict=True):
        letterbox(picture(640, 360, place), box, job.pixels[0])
        job.start([box])
    for job, place in reversed(list(zip(jobs, places, strict=True))):
        check(job.result()[0], place)
    with pytest.raises(RuntimeError, match="once"):
        jobs[0].result()
    assert detector.session.work.copies == 0


def test_requests_are_reused(detector_file: Path) -> None:
    detector = Detector.open(detector_file, threads=1, size=128)
    for _ in range(5):
        detector.detect([scene(128, 96)])
    assert detector.session.work.requests == 1
    assert detector.session.work.inferences == 5


def test_several_threads(detector: Detector) -> None:
    found: dict[int, Detections] = {}

    def work(n: int) -> None:
        found[n] = detector.detect([picture(640, 360, [(60 * n + 60, 100, 60 * n + 120, 160)])])[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(4):
        check(found[n], [(60 * n + 60, 100, 60 * n + 120, 160)])


def test_thresholds(detector: Detector) -> None:
    scores = detector.detect([picture()])[0].scores
    assert len(detector.detect([picture()], threshold=float(scores[1]))[0]) == 2  # reaching it is enough
    assert len(detector.detect([picture()], threshold=0.999)[0]) == 0
    assert detector.threshold == 0.5
    strict = Detector(detector.session, threshold=0.999)
    assert len(strict.detect([picture()])[0]) == 0
    assert len(strict.detect([picture()], threshold=0.0001)[0]) == 3


def test_another_size_for_one_call(detector: Detector) -> None:
    tiny = [(1000, 500, 1012, 514)]
    rgb = picture(1920, 1080, tiny)
    assert len(detector.detect([rgb])[0]) == 0
    check(detector.detect([rgb], size=1920)[0], tiny)


def test_at_most_so_many_faces(detector: Detector) -> None:
    few = Detector(detector.session, limit=2).detect([picture()])[0]
    assert few.scores.tolist() == detector.detect([picture()])[0].scores[:2].tolist()


def test_takes_views_that_are_not_contiguous(detector: Detector) -> None:
    bgr = np.ascontiguousarray(picture()[:, :, ::-1])
    check(detector.detect([bgr[:, :, ::-1]])[0], BOXES)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((10, 10, 3), np.float32),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((0, 10, 3), np.uint8),
        [[1, 2, 3]],
        "photo.jpg",
    ],
)
def test_what_is_no_picture(detector: Detector, wrong: object) -> None:
    with pytest.raises(ValueError, match=r"picture 1 must be"):
        detector.detect([scene(8, 8), wrong])  # type: ignore[list-item]


def test_batches_that_do_not_fit(detector: Detector) -> None:
    box = Letterbox.fit(640, 360)
    with pytest.raises(ValueError, match="letterboxes padded to 640x384"):
        detector.detect_letterboxed(np.zeros((2, 384, 640, 3), np.uint8), [box])
    with pytest.raises(ValueError, match="letterboxes padded to 640x352"):
        detector.detect_letterboxed(np.zeros((1, 352, 640, 3), np.uint8), [box])
    with pytest.raises(ValueError, match="multiples of 32"):
        detector.detect_letterboxed(np.zeros((1, 360, 640, 3), np.uint8), [box])
    with pytest.raises(ValueError, match="expected uint8"):
        detector.detect_letterboxed(np.zeros((384, 640, 3), np.uint8), [box])


def reference(
    head: NDArray[np.float32], stride: int, threshold: float, width: float, height: float
) -> list[list[float]]:
    """Decoding as the convention's sentence reads, cell by cell in float64."""
    rows = []
    for j, i in np.ndindex(*head.shape[:2]):
        score, left, top, right, bottom, *offsets = head[j, i].astype(np.float64)
        x, y = (i + 0.5) * stride, (j + 0.5) * stride
        box = [x - left * stride, y - top * stride, x + right * stride, y + bottom * stride]
        box = np.clip(box, 0, [width, height, width, height]).tolist()
        points = [(x, y)[k % 2] + v * stride for k, v in enumerate(offsets)]
        if score >= threshold and np.isfinite(head[j, i]).all() and box[2] > box[0] and box[3] > box[1]:
            rows.append([*box, score, *points])
    return rows


@pytest.mark.parametrize("stride", [8, 64])
def test_decoding_agrees_with_the_reference(stride: int) -> None:
    rng = np.random.default_rng(stride)
    head = rng.normal(0.6, 1, (12, 20, 15)).astype(np.float32)
    head[rng.random(head.shape) < 0.005] = np.nan
    head[rng.random(head.shape) < 0.005] = np.inf
    width, height = 18.7 * stride, 11.2 * stride
    expected = np.array(reference(head, stride, 0.5, width, height), np.float32)
    assert 20 < len(expected) < 200
    np.testing.assert_allclose(candidates(head, stride, 0.5, width, height), expected, rtol=1e-5, atol=1e-3)


def test_a_face_without_geometry_is_left_out() -> None:
    head = np.zeros((1, 3, 15), np.float32)
    head[..., 0] = 0.9
    head[..., 1:5] = 1
    head[0, 1, 5:] = np.arange(10)
    assert candidates(head, 8, 0.5, 100.0, 100.0).shape == (1, 15)


def test_select_keeps_rows_whole() -> None:
    faces = np.random.default_rng(0).random((6, 15)).astype(np.float32)
    faces[:, 2:4] += 1
    faces[:, :4] += 10 * np.arange(6)[:, None]
    kept = select(faces, 0.4, 300)
    np.testing.assert_array_equal(kept, faces[np.argsort(-faces[:, 4], kind="stable")])
    assert select(faces[:0], 0.4, 300).shape == (0, 15)


def test_select_stops_at_the_least_score_as_if_it_had_gone_on() -> None:
    rng = np.random.default_rng(1)
    faces = rng.uniform(0, 60, (80, 15)).astype(np.float32)
    faces[:, 2:4] = faces[:, :2] + rng.uniform(10, 40, (80, 2)).astype(np.float32)
    faces[:, 4] = rng.integers(1, 10, 80) / np.float32(10)
    all_of_them = select(faces, 0.4, 300)
    for least in (0.0, 0.3, 0.35, 0.9, 1.0):
        wanted = all_of_them[all_of_them[:, 4] >= np.float32(least)]
        np.testing.assert_array_equal(select(faces, 0.4, 300, least), wanted)
        assert len(wanted) < len(all_of_them) or least == 0


def voted(faces: NDArray[np.float32], kept: NDArray[np.intp]) -> NDArray[np.float64]:
    """Voting as its sentence reads, in float64."""
    rows = []
    for best in faces[kept].astype(np.float64):
        overlaps = box_iou(best[None, :4], faces[:, :4].astype(np.float64))[0]
        weights = overlaps * faces[:, 4] * ((overlaps >= 0.6) & (faces[:, 4] >= 0.5 * best[4]))
        row = weights @ faces.astype(np.float64) / weights.sum()
        row[4] = best[4]
        rows.append(row)
    return np.array(rows)


@given(st.integers(0, 2**32 - 1))
def test_boxes_and_points_are_averaged_over_those_that_mean_the_same_face(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 600, (4, 1, 2)) + rng.normal(0, 3, (4, 6, 2))
    sides = rng.uniform(20, 60, (4, 1, 2)) * rng.uniform(0.9, 1.1, (4, 6, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=2).reshape(-1, 4)
    faces = np.hstack([boxes, rng.uniform(0.1, 1, (24, 1)), rng.uniform(0, 600, (24, 10))]).astype(np.float32)
    kept = nms(faces[:, :4], faces[:, 4], 0.4)
    np.testing.assert_allclose(select(faces, 0.4, 300), voted(faces, kept), rtol=1e-4, atol=1e-3)


def test_faces_do_not_depend_on_the_threshold_that_lets_them_through(detector: Detector) -> None:
    rgb = picture()
    few = detector.detect([rgb], threshold=0.7)[0]
    many = detector.detect([rgb], threshold=0.1)[0]
    assert 0 < len(few) <= len(many)
    np.testing.assert_array_equal(many.boxes[: len(few)], few.boxes)
    np.testing.assert_array_equal(many.landmarks[: len(few)], few.landmarks)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"iznet.strides": ""}, r"iznet\.strides is ''; it should be like 8,16,32"),
        ({"iznet.strides": "8,sixteen"}, r"iznet\.strides is '8,sixteen'"),
        ({"iznet.strides": "8,16,32,64"}, r"has an output head64 float32 \[N,H/64,W/64,15\]; this has head8"),
        ({"iznet.threshold": ""}, r"iznet\.threshold is ''"),
        ({"iznet.kind": "cat"}, r"a network of kind 'cat'; a detector carries"),
    ],
)
def test_networks_that_are_no_detector(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Detector.open(write_detector(tmp_path / "odd.onnx", metadata=metadata))
    assert str(caught.value).startswith(str(tmp_path / "odd.onnx"))


def test_an_embedder_that_says_it_is_a_detector(tmp_path: Path) -> None:
    from tests.networks import write_embedder

    path = write_embedder(tmp_path / "e.onnx", 128, metadata={"iznet.kind": "detector", "iznet.strides": "8"})
    with pytest.raises(InputError, match=r"one input, images uint8 \[N,H,W,3\]; this has faces uint8"):
        Detector.open(path)
