"""Pictures that stay on a real GPU, from NVDEC to NVENC: `python -m pytest -m gpu tests/gpu -v`.

That what is computed is right is shown without a GPU by `tests/engine/cuda` and `tests/engine/tensorrt`. What is left
for the hardware: that its decoder's and encoder's memory is what the kernels are told, that nothing more crosses over,
that nothing leaks, and how fast it is. Speeds are compared within one run, never with a number from another machine.
"""

from __future__ import annotations

import gc
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import device_vision, devices
from engine.cuda.loading import fatbin
from engine.detector import Detector
from engine.device_vision import Vision
from engine.embedder import Embedder
from engine.enrolment import enroll
from engine.errors import MissingError
from engine.gallery import Gallery
from stream import label_video, read_tracks
from stream.device_pictures import device_frame
from stream.encoders import KINDS
from stream.encoding import EncoderSettings
from stream.eyes import HostEyes
from stream.frames import Frame
from stream.gpu_eyes import GpuEyes
from stream.patches import SIDE
from stream.planes import PixelLayout, on_gpu, stored_format
from stream.shots import GRID
from stream.source import FileSource
from tests.gpu.test_tensorrt import free_memory
from tests.stream.compared import faces_compared
from tools.health import encoder

pytestmark = pytest.mark.gpu
ROUNDS = 200


@pytest.fixture(scope="module", autouse=True)
def gpu() -> str:
    """The GPU here, or the reason why there is none."""
    try:
        found = devices.gpu()
        fatbin()
        return found
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A clip and photos of the people on it."""
    demo_clip = pytest.importorskip("tools.demo_clip")
    pytest.importorskip("skimage", reason="needs the extra demo")
    return demo_clip.build(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def gallery(demo: Any) -> Gallery:
    return enroll(demo.photos, Detector.open(), Embedder.open()).gallery


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[Detector, Embedder]]:
    detector, embedder = Detector.open(device="gpu", video=True), Embedder.open(device="gpu", video=True)
    yield detector, embedder
    detector.close()
    embedder.close()


@pytest.fixture(scope="module")
def on_cpu() -> Iterator[tuple[Detector, Embedder]]:
    detector, embedder = Detector.open(backend="onnxruntime"), Embedder.open(backend="onnxruntime")
    yield detector, embedder
    detector.close()
    embedder.close()


def frames(clip: Path, there: bool, count: int) -> list[Frame]:
    """The first frames, decoded by the GPU or by the CPU."""
    with FileSource(clip) as source:
        source.on_gpu = there
        return [frame for frame, _ in zip(source.frames(), range(count), strict=False)]


# --- NVDEC ---


def test_the_decoder_leaves_its_pictures_on_the_gpu_and_they_are_those_of_the_cpu(demo: Any) -> None:
    for mine, theirs in zip(frames(demo.clip, True, 20), frames(demo.clip, False, 20), strict=True):
        assert on_gpu(mine.picture)
        assert not on_gpu(theirs.picture)
        assert (mine.pts, mine.index) == (theirs.pts, theirs.index)
        name = stored_format(mine.picture)
        down, other = mine.picture.reformat(format=name), theirs.picture.reformat(format=name)
        for one, its in zip(PixelLayout.of(name).views(down), PixelLayout.of(name).views(other), strict=True):
            np.testing.assert_array_equal(one, its)


def test_pictures_may_be_held_and_drawn_on(networks: tuple[Detector, Embedder], demo: Any) -> None:
    """A look-ahead holds seconds of them, and what is drawn must not come back in pictures predicted from them."""
    with closing(Vision(networks[0])) as vision:
        held = []
        with FileSource(demo.clip) as source:
            source.on_gpu = True
            for frame, _ in zip(source.frames(), range(90), strict=False):
                layout = PixelLayout.of(stored_format(frame.picture))
                ink = layout.ink((1.0, 0.0, 0.0), 1, False)
                place = device_vision.Place(0, 0, source.info.coded_width, 16)
                vision.draw(device_frame(frame.picture), [device_vision.Outline(place, ink, 16)])
                held.append(frame)
        for mine, theirs in zip(held, frames(demo.clip, False, len(held)), strict=True):
            name = stored_format(mine.picture)
            down, other = mine.picture.reformat(format=name), theirs.picture.reformat(format=name)
            views = PixelLayout.of(name).views
            assert (views(down)[0][:16] == views(down)[0][0, 0]).all()
            np.testing.assert_array_equal(views(down)[0][16:], views(other)[0][16:])


# --- what is seen ---


def test_what_is_seen_is_what_the_cpu_sees(
    networks: tuple[Detector, Embedder], on_cpu: tuple[Detector, Embedder], demo: Any
) -> None:
    with FileSource(demo.clip) as source:
        info = source.info
    eyes, theirs = GpuEyes(info, *networks), HostEyes(info, *on_cpu)
    seen = 0
    for mine, other in zip(frames(demo.clip, True, 40)[::8], frames(demo.clip, False, 40)[::8], strict=True):
        np.testing.assert_array_equal(eyes.cells(mine), theirs.cells(other))
        there, here = eyes.faces(mine, 0.5, coarse=True), theirs.faces(other, 0.5, coarse=True)
        uploaded = eyes.faces(Frame(other.picture, 1000 + other.index, 0, info.time_base), 0.5, coarse=True)
        np.testing.assert_allclose(uploaded.boxes, there.boxes, atol=1e-3)
        assert len(there) == len(here)
        if not len(here):
            continue
        seen += len(here)
        size = (here.boxes[:, 2] - here.boxes[:, 0]).max()
        np.testing.assert_allclose(there.boxes, here.boxes, atol=0.03 * size)
        points, turned = list(here.landmarks), [bool(number % 2) for number in range(len(here))]
        (a, sharp_a), (b, sharp_b) = (
            each.embeddings(frame, points, turned) for each, frame in ((eyes, mine), (theirs, other))
        )
        assert np.einsum("nd,nd->n", a, b).min() > 0.97
        np.testing.assert_allclose(sharp_a, sharp_b, atol=0.1)
        np.testing.assert_array_equal(eyes.patches(mine, here.boxes), theirs.patches(other, here.boxes))
    assert seen
    eyes.close()


# --- the whole job ---


def test_a_video_from_nvdec_to_nvenc(
    networks: tuple[Detector, Embedder],
    on_cpu: tuple[Detector, Embedder],
    demo: Any,
    gallery: Gallery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The names of the CPU, and nothing crosses over but cells, claims, embeddings, and each name's bitmap once."""
    if not (there := encoder("nvenc", KINDS["nvenc"])).ok:
        pytest.skip(f"{there.detail}; GPUs for data centres, such as the A100 and the H100, have no NVENC")
    claimed: list[int] = []
    masks: dict[object, int] = {}
    result_of, put = device_vision._Claims.result, device_vision._Held.mask

    def counted(self: Any) -> NDArray[np.float32]:
        found = result_of(self)
        claimed.append(len(found))
        return found

    def watched(self: Any, key: object, mask: NDArray[np.uint8], bench: Any) -> int:
        masks[key] = mask.size
        return put(self, key, mask, bench)

    monkeypatch.setattr(device_vision._Claims, "result", counted)
    monkeypatch.setattr(device_vision._Held, "mask", watched)
    compared = faces_compared(monkeypatch)
    detector, embedder = networks
    traffic = detector.session.gpu.traffic  # type: ignore[attr-defined]
    up, down = traffic.up, traffic.down
    result = label_video(
        demo.clip,
        tmp_path / "gpu.mp4",
        gallery=gallery,
        detector=detector,
        embedder=embedder,
        encoder=EncoderSettings("nvenc"),
    )
    assert result.notes[0] == "on the GPU: decoding, scaling, networks, cutting of faces, drawing, encoding"
    cells = result.frames * 3 * GRID[0] * GRID[1]
    embeddings = result.networks["embedder"]["items"] * (embedder.dimension + 1) * 4
    patches = sum(compared) * 3 * SIDE**2
    assert traffic.down - down == cells + len(claimed) * 4 + sum(claimed) * 60 + embeddings + patches
    assert traffic.up - up == sum(masks.values())

    here = label_video(demo.clip, tmp_path / "cpu.mp4", gallery=gallery, detector=on_cpu[0], embedder=on_cpu[1])
    mine, theirs = read_tracks(result.tracks).frames, read_tracks(here.tracks).frames
    named = [[{face.name for face in frame.faces if face.name} for frame in record] for record in (mine, theirs)]
    assert sum(a == b for a, b in zip(*named, strict=True)) >= 0.98 * len(theirs)
    # Both encoders were given the same drawing.
    pairs = zip(pictures(tmp_path / "gpu.mp4"), pictures(tmp_path / "cpu.mp4"), strict=True)
    assert statistics.mean(float(np.abs(a.astype(int) - b).mean()) for a, b in pairs) < 4


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        decoded = (frame.to_ndarray(format="rgb24")[::4, ::4] for frame in container.decode(video=0))
        return [np.asarray(picture, np.uint8) for picture in decoded]


def test_a_software_encoder_gets_the_same_frames(
    networks: tuple[Detector, Embedder],
    on_cpu: tuple[Detector, Embedder],
    demo: Any,
    gallery: Gallery,
    tmp_path: Path,
) -> None:
    result, here = (
        label_video(demo.clip, tmp_path / name, gallery=gallery, detector=used[0], embedder=used[1])
        for name, used in (("gpu.mp4", networks), ("cpu.mp4", on_cpu))
    )
    assert "frames come down to be drawn on and encoded by" in result.notes[0]
    assert result.frames == here.frames
    pairs = zip(pictures(tmp_path / "gpu.mp4"), pictures(tmp_path / "cpu.mp4"), strict=True)
    assert statistics.mean(float(np.abs(a.astype(int) - b).mean()) for a, b in pairs) < 1


# --- leaks ---


SETTLED = 4
"""Rounds after which memory should stay as it is."""
PICTURES = 30
"""A round."""


def test_looking_leaks_nothing(networks: tuple[Detector, Embedder], demo: Any) -> None:
    left = []
    for _ in range(2 * SETTLED):
        with closing(Vision(*networks)) as vision:
            for frame in frames(demo.clip, True, PICTURES):
                there = device_frame(frame.picture)
                vision.cells(there, *GRID)
                vision.look(there, vision.detector.letterbox(frame.picture.width, frame.picture.height)).result()
        del frame, there
        gc.collect()
        left.append(free_memory())
    # What the libraries keep for themselves is taken in the first rounds.
    assert left[-1] >= left[SETTLED - 1] - (1 << 20), left


# --- speed ---


def test_looks_beside_trtexec(networks: tuple[Detector, Embedder], demo: Any, caches: Path) -> None:
    """How much of what `trtexec` gets out of the network alone is left for whole looks: a decoded picture in, faces
    out; and that pictures which stay there are looked at faster than those that the CPU scales."""
    detector, _ = networks
    there, here = frames(demo.clip, True, 1)[0], frames(demo.clip, False, 1)[0]
    box = detector.letterbox(there.picture.width, there.picture.height)
    detector.prepare(1, box.padded_height, box.padded_width)
    with FileSource(demo.clip) as source:
        host = HostEyes(source.info, detector)
    with closing(Vision(detector)) as vision:
        frame = device_frame(there.picture)

        def on_the_gpu() -> float:
            started = time.perf_counter()
            flying = [vision.look(frame, box, coarse=False)]
            for _ in range(ROUNDS):
                flying.append(vision.look(frame, box, coarse=False))
                flying.pop(0).result()
            flying.pop().result()
            return (ROUNDS + 1) / (time.perf_counter() - started)

        def by_the_cpu() -> float:
            started = time.perf_counter()
            for _ in range(ROUNDS):
                host.faces(here, 0.5, coarse=False)
            return ROUNDS / (time.perf_counter() - started)

        on_the_gpu(), by_the_cpu()
        rates = [(on_the_gpu(), by_the_cpu()) for _ in range(5)]
    ours, scaled = (statistics.median(rate) for rate in zip(*rates, strict=True))
    print(f"{ours:.0f} looks a second at pictures on the GPU, {scaled:.0f} at those that the CPU scales")
    assert ours > scaled
    trtexec = shutil.which("trtexec")
    if trtexec is None:
        pytest.skip("no trtexec in PATH; it comes with TensorRT's tar file, not with its wheels")
    plan = max(caches.glob("*detector*-f16-*.plan"), key=lambda path: path.stat().st_mtime)
    shape = f"1x{box.padded_height}x{box.padded_width}x3"
    theirs = []
    for _ in range(3):
        said = subprocess.run(
            [trtexec, f"--loadEngine={plan}", f"--shapes=images:{shape}", "--useCudaGraph", "--infStreams=2"],
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=300,
        ).stdout
        found = re.search(r"Throughput: ([\d.]+) qps", said)
        assert found is not None, said[-2000:]
        theirs.append(float(found[1]))
    print(f"{ours / statistics.median(theirs):.2f} of trtexec's {statistics.median(theirs):.0f} a second")
    assert ours > 0.5 * statistics.median(theirs)
