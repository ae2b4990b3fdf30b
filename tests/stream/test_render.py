"""Drawn from a record, read back from the file: names, styles, hidden faces, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import InputError, InterruptedByUser, OutputError, UsageError
from engine.gallery import Gallery
from stream import label_video, segments
from stream.encoding import EncoderSettings
from stream.frames import Face, TrackVerdict
from stream.label import record_output
from stream.render import UNSEEN, render_video
from stream.source import FileSource
from stream.styles import Style
from stream.tracks import Header, TracksWriter, read
from tests import networks
from tests.stream import media
from tests.stream.export.records import face

WIDTH, HEIGHT, FRAMES, CUT = 160, 96, 30, 18
GOOD = EncoderSettings("x264", "veryfast", 4)
Picture = NDArray[np.int64]


def boxes_at(index: int) -> dict[int, tuple[float, float, float, float]]:
    """Track → box: Ann goes right in the first shot, a stranger stands; Ann is back in the second."""
    if index < CUT:
        return {0: (10 + index, 20, 40 + index, 60), 1: (100, 30, 130, 70)}
    return {2: (60, 40, 90, 80)}


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A smooth set, and faces of rough texture: nothing survives of it where it is hidden."""
    rgb = media.scene(index, width, height)
    rng = np.random.default_rng(7)
    for track, (x1, y1, x2, y2) in boxes_at(index).items():
        texture = rng.integers(0, 2, (20, 15, 1)).repeat(2, 0).repeat(2, 1) * 160 + 40
        rgb[int(y1) : int(y2), int(x1) : int(x2)] = texture + 10 * track
    return rgb


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render")
    video = media.Video(
        frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage, pts=media.vfr(FRAMES, 400), pixel_format="yuv444p"
    )
    path = media.write(folder / "mv.mkv", video, [media.audio(), media.subrip()])
    write_record(path, record_output(path))
    return path


def write_record(video: Path, path: Path, **changes: Any) -> Path:
    """What labelling would have found; the first frames bear no name yet."""
    with FileSource(video) as source:
        header = Header.of(source.info, people=("ann", "ben"), gallery="c" * 64, version="0")
        pts = [frame.pts for frame in source.frames()]
    writer = TracksWriter.open(path, header, overwrite=True)
    for i, when in enumerate(pts):
        names = {0: "ann" if i > 2 else None, 1: None, 2: "ann"}
        faces = [face(track, names[track], box) for track, box in boxes_at(i).items()]
        writer.frame(index=i, pts=when, shot=int(i >= CUT), faces=faces)
    for track, name in ((0, "ann"), (1, None), (2, "ann")):
        kind: Any = "named" if name else "unknown"
        writer.track(TrackVerdict(track, int(track == 2), kind, name, 0.6, pts[0], pts[-1], 1))
    writer.finish()
    return path


@pytest.fixture
def video(original: Path, tmp_path: Path) -> Path:
    shutil.copy(record_output(original), tmp_path)
    return Path(shutil.copy(original, tmp_path))


def render(video: Path, *words: str, **over: Any) -> list[Picture]:
    out = video.with_name("out.mkv")
    render_video(video, record_output(video), out, style=Style.parse(words), encoder=GOOD, overwrite=True, **over)
    return pictures(out)


def pictures(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.int64) for frame in container.decode(video=0)]


def is_red(pixel: Picture) -> bool:
    return bool(np.linalg.norm(pixel - np.array([255, 0, 0])) < 90)


def test_the_final_names_are_drawn_from_the_first_frame(video: Path) -> None:
    shown = render(video)
    source = media.read(video)
    for i in range(FRAMES):
        named = 2 if i >= CUT else 0
        x1, _, x2, y2 = (int(v) for v in boxes_at(i)[named])
        assert is_red(shown[i][y2 - 1, (x1 + x2) // 2]), i
    assert not is_red(shown[5][69, 115])  # the stranger
    out = media.read(video.with_name("out.mkv"))
    assert out.times == source.times
    assert out.packets[1:] == source.packets[1:]


def test_a_corrected_name_changes_its_track_only(video: Path) -> None:
    from stream.renaming import rename

    before = render(video)
    rename(record_output(video), {1: "ben"})
    after = render(video)
    assert is_red(after[5][69, 115])
    assert np.abs(after[25] - before[25]).max() < 40


def test_a_name_corrected_by_hand_is_drawn_and_told(video: Path) -> None:
    def correct(lines: list[dict[str, Any]]) -> None:
        (line,) = [line for line in lines if line["type"] == "track" and line["track"] == 1]
        line |= {"verdict": "named", "name": "ben"}

    before = render(video)
    edit(record_output(video), correct)
    result = render_video(video, record_output(video), video.with_name("new.mkv"), encoder=GOOD)
    assert [person.name for person in result.people] == ["ann", "ben"]
    assert is_red(pictures(video.with_name("new.mkv"))[5][69, 115])
    assert not is_red(before[5][69, 115])


def rough(picture: Picture, box: tuple[float, float, float, float]) -> float:
    """How much neighbours differ inside a box."""
    x1, y1, x2, y2 = (int(v) for v in box)
    part = picture[y1:y2, x1:x2].mean(axis=-1)
    return float(np.abs(np.diff(part, axis=1)).mean() + np.abs(np.diff(part, axis=0)).mean())


@pytest.mark.parametrize("how", ["blur", "pixelate"])
def test_hidden_faces_are_gone_from_the_file(how: str, video: Path) -> None:
    plain, shown, source = render(video, "names"), render(video, how), pictures(video)
    for i in range(FRAMES):
        for box in boxes_at(i).values():
            x1, y1, x2, y2 = (int(v) for v in box)
            assert rough(plain[i], box) > 60
            assert rough(shown[i], box) < 0.2 * rough(source[i], box), i
            a, b = (p[i][y1:y2, x1:x2].mean(axis=-1).ravel() for p in (source, shown))
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.5
        far = shown[i][84:, :40]
        assert np.abs(far - source[i][84:, :40]).max() < 60
    marked = render(video, "boxes")
    assert is_red(marked[5][59, 30])
    assert not is_red(shown[5][59, 30])


def test_hidden_in_ten_bits(tmp_path: Path) -> None:
    """HEVC, 4:2:0, on its side: the face is gone from the file."""
    path = media.write(
        tmp_path / "mv.mp4",
        media.Video(
            frames=12,
            width=WIDTH,
            height=HEIGHT,
            picture=stage,
            codec="libx265",
            pixel_format="yuv420p10le",
            rotation=-90,
            options={"preset": "ultrafast", "crf": "4", "x265-params": "log-level=error"},
        ),
    )
    with FileSource(path) as source:
        info, pts = source.info, [frame.pts for frame in source.frames()]
    assert (info.rotation, info.width, info.height) == (90, HEIGHT, WIDTH)
    x1, y1, x2, y2 = boxes_at(0)[1]  # as stored; a quarter turn clockwise makes the picture's left its top
    shown = (HEIGHT - y2, x1, HEIGHT - y1, x2)
    with TracksWriter.open(record_output(path), Header.of(info)) as writer:
        for i, when in enumerate(pts):
            writer.frame(index=i, pts=when, shot=0, faces=[face(0, None, shown)])
        writer.track(TrackVerdict(0, 0, "unknown", None, None, pts[0], pts[-1], len(pts)))
        writer.finish()
    out = tmp_path / "out.mp4"
    render_video(
        path, record_output(path), out, style=Style.parse(["blur"]), encoder=EncoderSettings("x265", "ultrafast", 4)
    )
    for was, now in zip(media.read(path).pictures, media.read(out).pictures, strict=True):
        assert now.format.name == "yuv420p10le"
        before, after = (_luma(picture)[int(y1) : int(y2), int(x1) : int(x2)] for picture in (was, now))
        assert np.abs(np.diff(before, axis=1)).mean() > 100
        assert np.abs(np.diff(after, axis=1)).mean() < 0.2 * np.abs(np.diff(before, axis=1)).mean()
        assert abs(np.corrcoef(before.ravel(), after.ravel())[0, 1]) < 0.5


def _luma(picture: av.VideoFrame) -> Picture:
    plane: Any = picture.planes[0]
    rows = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
    return rows[:, : plane.width].astype(np.int64)


def test_only_strangers_are_hidden_where_the_named_are_spared(video: Path) -> None:
    shown, source = render(video, "blur-unknown", "corners"), pictures(video)
    for i in range(CUT):
        boxes = boxes_at(i)
        assert rough(shown[i], boxes[1]) < 0.2 * rough(source[i], boxes[1])
        assert rough(shown[i], boxes[0]) > 0.7 * rough(source[i], boxes[0])
    assert is_red(shown[5][59, 17])
    assert not is_red(shown[5][59, 30])  # between the corners


def test_a_cover_is_said_to_be_as_it_was(tmp_path: Path) -> None:
    path = media.write(
        tmp_path / "mv.mkv",
        media.Video(frames=FRAMES, width=WIDTH, height=HEIGHT, picture=stage, pts=media.vfr(FRAMES, 400)),
        attachments=[("cover.jpg", "image/jpeg", jpeg())],
    )
    write_record(path, record_output(path))
    result = render_video(path, record_output(path), tmp_path / "out.mkv", style=Style.parse(["blur"]))
    assert any("cover" in note for note in result.notes)


def jpeg() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(media.scene(0, 32, 32)).save(out, "JPEG")
    return out.getvalue()


def edit(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change a record so that it stays one: the times go by the ticks again."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(lines)
    for line in lines:
        if line["type"] == "frame":
            line["time"] = float(line["pts"] * Fraction(lines[0]["source"]["time_base"]))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 162}, "size is 162x96, the video's 160x96"),
        ({"rotation": 90}, "rotation is 90"),
        ({"time_base": "1/90000"}, "time base is 1/90000"),
        ({"duration": 77.5}, "duration is 77.500 s"),
    ],
)
def test_another_videos_record_is_refused(change: dict[str, Any], said: str, video: Path) -> None:
    edit(record_output(video), lambda lines: lines[0]["source"].update(change))
    with pytest.raises(InputError) as failure:
        render(video)
    assert said in str(failure.value)
    assert str(video) in str(failure.value)
    assert sorted(p.name for p in video.parent.iterdir()) == ["mv.mkv", "mv.tracks.jsonl"]


@pytest.mark.parametrize(
    ("change", "said"),
    [("moved", "frame 20 is"), ("fewer", f"ends after {FRAMES - 1} frames"), ("more", f"frame {FRAMES} is")],
)
def test_frames_that_do_not_match_are_refused(change: str, said: str, video: Path) -> None:
    def other(lines: list[dict[str, Any]]) -> None:
        frames = [line for line in lines if line["type"] == "frame"]
        if change == "moved":
            frames[20]["pts"] += 3
        elif change == "fewer":
            lines.remove(frames[-1])
            lines[-1]["frames"] -= 1
        else:
            extra = frames[-1] | {"index": FRAMES, "pts": frames[-1]["pts"] + 500}
            lines.insert(lines.index(frames[-1]) + 1, extra)
            lines[-1]["frames"] += 1

    edit(record_output(video), other)
    with pytest.raises(InputError, match=said):
        render(video)
    assert sorted(p.name for p in video.parent.iterdir()) == ["mv.mkv", "mv.tracks.jsonl"]


def test_what_exists_is_kept(video: Path) -> None:
    out = video.with_name("out.mkv")
    out.write_bytes(b"mine")
    for soft in (False, True):
        with pytest.raises(OutputError, match="exists"):
            render_video(video, record_output(video), out, soft=soft)
    assert out.read_bytes() == b"mine"


def test_an_interrupt_keeps_what_was_finished(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FRAMES_PER_SEGMENT", 10)
    whole = render(video)
    packets = media.read(video.with_name("out.mkv")).packets
    video.with_name("out.mkv").unlink()

    def stop(done: int, total: int | None) -> None:
        assert total == FRAMES
        if done == 25:
            raise KeyboardInterrupt

    kept = r"25 frames are finished, in .*out\.partial\.mkv; --resume goes on from there"
    with pytest.raises(InterruptedByUser, match=kept):
        render(video, progress=stop)
    there = ["mv.mkv", "mv.tracks.jsonl"]
    assert sorted(p.name for p in video.parent.iterdir()) == [*there, "out.mkv.iznet", "out.partial.mkv"]
    assert len(pictures(video.with_name("out.partial.mkv"))) == 25
    assert np.array_equal(render(video, resume=True), whole)
    assert media.read(video.with_name("out.mkv")).packets == packets
    assert sorted(p.name for p in video.parent.iterdir()) == [*there, "out.mkv"]


def test_labelling_in_two_passes_draws_and_records_the_verdicts(
    tmp_path: Path, detector: Detector, embedder: Embedder
) -> None:
    """Without look-ahead a name is not known on a track's first frames; with two passes it is."""

    def known(index: int, width: int, height: int) -> NDArray[np.uint8]:
        x = 30 + 2 * index
        return networks.scene(width, height, [((x, 60, x + 48, 120), networks.PEOPLE["cho"])])

    path = media.write(
        tmp_path / "mv.mp4", media.Video(frames=24, width=320, height=192, picture=known, pixel_format="yuv444p")
    )
    crop = np.empty((1, 112, 112, 3), np.uint8)
    crop[...] = networks.PEOPLE["cho"]
    gallery = Gallery.build({"cho": embedder.embed(crop)}, embedder.sha256, 0.9)
    common: dict[str, Any] = {
        "gallery": gallery,
        "detector": detector,
        "embedder": embedder,
        "lookahead": 0.0,
        "encoder": GOOD,
    }
    one = label_video(path, tmp_path / "one.mp4", **common)
    two = label_video(path, tmp_path / "two.mp4", two_pass=True, **common)
    hidden = label_video(path, tmp_path / "hidden.mp4", style=Style.parse(["pixelate"]), **common)
    assert all(f.name == "cho" for frame in read(two.tracks, drawn=True).frames for f in frame.faces)
    faces: tuple[Face, ...] = read(two.tracks).frames[0].faces
    x1, _, x2, y2 = (round(float(v)) for v in faces[0].box)
    assert is_red(pictures(tmp_path / "two.mp4")[0][y2 - 1, (x1 + x2) // 2])
    assert not is_red(pictures(tmp_path / "hidden.mp4")[0][y2 - 1, (x1 + x2) // 2])
    assert hidden.frames == two.frames == 24
    assert two.people == one.people
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".jsonl"] * 3 + [".mp4"] * 4


@pytest.mark.parametrize(
    ("every_frame", "words", "warned"),
    [
        (None, ["blur"], True),
        (False, ["corners", "pixelate-unknown"], True),
        (True, ["blur"], False),
        (False, ["corners"], False),
    ],
)
def test_hiding_says_when_faces_were_not_looked_for_on_every_frame(
    video: Path, every_frame: bool | None, words: list[str], warned: bool
) -> None:
    def say(lines: list[dict[str, Any]]) -> None:
        if every_frame is not None:
            lines[0]["every_frame"] = every_frame

    edit(record_output(video), say)
    style = Style.parse(words)
    result = render_video(video, record_output(video), video.with_name("out.mkv"), style=style, encoder=GOOD)
    assert (UNSEEN in result.notes) is warned


def test_labelling_notes_whether_it_looked_at_every_frame(video: Path, detector: Detector) -> None:
    for n, (given, style) in enumerate(((False, "boxes"), (True, "boxes"), (False, "blur"))):
        record = video.with_name(f"{n}.tracks.jsonl")
        out = video.with_name(f"{n}.mkv")
        label_video(video, out, tracks=record, detector=detector, every_frame=given, style=Style.parse([style]))
        assert read(record).header.every_frame is (given or style == "blur")


@pytest.mark.parametrize("words", [["blur"], ["boxes", "pixelate-unknown"]])
def test_a_soft_copy_can_hide_nobody(words: list[str], video: Path) -> None:
    with pytest.raises(UsageError, match="can hide nobody"):
        render_video(video, record_output(video), video.with_name("out.mkv"), style=Style.parse(words), soft=True)


def test_ticks_of_a_record_are_the_videos(video: Path) -> None:
    record = read(record_output(video))
    assert record.header.time_base == Fraction(1, 1000)
    assert len(record.frames) == FRAMES
