"""The main job and the command line, whole, on a pretended GPU."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from stream import label_video, read_tracks
from stream.result import LabelResult
from stream.samples import sample_pictures
from tests import networks
from tests.engine.tensorrt.double import Machine
from tests.stream import media
from tools import cli

SIZE = 320
FRAMES = 24


@pytest.fixture
def package() -> str:
    """One is enough here: `test_session.py` goes through both."""
    return "cuda-bindings"


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Ann and Ben walk towards each other."""
    faces = [((20 + 3 * index, 60, 68 + 3 * index, 120), "ann"), ((240 - 3 * index, 150, 288 - 3 * index, 210), "ben")]
    return networks.scene(width, height, [(box, networks.PEOPLE[name]) for box, name in faces])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    video = media.Video(frames=FRAMES, width=320, height=240, picture=stage, pixel_format="yuv444p")
    return media.write(tmp_path_factory.mktemp("clips") / "mv.mkv", video)


@pytest.fixture(scope="module")
def gallery(embedder: Embedder) -> Gallery:
    return networks.gallery_of(embedder)


class Networks:
    """A detector and an embedder on one device."""

    def __init__(self, detector: Path, embedder: Path, device: Any, precision: Any = "auto") -> None:
        backend: Any = "onnxruntime" if device == "cpu" else None
        self.detector = Detector.open(detector, device, backend, SIZE, precision=precision, video=True)
        self.embedder = Embedder.open(embedder, device, backend, precision=precision, video=True)

    def label(self, clip: Path, gallery: Gallery, target: Path) -> LabelResult:
        return label_video(clip, target, gallery=gallery, detector=self.detector, embedder=self.embedder)

    def close(self) -> None:
        self.detector.close()
        self.embedder.close()


@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_a_video_is_labelled_as_on_the_cpu(
    precision: str,
    machine: Machine,
    clip: Path,
    gallery: Gallery,
    detector_file: Path,
    embedder_file: Path,
    tmp_path: Path,
) -> None:
    records = []
    for device in ("cpu", "gpu"):
        used = Networks(detector_file, embedder_file, device, precision if device == "gpu" else "f32")
        result = used.label(clip, gallery, tmp_path / f"{device}.mkv")
        used.close()
        assert result.frames == FRAMES
        assert {person.name for person in result.people} == {"ann", "ben"}
        assert result.networks["detector"]["inferences"] > 0
        said = [
            note for note in result.notes if note.startswith("on the GPU: the networks alone; pictures are decoded")
        ]
        assert len(said) == (device == "gpu"), "this installation has no kernels"
        records.append(read_tracks(result.tracks))
    cpu, gpu = records
    assert [[face.name for face in frame.faces] for frame in gpu.frames] == [
        [face.name for face in frame.faces] for frame in cpu.frames
    ]
    for mine, theirs in zip(gpu.frames, cpu.frames, strict=True):
        for one, other in zip(mine.faces, theirs.faces, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=1e-3 if precision == "f32" else 1.0)
    assert any(line.startswith("launch") for line in machine.log), "a video's pictures are of one size: a graph runs"


def test_a_gpu_that_fails_in_the_middle_fails_the_job_and_leaves_nothing(
    machine: Machine, clip: Path, gallery: Gallery, detector_file: Path, embedder_file: Path, tmp_path: Path
) -> None:
    used = Networks(detector_file, embedder_file, "gpu", "f32")
    start = used.detector.session.request

    def fails_later() -> Any:
        machine.fail["copy out"] = RuntimeError("an illegal address")
        return start()

    used.detector.session.request = fails_later  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="an illegal address"):
        used.label(clip, gallery, tmp_path / "out.mkv")
    used.close()
    assert not (tmp_path / "out.mkv").exists()
    assert not machine.stack()


def test_many_pictures_go_through_in_batches(machine: Machine, detector_file: Path, embedder_file: Path) -> None:
    used = Networks(detector_file, embedder_file, "gpu", "f32")
    on_cpu = Networks(detector_file, embedder_file, "cpu")
    pictures = [stage(n, 320, 240) for n in range(11)]
    for mine, theirs in zip(used.detector.detect(pictures), on_cpu.detector.detect(pictures), strict=True):
        np.testing.assert_array_equal(mine.boxes, theirs.boxes)
    faces = np.random.default_rng(1).integers(0, 255, (19, 112, 112, 3), np.uint8)
    np.testing.assert_allclose(used.embedder.embed(faces), on_cpu.embedder.embed(faces), atol=1e-6)
    used.close()
    on_cpu.close()


def test_the_next_batch_is_under_way_before_the_last_is_waited_for(
    machine: Machine, detector_file: Path, embedder_file: Path
) -> None:
    used = Networks(detector_file, embedder_file, "gpu", "f32")
    calls = (
        lambda: used.detector.detect([stage(n, 320, 240) for n in range(20)]),
        lambda: used.embedder.embed(np.zeros((40, 112, 112, 3), np.uint8)),
    )
    for call in calls:
        machine.log.clear()
        call()
        steps = [line.split()[0] for line in machine.log if line.startswith(("put network", "wait"))]
        assert steps == ["put", "put", "wait", "put", "wait", "wait"]
        assert len({line for line in machine.log if line.startswith("put network")}) == 2, "two streams take turns"
    used.close()


# --- the command line ---


def iznet(*arguments: str | Path) -> int:
    return cli.run([str(argument) for argument in arguments])


def test_engine_build(
    machine: Machine, clip: Path, detector_file: Path, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    command = ("engine", "build", detector_file, "--size", SIZE, "--frames", clip)
    assert iznet(*map(str, command)) == 0
    said = capsys.readouterr()
    assert "rectangles: built in" in said.out
    assert "checked: 24 pictures, 48 faces" in said.out
    assert "AP 1.0000" in said.out
    assert "rectangles: Building" in said.err
    assert iznet(*map(str, command)) == 0
    assert "the engine that is kept fits" in capsys.readouterr().out
    assert machine.builds == 1
    # And it is what `--device gpu` then takes.
    session = Detector.open(detector_file, "gpu", size=SIZE)
    session.close()
    assert machine.builds == 1


def test_an_engine_of_other_options_is_loaded_and_not_built_again(
    machine: Machine, clip: Path, detector_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("engine", "build", detector_file, "--size", str(SIZE), "--frames", clip)
    assert iznet(*command, "--level", "5", "--workspace", "512") == 0
    Detector.open(detector_file, "gpu", size=SIZE).close()
    assert machine.builds == 1
    assert machine.loaded[-1].header["level"] == 5
    # Only who asks for options gets them built: others than the kept engine's, but not the same once more.
    assert iznet(*command, "--level", "5", "--workspace", "512") == 0
    assert machine.builds == 1
    for count, options in enumerate((("--level", "4", "--workspace", "512"), ("--level", "5"), ()), 2):
        assert iznet(*command, *options) == 0
        assert machine.builds == count
    Detector.open(detector_file, "gpu", size=SIZE).close()
    assert machine.builds == 4
    assert machine.loaded[-1].header["level"] == 3, "the one built last"


def test_engine_build_says_it_in_json(
    machine: Machine, detector_file: Path, embedder_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert iznet("engine", "build", detector_file, embedder_file, "--size", "128", "--precision", "f32", "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["model"] == str(detector_file)
    assert Path(first["engine"]).is_file()
    assert (first["kept"], first["accuracy"]["score"]) == (False, 0.0)
    assert second["accuracy"]["cosine"] == pytest.approx(1, abs=1e-6)


def test_engine_build_of_sizes_of_ones_own(
    machine: Machine, detector_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = ("--min", "1x32x32x3", "--opt", "1x96x128x3", "--max", "1x128x128x3")
    assert iznet("engine", "build", detector_file, *shapes, "--size", "128", "--precision", "f32") == 0
    assert machine.loaded[-1].header["profiles"] == [{"images": [[1, 32, 32, 3], [1, 96, 128, 3], [1, 128, 128, 3]]}]
    assert iznet("engine", "build", detector_file, *shapes[:4]) == 2
    assert iznet("engine", "build", detector_file, *shapes[:4], "--max", "1x64x64x3") == 2
    assert "must grow from min to opt to max" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["label", "build", "bench", "enroll"])
def test_without_a_gpu_the_command_ends_and_says_what_to_do(
    command: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine import cuda_driver
    from engine.errors import MissingError

    def library() -> None:
        raise MissingError("there is no NVIDIA driver here; a GPU needs the driver 580 or newer")

    monkeypatch.setattr(cuda_driver, "library", library)
    output = tmp_path / "out.mkv"
    commands: dict[str, tuple[str | Path, ...]] = {
        "label": ("label", clip, "-o", output, "--device", "gpu"),
        "build": ("engine", "build"),
        "bench": ("bench", "--device", "gpu"),
        "enroll": ("enroll", tmp_path, "-o", tmp_path / "x.gallery", "--device", "gpu"),
    }
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.jpg").write_bytes(b"")
    assert iznet(*commands[command]) == 4
    said = capsys.readouterr().err
    if command == "build":  # it has no --device to give
        assert said.startswith("iznet: error: there is no NVIDIA driver here")
        assert "--device" not in said
    else:
        assert said.startswith("iznet: error: --device gpu: there is no NVIDIA driver here")
        assert said.strip().endswith("or use --device cpu")
    assert not output.exists()


def test_doctor_and_auto_say_which_gpu(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    iznet("doctor", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["auto"]["device"], report["auto"]["backend"]) == ("gpu", "tensorrt")
    assert "Pretended GPU" in report["auto"]["reason"]


def test_a_first_run_says_that_it_builds(
    machine: Machine, detector_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Detector.open(detector_file, "gpu", size=128).close()
    assert "building the engine of rectangles in f16 for the Pretended GPU" in caplog.text
    caplog.clear()
    Detector.open(detector_file, "gpu", size=128).close()
    assert not caplog.text


def test_pictures_out_of_a_video(clip: Path, tmp_path: Path) -> None:
    for count in (1, 5, FRAMES, 100):
        pictures = sample_pictures([clip], count)
        assert len(pictures) == min(count, FRAMES)
        assert pictures[0].shape == (240, 320, 3)
        assert pictures[0].dtype == np.uint8
    first, *_, last = sample_pictures([clip], 4)
    assert np.abs(first.astype(int) - stage(0, 320, 240)).mean() < 2
    assert np.abs(last.astype(int) - stage(FRAMES - 1, 320, 240)).mean() < 12
