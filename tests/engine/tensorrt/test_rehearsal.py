"""The tests of `tests/gpu/test_device_vision.py`, rehearsed on the pretended GPU: small networks, a small clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from tests.engine.tensorrt.double import Machine
from tests.engine.tensorrt.test_zero_copies import FRAMES, HEIGHT, SIZE, WIDTH, gallery, stage  # noqa: F401
from tests.gpu import test_device_vision as real
from tests.stream import media

Pair = tuple[Detector, Embedder]


@pytest.fixture
def package() -> str:
    return "cuda-bindings"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = media.Video(frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage, pixel_format="yuv420p")
    return SimpleNamespace(clip=media.write(tmp_path_factory.mktemp("clips") / "mv.mkv", made))


@pytest.fixture
def networks(seeing: Machine, detector_file: Path, embedder_file: Path) -> Iterator[Pair]:
    detector = Detector.open(detector_file, "gpu", None, SIZE, precision="f32", video=True)
    embedder = Embedder.open(embedder_file, "gpu", None, precision="f32", video=True)
    yield detector, embedder
    detector.close()
    embedder.close()


@pytest.fixture
def on_cpu(detector_file: Path, embedder_file: Path) -> Iterator[Pair]:
    detector = Detector.open(detector_file, "cpu", "onnxruntime", SIZE)
    embedder = Embedder.open(embedder_file, "cpu", "onnxruntime")
    yield detector, embedder
    detector.close()
    embedder.close()


def test_the_decoder(networks: Pair, demo: Any) -> None:
    real.test_the_decoder_leaves_its_pictures_on_the_gpu_and_they_are_those_of_the_cpu(demo)
    real.test_pictures_may_be_held_and_drawn_on(networks, demo)


def test_what_is_seen(networks: Pair, on_cpu: Pair, demo: Any) -> None:
    real.test_what_is_seen_is_what_the_cpu_sees(networks, on_cpu, demo)


def test_the_job(
    networks: Pair,
    on_cpu: Pair,
    demo: Any,
    gallery: Gallery,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    real.test_a_video_from_nvdec_to_nvenc(networks, on_cpu, demo, gallery, tmp_path / "a", monkeypatch)
    real.test_a_software_encoder_gets_the_same_frames(networks, on_cpu, demo, gallery, tmp_path / "b")


def test_leaks(networks: Pair, demo: Any, seeing: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "free_memory", lambda: seeing.room)
    monkeypatch.setattr(real, "SETTLED", 2)  # to the byte: the double has no libraries that keep some
    monkeypatch.setattr(real, "PICTURES", 6)
    real.test_looking_leaks_nothing(networks, demo)
