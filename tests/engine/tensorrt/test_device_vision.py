"""Pictures in a GPU's memory: what is seen of them is what the CPU sees, and faults in their handling show."""

from __future__ import annotations

import contextlib
import gc
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine import device_vision
from engine.alignment import similarity_transform
from engine.detector import Detector
from engine.device_vision import DeviceFrame, Look, Outline, Place, Plate, Vision
from engine.embedder import Embedder
from engine.tensorrt_session import TensorRTRequest
from stream.device_pictures import describe, device_frame, host_planes
from stream.eyes import HostEyes
from stream.frames import Frame, Rotation, VideoInfo
from stream.gpu_eyes import GpuEyes
from stream.pictures import convert
from stream.planes import PixelLayout
from tests import networks
from tests.engine.tensorrt.double import ContractViolation, Machine
from tests.engine.tensorrt.double.machine import Context
from tests.engine.tensorrt.double.video import CudaPicture

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""After a fault, what is given back is given back wrongly."""

WIDTH, HEIGHT = 330, 250
FACES = [((20, 60, 68, 120), "ann"), ((180, 100, 260, 230), "대현")]
SEEN: list[tuple[str, Rotation]] = [
    *(("nvdec nv12", rotation) for rotation in (0, 90, 180, 270)),
    ("nvdec p010le", 0),
    *((name, 0) for name in ("yuvj422p", "yuv444p10le", "nv12", "rgb24", "gray", "rgb565le")),
    ("yuv420p", 90),
]
"""Pixel formats, decoded on the GPU or put there, and quarter turns."""


@pytest.fixture
def package() -> str:
    """One is enough here: `test_session.py` goes through both."""
    return "pycuda"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A detector that looks twice, and an embedder."""
    return (
        networks.write_detector(tmp_path / "d.onnx", {"iznet.coarse": "128"}),
        networks.write_embedder(tmp_path / "e.onnx"),
    )


TILT = np.array([[0.8, 0.6], [-0.6, 0.8]], np.float32)


def opened(files: tuple[Path, Path], device: Any) -> tuple[Detector, Embedder]:
    backend: Any = "onnxruntime" if device == "cpu" else None
    precision: Any = "f32" if device == "gpu" else "auto"
    return (
        Detector.open(files[0], device, backend, 320, precision=precision),
        Embedder.open(files[1], device, backend, precision=precision),
    )


@pytest.fixture
def pair(deceived: Machine, files: tuple[Path, Path]) -> tuple[Vision, Detector]:
    """For faults: a vision and its detector."""
    detector, embedder = opened(files, "gpu")
    return Vision(detector, embedder), detector


def info(pixel_format: str, rotation: Rotation = 0, *, interlaced: bool = False) -> VideoInfo:
    return VideoInfo("a.mkv", WIDTH, HEIGHT, rotation, Fraction(1, 25), None, None, pixel_format, interlaced)


def picture(pixel_format: str, rotation: Rotation = 0) -> av.VideoFrame:
    """Two faces, upright as displayed."""
    width, height = (HEIGHT, WIDTH) if rotation in (90, 270) else (WIDTH, HEIGHT)
    faces = [
        ((x1 * width // WIDTH, y1, x2 * width // WIDTH, y2), networks.PEOPLE[who]) for (x1, y1, x2, y2), who in FACES
    ]
    shown = networks.scene(width, height, faces)
    stored = np.ascontiguousarray(np.rot90(shown, rotation // 90))
    made = av.VideoFrame.from_ndarray(stored, "rgb24")
    made = made if pixel_format in ("rgb24", "rgb565le") else convert(made, "yuv444p")
    made = made.reformat(format=pixel_format)
    made.time_base, made.pts = Fraction(1, 25), 0
    return made


@pytest.mark.parametrize(("pixel_format", "rotation"), SEEN)
def test_what_is_seen_is_what_the_cpu_sees(
    pixel_format: str, rotation: Rotation, seeing: Machine, files: tuple[Path, Path]
) -> None:
    there, _, name = pixel_format.rpartition(" ")
    made = picture(name, rotation)
    shape = info(name, rotation)
    with contextlib.ExitStack() as stack:
        on_gpu, on_cpu = opened(files, "gpu"), opened(files, "cpu")
        for network in (*on_gpu, *on_cpu):
            stack.callback(network.close)
        gpu, cpu = GpuEyes(shape, *on_gpu), HostEyes(shape, *on_cpu)
        stack.callback(gpu.close)
        decoded: Any = CudaPicture(seeing, made) if there else made
        one, other = (Frame(shown, 0, 0, Fraction(1, 25)) for shown in (decoded, made))
        del decoded
        np.testing.assert_array_equal(gpu.cells(one), cpu.cells(other))
        mine, theirs = gpu.faces(one, 0.2, coarse=True), cpu.faces(other, 0.2, coarse=True)
        assert len(mine) == len(theirs) >= (1 if name == "gray" else 2)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=0.02)
        np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=1.5)
        np.testing.assert_allclose(mine.landmarks, theirs.landmarks, atol=1.5)
        turned = [bool(number % 2) for number in range(len(theirs))]
        (a, sharp_a), (b, sharp_b) = (
            eyes.embeddings(f, list(theirs.landmarks), turned) for eyes, f in ((gpu, one), (cpu, other))
        )
        assert np.einsum("nd,nd->n", a, b).min() > 0.99
        np.testing.assert_allclose(sharp_a, sharp_b, atol=0.1)
        before = on_gpu[0].coarse_looks.items
        tilted = [(theirs.landmarks[0] - middle) @ TILT + middle for middle in theirs.landmarks[:1].mean(1)]
        (a, _), (b, _) = (eyes.embeddings(f, tilted, [False]) for eyes, f in ((gpu, one), (cpu, other)))
        assert float(a[0] @ b[0]) > 0.99
        looked = on_gpu[0].coarse_looks.items
        assert looked == on_cpu[0].coarse_looks.items > before, "such a face is looked at again"
        for patch, other_patch in zip(gpu.patches(one, theirs.boxes), cpu.patches(other, theirs.boxes), strict=True):
            np.testing.assert_array_equal(patch, other_patch)
        gpu.done([one])
        del one
        assert before == 1
    assert not seeing.violations


def test_one_field_of_an_interlaced_picture(seeing: Machine, files: tuple[Path, Path]) -> None:
    """Two moments woven into one picture: only one of them is cut out."""
    made = picture("yuv420p")
    luma, *chroma = PixelLayout.of("yuv420p").views(made)
    for view in (luma, *chroma):
        view[1::2] = 128  # the other moment is grey
    shape = info("yuv420p", interlaced=True)
    (detector, embedder), (cpu_detector, cpu_embedder) = opened(files, "gpu"), opened(files, "cpu")
    gpu = GpuEyes(shape, detector, embedder)
    landmarks = [np.array(networks.POINTS * (48, 60) + (20, 60), np.float32)]
    frame = Frame(made, 0, 0, Fraction(1, 25))
    embeddings, _ = gpu.embeddings(frame, landmarks, [False])
    whole, _ = HostEyes(info("yuv420p"), cpu_detector, cpu_embedder).embeddings(
        Frame(picture("yuv420p"), 0, 0, Fraction(1, 25)), landmarks, [False]
    )
    woven, _ = HostEyes(info("yuv420p"), cpu_detector, cpu_embedder).embeddings(frame, landmarks, [False])
    assert float(embeddings[0] @ whole[0]) > 0.95 > float(woven[0] @ whole[0])
    gpu.close()
    for network in (detector, embedder, cpu_detector, cpu_embedder):
        network.close()


def test_a_picture_of_the_cpu_goes_up_once_and_its_memory_serves_again(
    seeing: Machine, files: tuple[Path, Path]
) -> None:
    detector, embedder = opened(files, "gpu")
    eyes = GpuEyes(info("yuv420p"), detector, embedder)
    traffic = detector.session.gpu.traffic  # type: ignore[attr-defined]
    sizes, rooms = [], []
    for index in range(4):
        before = traffic.up
        frame = Frame(picture("yuv420p"), index, index, Fraction(1, 25))
        found = eyes.faces(frame, 0.2, coarse=False)
        eyes.embeddings(frame, list(found.landmarks), [False] * len(found))
        eyes.embeddings(frame, list(found.landmarks), [False] * len(found))
        eyes.done([frame])
        sizes.append(traffic.up - before)
        rooms.append(seeing.room)
    assert len(set(sizes)) == 1
    assert 0 <= sizes[0] - sum(len(plane) for plane in host_planes(picture("yuv420p"))[0]) < 3 * 256
    assert rooms[1:] == rooms[:-1], "nothing more is allocated"
    eyes.close()
    detector.close()
    embedder.close()


def test_dropped_eyes_give_everything_back(seeing: Machine, files: tuple[Path, Path]) -> None:
    detector, embedder = opened(files, "gpu")
    eyes = GpuEyes(info("yuv420p"), detector, embedder)
    eyes.faces(Frame(picture("yuv420p"), 0, 0, Fraction(1, 25)), 0.2, coarse=True)
    gone = weakref.ref(eyes)
    detector.close()
    embedder.close()
    del eyes
    gc.collect()
    assert gone() is None
    seeing.settled()


def test_networks_of_the_cpu_are_no_part_of_it(seeing: Machine, files: tuple[Path, Path]) -> None:
    detector, embedder = opened(files, "cpu")
    with pytest.raises(TypeError, match="rectangles runs on the cpu"):
        Vision(detector, embedder)


@pytest.mark.parametrize(
    "kernel", ["letterbox_u8_bytes", "decode", "warp_u8_bytes", "normalise", "sharpness", "copy in"]
)
def test_a_failure_on_the_way_is_raised_and_leaves_nothing(
    kernel: str, seeing: Machine, files: tuple[Path, Path]
) -> None:
    detector, embedder = opened(files, "gpu")
    eyes = GpuEyes(info("yuv420p"), detector, embedder)
    frame = Frame(picture("yuv420p"), 0, 0, Fraction(1, 25))
    seeing.fail[kernel] = RuntimeError("an illegal address")
    with pytest.raises(RuntimeError, match="an illegal address"):  # noqa: PT012
        found = eyes.faces(frame, 0.2, coarse=False)
        eyes.embeddings(frame, list(found.landmarks), [False] * len(found))
    eyes.close()
    detector.close()
    embedder.close()
    assert not seeing.stack()


# --- faults put in on purpose ---


def there(machine: Machine, name: str = "nv12") -> DeviceFrame:
    """A decoded picture that nobody but the answer holds."""
    return device_frame(CudaPicture(machine, picture(name)))  # type: ignore[arg-type]


def test_nothing_is_noticed_where_nothing_is_wrong(seeing: Machine, files: tuple[Path, Path]) -> None:
    detector, embedder = opened(files, "gpu")
    vision = Vision(detector, embedder)
    frame = there(seeing)
    look = vision.look(frame, detector.letterbox(WIDTH, HEIGHT))
    del frame
    gc.collect()
    assert len(look.result()) == 2
    vision.look(there(seeing), detector.letterbox(WIDTH, HEIGHT))  # dropped on its way
    matrices = similarity_transform(networks.POINTS * 50)[None]
    assert vision.embed(there(seeing), matrices)[0].shape == (1, embedder.dimension)
    del look
    gc.collect()
    assert not seeing.violations
    vision.close()
    detector.close()
    embedder.close()


def test_a_picture_released_before_its_stream_is_done(
    deceived: Machine, pair: tuple[Vision, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, detector = pair
    look = vision.look(there(deceived), detector.letterbox(WIDTH, HEIGHT), coarse=False)
    look._claims[0]._end.detach()
    del look
    gc.collect()
    assert any("released before its stream had done: letterbox" in text for text in deceived.violations)


def test_a_picture_used_before_it_is_decoded(
    deceived: Machine, pair: tuple[Vision, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, detector = pair
    monkeypatch.setattr(device_vision, "follow", lambda stream, other: None)
    frame = there(deceived)
    matrices = similarity_transform(networks.POINTS * 50)[None]
    for use in (
        lambda: vision.look(frame, detector.letterbox(WIDTH, HEIGHT)),
        lambda: vision.embed(frame, matrices),
        lambda: vision.cells(frame, 4, 3),
        lambda: vision.draw(frame, [Outline(Place(1, 1, 9, 9), (1, 2, 3), 2)]),
    ):
        with pytest.raises(ContractViolation, match="while nvdec on another stream does, without an event between"):
            use()


def test_a_kernel_launched_on_another_context(
    deceived: Machine, pair: tuple[Vision, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, _ = pair
    frame = there(deceived)
    bench = vision._held.take()
    deceived.push(Context("foreign"))
    with pytest.raises(ContractViolation, match="primary context is not current, but foreign"):
        vision.kernels.cells(frame.picture, 4, 3, frame.picture.planes[0].address, stream=bench.stream.handle)
    # And the vision's own calls make the right one current.
    deceived.violations.clear()
    assert vision.cells(frame, 4, 3).shape == (3, 3, 4)
    assert not deceived.violations


def test_an_answer_read_before_it_is_there(
    deceived: Machine, pair: tuple[Vision, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, detector = pair
    monkeypatch.setattr(TensorRTRequest, "wait", lambda self: None)
    look = vision.look(there(deceived), detector.letterbox(WIDTH, HEIGHT))
    with pytest.raises(ContractViolation, match="used before copy out into it was waited for"):
        look.result()


@pytest.mark.parametrize(
    ("stride", "says"), [(WIDTH, "was told a pitch of 330"), (1 << 20, "reach out of device memory")]
)
def test_a_wrong_pitch(stride: int, says: str, deceived: Machine, pair: tuple[Vision, Detector]) -> None:
    vision, detector = pair
    made = CudaPicture(deceived, picture("nv12"))
    addresses = [plane.buffer_ptr for plane in made.planes]
    wrong = describe(made, PixelLayout.of("nv12"), [stride] * 2, addresses)  # type: ignore[arg-type]
    with pytest.raises(ContractViolation, match=says):
        vision.look(DeviceFrame(wrong, 0, made), detector.letterbox(WIDTH, HEIGHT))


def test_a_picture_encoded_before_it_is_drawn_on(
    deceived: Machine, pair: tuple[Vision, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, _ = pair
    made = CudaPicture(deceived, picture("nv12"))
    bench = vision._held.take()
    vision._held.give(bench)
    monkeypatch.setattr(type(bench.stream), "synchronize", lambda self: None)
    vision.draw(device_frame(made), [Outline(Place(1, 1, 9, 9), (1, 2, 3), 2)])  # type: ignore[arg-type]
    for use in ("encoded", "brought down"):
        with pytest.raises(ContractViolation, match=f"{use} before its stream had done: draw_u8"):
            made.samples(use)


@pytest.mark.parametrize("waits", [True, False], ids=["as it is", "without waiting"])
def test_memory_of_an_upload_used_again_before_its_stream_is_done(
    waits: bool, deceived: Machine, pair: tuple[Vision, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, _ = pair
    first = vision.upload(*host_planes(picture("yuv420p")))
    vision.release(first)
    if not waits:
        monkeypatch.setattr(type(first.owner.stream), "synchronize", lambda self: None)  # type: ignore[attr-defined]
        with pytest.raises(ContractViolation, match="written to before copy in from it was waited for"):
            vision.upload(*host_planes(picture("yuv420p")))
        return
    vision.upload(*host_planes(picture("yuv420p")))
    assert not deceived.violations


def test_a_name_is_put_there_once(seeing: Machine, files: tuple[Path, Path]) -> None:
    detector, embedder = opened(files, "gpu")
    vision = Vision(detector, embedder)
    made = CudaPicture(seeing, picture("nv12"))
    mask = np.full((6, 10), 255, np.uint8)
    traffic = vision.device.traffic
    before = traffic.up
    for left in (3, 40, 90):
        plate = Plate(Place(left, 5, left + 10, 11), (50, 60, 70), (200, 128, 128), mask, "yuri")
        vision.draw(device_frame(made), [plate])  # type: ignore[arg-type]
    assert traffic.up - before == mask.size
    luma = PixelLayout.of("nv12").views(made.samples("looked at"))[0]
    for left in (3, 40, 90):
        assert (luma[5:11, left : left + 10] == 200).all()
    del made
    vision.close()
    detector.close()
    embedder.close()


def test_a_look_is_taken_once(seeing: Machine, files: tuple[Path, Path]) -> None:
    detector, embedder = opened(files, "gpu")
    vision = Vision(detector, embedder)
    look: Look = vision.look(there(seeing), detector.letterbox(WIDTH, HEIGHT))
    look.result()
    with pytest.raises(RuntimeError, match="taken once"):
        look.result()
    vision.close()
    detector.close()
    embedder.close()
