"""What is done for a frame, counted: so that labelling stays cheap whatever the clock of the machine says.

Two seconds of one person who moves slowly, and one cut; the networks are the synthetic ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from stream import eyes, label_video, pictures
from stream.glyphs import Glyphs
from stream.result import LabelResult
from stream.styles import Style
from tests import networks
from tests.stream import media

FRAMES, CUT = 60, 30
WIDTH, HEIGHT = 320, 240
SHOTS = 2


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    walls = np.random.default_rng(index // CUT).integers(0, 110, (8, 10, 3), dtype=np.uint8)
    rgb = np.ascontiguousarray(walls.repeat(height // 8, 0).repeat(width // 10, 1))
    x = 60 + (index % CUT) // 2
    networks.paint(rgb, (x, 60, x + 64, 140), networks.PEOPLE["ann"])
    return rgb


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    video = media.Video(frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage)
    return media.write(tmp_path_factory.mktemp("clips") / "mv.mp4", video, [media.audio()])


@pytest.fixture(scope="module")
def gallery(embedder: Embedder) -> Gallery:
    crop = np.full((1, 112, 112, 3), networks.PEOPLE["ann"], np.uint8)
    return Gallery.build({"ann": embedder.embed(crop)}, embedder_sha256=embedder.sha256, threshold=embedder.threshold)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often something costly was done, by the name of the function that does it."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(pictures, "_reformatter")
    count(eyes, "small_rgb")
    count(eyes, "region_rgb")
    count(Glyphs, "_fit")
    return counts


@pytest.fixture
def labelled(
    clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path, counted: Counter[str]
) -> LabelResult:
    return label_video(clip, tmp_path / "out.mp4", gallery=gallery, detector=detector, embedder=embedder)


def test_each_frame_is_decoded_drawn_encoded_and_recorded_once(labelled: LabelResult) -> None:
    calls = {name: stage["calls"] for name, stage in labelled.stages.items()}
    assert calls["decode"] == FRAMES + 1, "and once more, to see that there is nothing more"
    assert calls["draw"] == calls["record"] == FRAMES
    assert calls["encode"] == FRAMES + 1
    assert labelled.latency["max_ms"] > 0


def test_faces_are_looked_for_on_few_frames(labelled: LabelResult, counted: Counter[str]) -> None:
    looks = labelled.stages["detect"]["calls"]
    assert 2 * SHOTS <= looks <= FRAMES / 4, "the first and last frame of a shot, and a few in between"
    assert counted["small_rgb"] == looks, "no picture is made small that is not looked at"
    assert labelled.networks["detector"]["items"] <= 2 * looks


def test_few_faces_are_embedded_and_no_more_than_these_cut_out(labelled: LabelResult, counted: Counter[str]) -> None:
    assert 1 <= labelled.networks["embedder"]["items"] <= 10 * SHOTS
    assert counted["region_rgb"] == labelled.networks["embedder"]["items"]


def test_no_frame_is_converted_or_copied_as_a_whole(labelled: LabelResult, counted: Counter[str]) -> None:
    assert counted["_reformatter"] == 0


def test_networks_read_and_write_in_place(
    labelled: LabelResult, clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    sessions = detector.session, embedder.session
    before = [(session.work.copies, session.work.requests) for session in sessions]
    label_video(clip, tmp_path / "two.mp4", gallery=gallery, detector=detector, embedder=embedder)
    assert [(session.work.copies, session.work.requests) for session in sessions] == before, "no copy, no new memory"


def test_a_name_is_set_once_for_each_size(labelled: LabelResult, counted: Counter[str]) -> None:
    # The face moves, and its size differs by a pixel at most.
    assert 1 <= counted["_fit"] <= 3


def test_queues_are_short(labelled: LabelResult) -> None:
    assert set(labelled.queues) == {"decoded", "looked", "labelled"}
    for name, queue in labelled.queues.items():
        assert queue["items"] == FRAMES or name == "looked"
        assert queue["depth_max"] <= queue["capacity"] <= 16
    assert labelled.queues["looked"]["capacity"] == 1, "up to sixteen frames each"


def test_who_hides_faces_looks_at_every_frame(
    clip: Path, detector: Detector, tmp_path: Path, counted: Counter[str]
) -> None:
    """A face that came and went between two looks would stay visible."""
    hidden = label_video(clip, tmp_path / "out.mp4", detector=detector, style=Style.parse(["blur"]))
    assert hidden.stages["detect"]["calls"] == counted["small_rgb"] == FRAMES


def test_opencv_brings_no_threads_of_its_own(
    clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    cv2.setNumThreads(2)
    label_video(clip, tmp_path / "out.mp4", gallery=gallery, detector=detector, embedder=embedder)
    assert cv2.getNumThreads() == 1
