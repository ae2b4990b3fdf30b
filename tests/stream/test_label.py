"""The main job on real media: what is drawn, what is recorded, and what is left when it goes wrong.

The faces are coloured rectangles and the networks the synthetic ones of `tests.networks`, so that where everyone
is, and who, is known exactly.
"""

from __future__ import annotations

import errno
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, InterruptedByUser, OutputError
from engine.gallery import Gallery
from stream import label_video, open_stream, read_tracks
from stream.label import video_output
from stream.labelled_copy import partial_output
from stream.result import LabelResult
from stream.segments import SegmentWriter
from tests import networks
from tests.stream import media

WIDTH, HEIGHT = 320, 240
CUT = 20
"""Ann and a stranger before it, Ben after it."""
STRANGER = (230, 120, 120)
TIME_BASE = Fraction(1, 12800)


def face_at(index: int) -> list[tuple[tuple[int, int, int, int], tuple[int, int, int]]]:
    if index < CUT:
        x = 40 + 2 * index
        return [((x, 60, x + 48, 120), networks.PEOPLE["ann"]), ((220, 100, 268, 160), STRANGER)]
    x = 200 - 2 * (index - CUT)
    return [((x, 80, x + 48, 140), networks.PEOPLE["ben"])]


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """The picture: dark sets that differ between the shots, and the faces."""
    rgb = networks.scene(width, height)
    rng = np.random.default_rng(int(index >= CUT))
    coarse = rng.integers(0, 110, (8, 10, 3), dtype=np.uint8)
    rgb[...] = coarse.repeat(height // 8, 0).repeat(width // 10, 1)
    for box, colour in face_at(index):
        networks.paint(rgb, box, colour)
    return rgb


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    video = media.Video(
        frames=50, width=WIDTH, height=HEIGHT, picture=stage, pixel_format="yuv444p", time_base=TIME_BASE
    )
    return media.write(tmp_path_factory.mktemp("clips") / "mv.mkv", video, [media.audio(), media.subrip()])


@pytest.fixture(scope="module")
def gallery(embedder: Embedder) -> Gallery:
    return networks.gallery_of(embedder)


@pytest.fixture(scope="module")
def labelled(
    clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> LabelResult:
    output = tmp_path_factory.mktemp("labelled") / "out.mkv"
    return label_video(clip, output, gallery=gallery, detector=detector, embedder=embedder)


def iou(a: NDArray[np.float32], b: tuple[int, ...]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def test_every_frame_has_a_line_and_every_face_its_name(labelled: LabelResult) -> None:
    record = read_tracks(labelled.tracks)
    assert [frame.index for frame in record.frames] == list(range(50))
    names = {networks.PEOPLE["ann"]: "ann", networks.PEOPLE["ben"]: "ben", STRANGER: None}
    for frame in record.frames:
        truth = face_at(frame.index)
        assert len(frame.faces) == len(truth), f"frame {frame.index}"
        for box, colour in truth:
            face = max(frame.faces, key=lambda f: iou(f.box, box))
            assert iou(face.box, box) > 0.8
            assert face.name == names[colour], f"frame {frame.index}"


def test_no_track_crosses_the_cut_and_every_track_has_a_verdict(labelled: LabelResult) -> None:
    record = read_tracks(labelled.tracks)
    assert {frame.shot for frame in record.frames[:CUT]} == {0}
    assert {frame.shot for frame in record.frames[CUT:]} == {1}
    before = {face.track for frame in record.frames[:CUT] for face in frame.faces}
    after = {face.track for frame in record.frames[CUT:] for face in frame.faces}
    assert len(before) == 2
    assert len(after) == 1
    assert not before & after
    assert {track.track: (track.verdict, track.name, track.frames) for track in record.tracks} == {
        **{t: ("named", "ann", CUT) for t in before if _name(labelled, t) == "ann"},
        **{t: ("unknown", None, CUT) for t in before if _name(labelled, t) is None},
        **dict.fromkeys(after, ("named", "ben", 50 - CUT)),
    }


def _name(labelled: LabelResult, track: int) -> str | None:
    faces = [f for frame in read_tracks(labelled.tracks).frames for f in frame.faces if f.track == track]
    return faces[0].name


def test_the_result_says_who_was_on_for_how_long(labelled: LabelResult) -> None:
    seconds = {person.name: person.seconds for person in labelled.people}
    assert seconds == {"ann": pytest.approx(CUT / 25, abs=0.002), "ben": pytest.approx((50 - CUT) / 25, abs=0.002)}
    assert labelled.frames == 50
    assert not labelled.damage
    assert {"decode", "scale", "detect", "track", "crop", "embed", "draw", "encode", "join"} <= set(labelled.stages)


def test_the_picture_shows_red_edges_where_the_record_says(labelled: LabelResult, clip: Path) -> None:
    assert labelled.video is not None
    frames = media.read(labelled.video).pictures
    record = read_tracks(labelled.tracks)
    for index in (0, 7, CUT - 1, CUT, 49):
        rgb = frames[index].to_ndarray(format="rgb24").astype(int)
        red = (rgb[..., 0] > 150) & (rgb[..., 1] < 110) & (rgb[..., 2] < 110)
        for face in record.frames[index].faces:
            x1, y1, x2, y2 = (round(float(v)) for v in face.box)
            edges = [red[y1, x1:x2], red[y2 - 1, x1:x2], red[y1:y2, x1], red[y1:y2, x2 - 1]]
            share = [float(edge.mean()) for edge in edges]
            if face.name is None:
                assert max(share) < 0.2, "an unknown face is not boxed in red"
            else:
                assert min(share) > 0.9, f"frame {index}: {share}"


def test_sound_subtitles_and_times_are_those_of_the_source(labelled: LabelResult, clip: Path) -> None:
    assert labelled.video is not None
    source, copy = media.read(clip), media.read(labelled.video)
    assert copy.times == source.times
    assert copy.kinds == source.kinds
    for kind, before, after in zip(source.kinds, source.packets, copy.packets, strict=True):
        if kind != "video":
            assert after == before


def test_the_same_input_gives_the_same_record_and_picture(
    labelled: LabelResult, clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    again = label_video(clip, tmp_path / "out.mkv", gallery=gallery, detector=detector, embedder=embedder, threads=1)
    assert again.tracks.read_bytes() == labelled.tracks.read_bytes()
    assert labelled.video is not None
    assert again.video is not None
    assert media.read(again.video).packets[0] == media.read(labelled.video).packets[0]


def test_faces_are_embedded_per_track_not_per_frame(
    clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    before = embedder.session.work.items
    label_video(clip, tmp_path / "o.mkv", gallery=gallery, detector=detector, embedder=embedder, video=False)
    looks = embedder.session.work.items - before
    assert 3 <= looks <= 3 * 6, "three tracks on 70 faces"


def test_without_video_only_the_record_is_written(clip: Path, detector: Detector, tmp_path: Path) -> None:
    result = label_video(clip, tmp_path / "o.mkv", detector=detector, video=False)
    assert result.video is None
    assert [p.name for p in tmp_path.iterdir()] == ["o.tracks.jsonl"]
    assert "encode" not in result.stages
    assert all(face.name is None for frame in read_tracks(result.tracks).frames for face in frame.faces)


def test_a_sideways_video_is_labelled_upright(
    gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    """The stored picture lies on its side; boxes are where a player shows the faces."""

    def sideways(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(np.rot90(stage(index, height, width), 1))

    video = media.Video(
        frames=30,
        width=HEIGHT,
        height=WIDTH,
        picture=sideways,
        pixel_format="yuv444p",
        rotation=-90,
        time_base=TIME_BASE,
    )
    source = media.write(tmp_path / "phone.mov", video)
    result = label_video(source, tmp_path / "out.mov", gallery=gallery, detector=detector, embedder=embedder)
    record = read_tracks(result.tracks)
    assert (record.header.width, record.header.height, record.header.rotation) == (WIDTH, HEIGHT, 90)
    for frame in record.frames:
        for box, colour in face_at(frame.index):
            face = max(frame.faces, key=lambda f: iou(f.box, box))
            assert iou(face.box, box) > 0.8
            assert (face.name is None) == (colour == STRANGER)


def test_a_missed_face_is_filled_in_where_it_must_have_been(detector: Detector, tmp_path: Path) -> None:
    def blinking(index: int, width: int, height: int) -> NDArray[np.uint8]:
        if index in (8, 9, 10):
            rgb = stage(0, width, height)
            networks.paint(rgb, (40, 60, 90, 120), (60, 60, 60))
            return rgb
        return stage(index, width, height)

    video = media.Video(frames=19, width=WIDTH, height=HEIGHT, picture=blinking, pixel_format="yuv444p")
    source = media.write(tmp_path / "a.mkv", video)
    record = read_tracks(label_video(source, detector=detector, video=False).tracks)
    track = max(record.frames[0].faces, key=lambda f: iou(f.box, face_at(0)[0][0])).track
    for index in (8, 9, 10):
        face = next(f for f in record.frames[index].faces if f.track == track)
        assert face.score == 0.0
        assert iou(face.box, face_at(index)[0][0]) > 0.8


@pytest.mark.parametrize("lookahead", [0.0, 2.0])
def test_nobody_is_in_two_places(
    lookahead: float, gallery: Gallery, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    """Ann is missed where she was while she is found elsewhere: she is not filled in there."""
    here, there = (20, 40, 90, 130), (200, 40, 270, 130)

    def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return networks.scene(width, height, [(there if 10 <= index < 14 else here, networks.PEOPLE["ann"])])

    video = media.Video(frames=30, width=WIDTH, height=HEIGHT, picture=picture, pixel_format="yuv444p")
    clip = media.write(tmp_path / "mv.mkv", video)
    result = label_video(clip, gallery=gallery, detector=detector, embedder=embedder, video=False, lookahead=lookahead)
    for frame in read_tracks(result.tracks).frames:
        assert [face.name for face in frame.faces] == ["ann"], frame.index
        assert iou(frame.faces[0].box, there if 10 <= frame.index < 14 else here) > 0.8


def test_open_stream_gives_every_frame_with_its_faces(
    clip: Path, gallery: Gallery, detector: Detector, embedder: Embedder
) -> None:
    names = []
    for index, frame in enumerate(open_stream(clip, gallery, detector=detector, embedder=embedder)):
        assert frame.frame.index == index
        assert frame.rgb().shape == (HEIGHT, WIDTH, 3)
        names.append({face.name for face in frame.faces})
    assert names == [{"ann", None}] * CUT + [{"ben"}] * (50 - CUT)


def test_a_stream_that_is_left_early_leaves_no_thread(clip: Path, detector: Detector) -> None:
    frames = open_stream(clip, detector=detector, lookahead=0)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("iznet-")]


def test_ctrl_c_keeps_what_was_finished(
    clip: Path,
    gallery: Gallery,
    detector: Detector,
    embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stream.analysis import Analyser
    from stream.looking import Gap

    follow = Analyser.follow

    def interrupted(self: Analyser, gap: Gap) -> object:
        if gap.frames[-1].index >= 36:
            raise KeyboardInterrupt
        return follow(self, gap)

    monkeypatch.setattr(Analyser, "follow", interrupted)
    output = tmp_path / "out.mp4"
    source = media.write(
        tmp_path / "mv.mp4", media.Video(frames=50, width=WIDTH, height=HEIGHT, picture=stage), [media.audio()]
    )
    with pytest.raises(InterruptedByUser, match=r"out\.partial\.mp4"):
        label_video(source, output, gallery=gallery, detector=detector, embedder=embedder, lookahead=0.4)
    assert not output.exists()
    kept = media.read(partial_output(output))
    record = read_tracks(tmp_path / "out.partial.tracks.jsonl")
    assert 10 <= len(kept.pictures) < 40
    assert len(record.frames) == len(kept.pictures)
    assert kept.times == media.read(source).times[: len(kept.pictures)]
    assert kept.kinds == ["video", "audio"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mv.mp4", "out.partial.mp4", "out.partial.tracks.jsonl"]


def test_a_full_disk_is_an_error_and_nothing_stands_under_the_final_name(
    clip: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SegmentWriter.write
    written = 0

    def full(self: SegmentWriter, frame: object, drawn: bytes) -> None:
        nonlocal written
        written += 1
        if written == 15:
            raise OutputError("the disk is full") from OSError(errno.ENOSPC, "No space left on device")
        write(self, frame, drawn)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentWriter, "write", full)
    with pytest.raises(OutputError, match="the disk is full; 14 frames are finished"):
        label_video(clip, tmp_path / "out.mkv", detector=detector, lookahead=0)
    assert not (tmp_path / "out.mkv").exists()
    assert not (tmp_path / "out.tracks.jsonl").exists()
    assert len(media.read(tmp_path / "out.partial.mkv").pictures) == 14


@pytest.mark.parametrize("name", ["out.mkv", "out.tracks.jsonl"])
def test_an_output_that_exists_is_refused_before_any_work(
    name: str, clip: Path, detector: Detector, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"precious")
    before = detector.session.work.inferences
    with pytest.raises(OutputError, match="exists"):
        label_video(clip, tmp_path / "out.mkv", detector=detector)
    assert (tmp_path / name).read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert detector.session.work.inferences == before


def test_a_container_that_cannot_hold_a_track_is_refused_before_any_work(
    clip: Path, detector: Detector, tmp_path: Path
) -> None:
    before = detector.session.work.inferences
    with pytest.raises(OutputError, match="mkv"):
        label_video(clip, tmp_path / "out.mp4", detector=detector)
    assert list(tmp_path.iterdir()) == []
    assert detector.session.work.inferences == before


def test_a_gallery_of_another_embedder_is_refused(
    clip: Path, detector: Detector, embedder: Embedder, tmp_path: Path
) -> None:
    other = Gallery.build({"ann": np.eye(1, 128, dtype=np.float32)}, embedder_sha256="f" * 64, threshold=0.5)
    with pytest.raises(InputError, match="enroll"):
        label_video(clip, tmp_path / "out.mkv", gallery=other, detector=detector, embedder=embedder)
    assert list(tmp_path.iterdir()) == []


def test_default_names() -> None:
    assert video_output(Path("a/mv.webm")) == Path("a/mv.labelled.mkv")
    assert video_output(Path("mv.MP4")) == Path("mv.labelled.MP4")
