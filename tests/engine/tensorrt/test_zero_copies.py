"""The whole job with pictures that stay on the pretended GPU: what comes of it, and what crosses over.

NVDEC and NVENC are FFmpeg's own decoder and encoder over the machine's memory (`double.video`), and the
kernels are those of the host library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import device_vision
from engine.alignment import align_face
from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import OutputError
from engine.gallery import Gallery
from engine.modelfile import SHIPPED
from stream import label_video, read_tracks, segments
from stream.encoding import EncoderSettings
from stream.patches import SIDE as CELLS
from stream.result import LabelResult
from stream.shots import GRID
from stream.styles import Style
from stream.tracks import Tracks
from tests import networks
from tests.engine.tensorrt.double import Machine
from tests.stream import media
from tests.stream.compared import faces_compared
from tools import cli

SIZE, WIDTH, HEIGHT, FRAMES = 320, 320, 240, 40
CLAIM = 15 * 4
"""Bytes of a box, its score and its landmarks."""


@pytest.fixture
def package() -> str:
    """One is enough here: `test_session.py` goes through both."""
    return "cuda-bindings"


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Ann and Ben walk towards each other, and a cut in the middle."""
    shift = 3 * (index % 20)
    faces = [((20 + shift, 60, 68 + shift, 120), "ann"), ((240 - shift, 150, 288 - shift, 210), "ben")]
    rgb = networks.scene(width, height, [(box, networks.PEOPLE[name]) for box, name in faces])
    if index >= 20:
        rgb[:40, :, 1:] = 200
        rgb[:, :12, 1:] = 220
    return rgb


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4:2:0 in 8 bits, as NVDEC takes it."""
    made = media.Video(frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage, pixel_format="yuv420p")
    return media.write(tmp_path_factory.mktemp("clips") / "mv.mkv", made)


@pytest.fixture(scope="module")
def gallery(embedder: Embedder) -> Gallery:
    return networks.gallery_of(embedder)


def label(
    clip: Path, target: Path, gallery: Gallery, networks_: tuple[Path, Path], device: Any, encoder: str, **more: Any
) -> LabelResult:
    backend: Any = "onnxruntime" if device == "cpu" else None
    precision: Any = "f32" if device == "gpu" else "auto"
    detector = Detector.open(networks_[0], device, backend, SIZE, precision=precision, video=True)
    embedder = Embedder.open(networks_[1], device, backend, precision=precision, video=True)
    settings = EncoderSettings(encoder)
    try:
        return label_video(
            clip, target, gallery=gallery, detector=detector, embedder=embedder, encoder=settings, **more
        )
    finally:
        detector.close()
        embedder.close()


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [rgb(frame) for frame in container.decode(video=0)]


def rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def assert_alike(mine: Tracks, theirs: Tracks) -> None:
    """The same frames in the same shots, the same names, boxes within two pixels."""
    assert [frame.shot for frame in mine.frames] == [frame.shot for frame in theirs.frames]
    for one, other in zip(mine.frames, theirs.frames, strict=True):
        assert [face.name for face in one.faces] == [face.name for face in other.faces]
        for face, its in zip(one.faces, other.faces, strict=True):
            np.testing.assert_allclose(face.box, its.box, atol=2)
            np.testing.assert_allclose(face.landmarks, its.landmarks, atol=2)


@pytest.mark.parametrize("encoder", ["nvenc", "x264"])
def test_the_same_boxes_and_names_as_on_the_cpu(
    encoder: str,
    seeing: Machine,
    clip: Path,
    gallery: Gallery,
    detector_file: Path,
    embedder_file: Path,
    tmp_path: Path,
) -> None:
    files = detector_file, embedder_file
    there = label(clip, tmp_path / "gpu.mkv", gallery, files, "gpu", encoder)
    here = label(clip, tmp_path / "cpu.mkv", gallery, files, "cpu", "x264")
    assert {person.name for person in there.people} == {"ann", "ben"}
    for name, done in here.networks.items():
        assert there.networks[name]["items"] == done["items"], "as many looks and embeddings"
    assert there.networks["embedder"]["inferences"] < here.networks["embedder"]["inferences"], "all of a frame together"
    assert_alike(read_tracks(there.tracks), read_tracks(here.tracks))
    assert read_tracks(here.tracks).frames[-1].shot == 1
    mine, theirs = pictures(tmp_path / "gpu.mkv"), pictures(tmp_path / "cpu.mkv")
    assert len(mine) == len(theirs) == FRAMES
    for one, other in zip(mine, theirs, strict=True):
        # The same drawing; where boxes differ by a pixel, so do their edges.
        assert (np.abs(one.astype(int) - other).max(axis=2) > 40).mean() < 0.01
    assert (theirs[0][..., 0] > 200).sum() > 200, "something red was drawn"
    assert not seeing.violations


def test_what_crosses_over_is_counted(
    seeing: Machine,
    clip: Path,
    gallery: Gallery,
    detector_file: Path,
    embedder_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a decoder and an encoder on the GPU no picture crosses over, in either direction."""
    claimed: list[int] = []
    result_of = device_vision._Claims.result

    def counted(self: Any) -> NDArray[np.float32]:
        found = result_of(self)
        claimed.append(len(found))
        return found

    masks: list[int] = []
    put = device_vision._Held.mask

    def watched(self: Any, key: object, mask: NDArray[np.uint8], bench: Any) -> int:
        masks.append(mask.size if key not in self._masks else 0)
        return put(self, key, mask, bench)

    monkeypatch.setattr(device_vision._Claims, "result", counted)
    monkeypatch.setattr(device_vision._Held, "mask", watched)
    compared = faces_compared(monkeypatch)
    detector = Detector.open(detector_file, "gpu", None, SIZE, precision="f32", video=True)
    embedder = Embedder.open(embedder_file, "gpu", None, precision="f32", video=True)
    traffic = detector.session.gpu.traffic  # type: ignore[attr-defined]
    before = traffic.up, traffic.down
    result = label_video(
        clip,
        tmp_path / "out.mkv",
        gallery=gallery,
        detector=detector,
        embedder=embedder,
        encoder=EncoderSettings("nvenc"),
    )
    detector.close()
    embedder.close()
    looks = result.networks["detector"]["items"] + result.networks["coarse"]["items"]
    faces = result.networks["embedder"]["items"]
    assert len(claimed) == looks > 0
    assert faces > 0
    cells = FRAMES * 3 * GRID[0] * GRID[1]
    boxes = looks * 4 + sum(claimed) * CLAIM
    embeddings = faces * (embedder.dimension + 1) * 4
    assert traffic.down - before[1] == cells + boxes + embeddings + sum(compared) * 3 * CELLS**2
    assert traffic.up - before[0] == sum(masks), "the names, once each"
    assert sum(size > 0 for size in masks) == 2
    assert len(masks) == 2 * FRAMES
    assert (seeing.pixels_up, seeing.pixels_down) == (0, 0)
    assert detector.session.work.copies == embedder.session.work.copies == 0
    assert result.notes[0] == "on the GPU: decoding, scaling, networks, cutting of faces, drawing, encoding"


def test_frames_come_down_once_for_an_encoder_on_the_cpu(
    seeing: Machine, clip: Path, gallery: Gallery, detector_file: Path, embedder_file: Path, tmp_path: Path
) -> None:
    result = label(clip, tmp_path / "out.mkv", gallery, (detector_file, embedder_file), "gpu", "x264")
    assert seeing.pixels_up == 0
    assert seeing.pixels_down >= FRAMES * WIDTH * HEIGHT * 3 // 2
    assert seeing.pixels_down // FRAMES < 2 * WIDTH * HEIGHT * 3 // 2 + 2 * 256 * HEIGHT * 3 // 2, "each once"
    assert "frames come down to be drawn on and encoded by x264" in result.notes[0]


def test_the_record_alone_brings_no_frame_down(
    seeing: Machine, clip: Path, gallery: Gallery, detector_file: Path, embedder_file: Path, tmp_path: Path
) -> None:
    result = label(
        *(clip, tmp_path / "out.mkv", gallery, (detector_file, embedder_file), "gpu", "x264"),
        video=False,
        tracks=tmp_path / "out.jsonl",
    )
    assert (seeing.pixels_up, seeing.pixels_down) == (0, 0)
    assert result.notes[0] == "on the GPU: decoding, scaling, networks, cutting of faces"


@pytest.mark.parametrize("decodes", [True, False], ids=["decoded there", "decoded on the CPU"])
def test_hidden_faces_are_wiped_out_on_the_cpu_and_go_up_again(
    decodes: bool,
    seeing: Machine,
    clip: Path,
    gallery: Gallery,
    detector_file: Path,
    embedder_file: Path,
    tmp_path: Path,
) -> None:
    files = detector_file, embedder_file
    seeing.nvdec = decodes
    there = label(clip, tmp_path / "gpu.mkv", gallery, files, "gpu", "nvenc", style=Style(hide="blur"))
    label(clip, tmp_path / "cpu.mkv", gallery, files, "cpu", "x264", style=Style(hide="blur"))
    assert seeing.pixels_up >= FRAMES * WIDTH * HEIGHT * 3 // 2
    assert (seeing.pixels_down >= FRAMES * WIDTH * HEIGHT * 3 // 2) == decodes
    assert any("faces are wiped out on the CPU" in note for note in there.notes)
    mine, theirs = pictures(tmp_path / "gpu.mkv"), pictures(tmp_path / "cpu.mkv")
    for one, other in zip(mine, theirs, strict=True):
        assert (np.abs(one.astype(int) - other).max(axis=2) > 40).mean() < 0.01


@pytest.mark.parametrize("decoder", ["auto", "software"])
def test_what_the_gpu_does_not_decode_is_looked_at_there_all_the_same(
    decoder: str,
    seeing: Machine,
    clip: Path,
    gallery: Gallery,
    detector_file: Path,
    embedder_file: Path,
    tmp_path: Path,
) -> None:
    """Only frames that are looked at go up, and every frame goes up to the encoder; also where that was asked for."""
    files = detector_file, embedder_file
    seeing.nvdec = decoder == "software"
    there = label(clip, tmp_path / "gpu.mkv", gallery, files, "gpu", "nvenc", decoder=decoder)
    here = label(clip, tmp_path / "cpu.mkv", gallery, files, "cpu", "x264")
    assert_alike(read_tracks(there.tracks), read_tracks(here.tracks))
    why = ["h264 yuv420p is decoded on the CPU, as FFmpeg has no decoder on the GPU for it"] * (decoder == "auto")
    assert there.notes[: len(why) + 1] == (
        *why,
        "on the GPU: scaling, networks, cutting of faces, encoding; the frames that are looked at go up once; "
        "drawing is done on the CPU",
    )
    assert seeing.pixels_down == 0
    for one, other in zip(pictures(tmp_path / "gpu.mkv"), pictures(tmp_path / "cpu.mkv"), strict=True):
        assert (np.abs(one.astype(int) - other).max(axis=2) > 40).mean() < 0.01


def test_a_run_that_was_cut_off_is_gone_on_with(
    seeing: Machine,
    clip: Path,
    gallery: Gallery,
    detector_file: Path,
    embedder_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The finished segments were drawn on the GPU too, and are not drawn again."""
    monkeypatch.setattr(segments, "FRAMES_PER_SEGMENT", 10)
    files, target = (detector_file, embedder_file), tmp_path / "out.mkv"
    whole = label(clip, tmp_path / "whole.mkv", gallery, files, "gpu", "nvenc")
    assert whole.video is not None

    def full(done: int, of: int | None) -> None:
        if done == 25:
            raise OutputError("the disk is full")

    with pytest.raises(OutputError, match=r"the disk is full.*--resume"):
        label(clip, target, gallery, files, "gpu", "nvenc", progress=full)
    before = len([line for line in seeing.log if line == "do draw_u8"])
    result = label(clip, target, gallery, files, "gpu", "nvenc", resume=True)
    assert len([line for line in seeing.log if line == "do draw_u8"]) - before == FRAMES - 20
    assert any("went on after 20 frames" in note for note in result.notes)
    for one, other in zip(pictures(target), pictures(whole.video), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_frame_is_looked_at_while_the_one_before_is(
    seeing: Machine, clip: Path, gallery: Gallery, detector_file: Path, embedder_file: Path, tmp_path: Path
) -> None:
    """Where the next frame is looked at whatever comes of this one, two looks are under way at a time."""
    files = detector_file, embedder_file
    more: Any = {"every_frame": True, "video": False}
    there = label(clip, tmp_path / "a", gallery, files, "gpu", "x264", tracks=tmp_path / "gpu.jsonl", **more)
    looks = [line for line in seeing.log if line.startswith("put letterbox")]
    assert len(looks) == there.networks["detector"]["items"] == FRAMES
    assert len({line.split()[-1] for line in looks}) == 2, "two streams take turns"
    under_way = [0]
    for line in seeing.log:
        if line.startswith("put letterbox"):
            under_way.append(under_way[-1] + 1)
        elif line == "do decode":
            under_way.append(under_way[-1] - 1)
    assert max(under_way) == 2
    assert under_way.count(2) == FRAMES - 1
    here = label(clip, tmp_path / "b", gallery, files, "cpu", "x264", tracks=tmp_path / "cpu.jsonl", **more)
    assert_alike(read_tracks(there.tracks), read_tracks(here.tracks))


# --- a real clip, the shipped networks, the command ---


@pytest.fixture
def real(
    shared_data: Path, shipped_detector: Detector, shipped_embedder: Embedder, tmp_path: Path
) -> tuple[Path, Path]:
    """Five seconds of a stage performance, and a gallery of two people on it."""
    clip, seconds = tmp_path / "real.mp4", 5
    with av.open(str(shared_data / "clips" / "hamilton.mp4")) as source, av.open(str(clip), "w") as target:
        stream = source.streams.video[0]
        out = target.add_stream("libx264", rate=stream.average_rate)
        assert isinstance(out, av.VideoStream)
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        for frame in source.decode(stream):
            if frame.time >= seconds:
                break
            frame.pict_type = 0
            target.mux(out.encode(frame))
            if frame.time < 1:
                middle = rgb(frame)
        target.mux(out.encode(None))
    faces = shipped_detector.detect([middle])[0]
    assert len(faces) >= 2
    order = np.argsort(-(faces.boxes[:, 3] - faces.boxes[:, 1]))[:2]
    crops = np.stack([align_face(middle, faces.landmarks[k]) for k in order])
    vectors = shipped_embedder.embed(crops)
    made = Gallery.build(
        {"한 사람": vectors[:1], "Another": vectors[1:]},
        embedder_sha256=shipped_embedder.sha256,
        threshold=shipped_embedder.threshold,
    )
    made.save(tmp_path / "two.gallery")
    return clip, tmp_path / "two.gallery"


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = float(sides.prod())
    return shared / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - shared)


def test_the_command_on_a_real_clip(
    seeing: Machine, real: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In f32: of all faces at least 97 % are found by both, their boxes as good as the same, hardly a name differs."""
    clip, people = map(str, real)
    ways = {
        "gpu": ("--device", "gpu", "--encoder", "nvenc", "--precision", "f32"),
        "cpu": ("--device", "cpu", "--backend", "onnxruntime", "--detector", str(SHIPPED / "detector.onnx")),
    }
    records = {}
    for device, more in ways.items():
        target = str(tmp_path / f"{device}.mp4")
        assert cli.run(["label", clip, "-g", people, "-o", target, *more]) == 0
        records[device] = read_tracks(tmp_path / f"{device}.tracks.jsonl")
        if device == "gpu":
            said = capsys.readouterr().out
            assert "On the GPU: decoding, scaling, networks, cutting of faces, drawing, encoding\n" in said
            assert (seeing.pixels_up, seeing.pixels_down) == (0, 0)
    mine, theirs = records["gpu"].frames, records["cpu"].frames
    assert [frame.shot for frame in mine] == [frame.shot for frame in theirs]
    matched, total, wrong, away = 0, 0, 0, []
    for one, other in zip(mine, theirs, strict=True):
        total += max(len(one.faces), len(other.faces))
        for face in one.faces:
            near = max(other.faces, key=lambda its: overlap(face.box, its.box), default=None)
            if near is None or overlap(face.box, near.box) < 0.5:
                continue
            matched += 1
            wrong += face.name != near.name
            away.append(float(np.abs(face.box - near.box).max() / (near.box[2] - near.box[0])))
    assert total > 50
    assert matched >= 0.97 * total
    assert wrong <= 0.01 * matched
    assert np.mean(away) < 0.02
    assert {face.name for frame in mine for face in frame.faces} >= {"한 사람", "Another"}
    print(f"{matched} of {total} faces, {wrong} other names, boxes {np.mean(away):.4f} of a face away on average")
    assert not seeing.violations
