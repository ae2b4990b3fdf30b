"""WebVTT and ASS: parsed by strict readers, and drawn by a player's own library where there is one."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import subprocess
from fractions import Fraction
from html import unescape
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pysubs2
import pytest
from numpy.typing import NDArray

from engine.errors import InputError
from stream.export import ass, chapters, cues
from stream.glyphs import Glyphs
from stream.overlay import Label, marks, thickness_of
from stream.soft_boxes import events
from stream.styles import Style
from stream.tracks import Tracks, read
from tests.stream.export import records

VIDEO = Path("/videos/mv.mp4")
TIMING = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d):([0-5]\d):([0-5]\d)\.(\d{3})")


@pytest.fixture
def record(tmp_path: Path) -> Tracks:
    return records.stage_record(tmp_path)


def parsed(data: bytes) -> list[tuple[int, int, str]]:
    """Cues as milliseconds and text, by the letter of the standard; anything else fails."""
    head, *blocks = data.decode().rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    found = []
    for block in blocks:
        timing, *text = block.split("\n")
        match = TIMING.fullmatch(timing)
        assert match, timing
        values = [int(v) for v in match.groups()]
        start, end = (((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (values[:4], values[4:]))
        assert end > start
        assert text
        assert not any("-->" in line or not line for line in text)
        found.append((start, end, "\n".join(text)))
    assert [cue[0] for cue in found] == sorted(cue[0] for cue in found)
    return found


def test_chapters_are_the_shots_and_who_is_in_them(record: Tracks) -> None:
    found = parsed(chapters.encode(record, VIDEO))
    assert found == [(0, 834, "Shot 1: Yuri, 최예나"), (834, 1335, "Shot 2: Yuri")]


def test_markup_in_a_name_is_text(tmp_path: Path) -> None:
    odd = "<b>A&B</b> --> C\nD"
    path = records.write(tmp_path / "a.tracks.jsonl", [(0, [records.face(0, odd)])] * 2, {0: odd})
    ((_, _, title),) = parsed(chapters.encode(read(path), VIDEO))
    assert "<" not in title
    assert unescape(title) == "Shot 1: <b>A&B</b> --> C D"
    for _, _, text in parsed(cues.encode(read(path), VIDEO)):
        assert json.loads(text)["faces"][0]["name"] == odd


def test_metadata_cues_hold_the_faces_of_their_frame(record: Tracks) -> None:
    found = parsed(cues.encode(record, VIDEO))
    assert len(found) == 40
    assert all(b[0] == a[1] for a, b in pairwise(found))
    data = [json.loads(text) for _, _, text in found]
    assert [cue["frame"] for cue in data] == list(range(40))
    for cue, frame in zip(data, record.frames, strict=True):
        for shown, face in zip(cue["faces"], frame.faces, strict=True):
            left, top, width, height = shown["box"]
            box = np.array([left * 160, top * 90, (left + width) * 160, (top + height) * 90])
            np.testing.assert_allclose(box, face.box, atol=0.01)
            assert (shown["track"], shown["name"]) == (face.track, face.name)


def test_webvtt_as_webvtt_py_reads_it(record: Tracks) -> None:
    webvtt = pytest.importorskip("webvtt")
    read_back = webvtt.from_buffer(io.StringIO(chapters.encode(record, VIDEO).decode()))
    assert [cue.text for cue in read_back] == ["Shot 1: Yuri, 최예나", "Shot 2: Yuri"]
    assert len(webvtt.from_buffer(io.StringIO(cues.encode(record, VIDEO).decode()))) == 40


def test_times_before_zero_are_cut_off(tmp_path: Path) -> None:
    path = records.write(
        tmp_path / "a.tracks.jsonl", [(0, [records.face(0, "A")])] * 4, {0: "A"}, pts=[-2002, -1001, 0, 1001]
    )
    assert parsed(chapters.encode(read(path), VIDEO)) == [(0, 67, "Shot 1: A")]
    assert [start for start, _, _ in parsed(cues.encode(read(path), VIDEO))] == [0, 33]


def test_ass_shows_every_face_on_its_frames_and_on_no_other(record: Tracks) -> None:
    file = pysubs2.SSAFile.from_string(ass.encode(record, VIDEO).decode())
    assert (file.info["PlayResX"], file.info["PlayResY"]) == ("160", "90")
    for frame in record.frames:
        now = float(frame.time) * 1000
        shown = [event for event in file if event.start <= now < event.end]
        assert {event.style for event in shown} <= set(file.styles)
        named = sorted(face.name for face in frame.faces if face.name)
        assert sorted(event.plaintext for event in shown if event.style == "Name known") == named
        corners = {
            tuple(map(int, re.findall(r"-?\d+", event.text)[1:3])) for event in shown if event.style == "Box known"
        }
        assert corners == {(int(f.box[0] + 0.5), int(f.box[1] + 0.5)) for f in frame.faces if f.name}


def test_what_stands_still_is_one_event(record: Tracks) -> None:
    shown = events(record, Style())
    assert sum(event.name == "최예나" for event in shown) == 2  # ten frames
    assert sum(event.name == "Yuri" for event in shown) == 2 * (25 + 1)


def test_nothing_is_shown_while_a_camera_was_gone(tmp_path: Path) -> None:
    path = records.write(
        tmp_path / "a.tracks.jsonl",
        [(shot, [records.face(shot, "Yuri")]) for shot in (0, 0, 1, 1)],
        {0: "Yuri", 1: "Yuri"},
        pts=[0, 3600, 5_400_000, 5_403_600],
        time_base=Fraction(1, 90_000),
        duration=None,
    )
    shown = {(float(event.start), float(event.end)) for event in events(read(path), Style())}
    assert shown == {(0.0, 0.08), (60.0, 60.08)}


def test_names_stand_where_a_drawn_copy_has_them(tmp_path: Path) -> None:
    """Beside a face above it, and without jumping, for which see the overlay's own tests."""
    faces = [records.face(0, "A", (60, 40, 90, 60)), records.face(1, "B", (55, 20, 95, 39))]
    record = read(records.write(tmp_path / "a.tracks.jsonl", [(0, faces)], {0: "A", 1: "B"}))
    drawn = {mark.name: mark.rect for mark in marks(faces, 160, 90, Glyphs()) if isinstance(mark, Label)}
    shown = {e.name: tuple(map(int, re.findall(r"\d+", e.text)[:3])) for e in events(record, Style()) if e.layer == 1}
    edge = thickness_of(160, 90)
    assert shown["B"] == (1, drawn["B"].left + edge, drawn["B"].bottom - edge)  # above
    assert shown["A"] == (7, drawn["A"].left + edge, drawn["A"].top + edge)  # below
    assert drawn["A"].top == 60


def test_commands_in_a_name_are_text(tmp_path: Path) -> None:
    odd = "{\\b1}x\\Ny, z"
    path = records.write(tmp_path / "a.tracks.jsonl", [(0, [records.face(0, odd)])] * 2, {0: odd})
    file = pysubs2.SSAFile.from_string(ass.encode(read(path), VIDEO).decode())
    (name,) = [event for event in file if event.layer == 1]
    assert name.plaintext == "｛＼b1｝x＼Ny, z"


def test_a_name_of_two_lines_is_one_event(tmp_path: Path) -> None:
    odd = "x\ny, z"
    path = records.write(tmp_path / "a.tracks.jsonl", [(0, [records.face(0, odd)])] * 2, {0: odd})
    text = ass.encode(read(path), VIDEO).decode()
    assert all(line.startswith("Dialogue: ") for line in text.split("[Events]")[1].splitlines()[2:])
    assert {event.name for event in pysubs2.SSAFile.from_string(text)} == {"x y  z"}


def test_what_is_later_than_the_format_can_tell_is_refused(tmp_path: Path) -> None:
    def record(end: int) -> Tracks:
        path = tmp_path / f"{end}.tracks.jsonl"
        shown = [(0, [records.face(0, "A")])] * 2
        times = [end - 80, end - 40]  # milliseconds
        return read(records.write(path, shown, {0: "A"}, pts=times, time_base=Fraction(1, 1000), duration=None))

    file = pysubs2.SSAFile.from_string(ass.encode(record(35_999_000), VIDEO).decode())
    assert max(event.end for event in file) == 35_999_000
    with pytest.raises(InputError, match="somebody at 10:00:00"):
        ass.encode(record(36_000_000), VIDEO)


def test_two_faces_of_one_name_bear_it_both(tmp_path: Path) -> None:
    """In a mirror, for one."""
    faces = [records.face(0, "A", (10, 40, 40, 70)), records.face(1, "A", (100, 40, 130, 70))]
    record = read(records.write(tmp_path / "a.tracks.jsonl", [(0, faces)], {0: "A", 1: "A"}))
    drawn = {mark.rect.left for mark in marks(faces, 160, 90, Glyphs()) if isinstance(mark, Label)}
    shown = {int(re.findall(r"\d+", e.text)[1]) - thickness_of(160, 90) for e in events(record, Style()) if e.layer}
    assert shown == drawn
    assert len(drawn) == 2


@pytest.mark.parametrize("marks", ["boxes", "colours", "corners", "names"])
def test_every_style_has_its_events(marks: str, record: Tracks) -> None:
    style = Style.parse([marks])
    found = events(record, style, "box")
    boxes = {event.style for event in found if event.layer == 0}
    if marks == "names":
        assert not boxes
    elif marks == "colours":
        assert boxes == {"Box person 1", "Box person 2", "Box unknown"}
    else:
        assert boxes == {"Box known", "Box unknown"}
    assert len({event.style for event in found if event.layer == 1}) == (2 if marks == "colours" else 1)


def burnt(subtitles: Path, width: int, height: int, at: float) -> NDArray[np.uint8]:
    """A grey picture with the subtitles of the second `at`, drawn by libass."""
    ffmpeg = __import__("imageio_ffmpeg").get_ffmpeg_exe()
    source = f"color=gray:s={width}x{height}:r=1000:d=3,trim=start={at}:duration=0.001,ass={subtitles.name}"
    command = [
        ffmpeg,
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    done = subprocess.run(command, cwd=subtitles.parent, capture_output=True, timeout=60, check=False)
    if b"No such filter" in done.stderr:
        pytest.skip("this ffmpeg has no libass")
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3)


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no ffmpeg to draw with")
def test_libass_draws_the_box_where_the_record_says(record: Tracks, tmp_path: Path) -> None:
    path = tmp_path / "mv.ass"
    path.write_bytes(ass.encode(record, VIDEO))
    picture = burnt(path, 320, 180, at=5.5 * 1001 / 30000).astype(int)  # twice the size, in the middle of frame 5
    red = (picture[..., 0] > 180) & (picture[..., 1] < 90) & (picture[..., 2] < 90)
    left, top, right, bottom = (2 * v for v in (25, 10, 56, 40))
    box = red[top : bottom + 40, left:right]
    assert red[top + 2, left + 6 : right - 6].all()
    assert red[bottom - 2, left + 6 : right - 6].all()
    assert red[top + 6 : bottom - 6, left + 2].all()
    assert red[top + 6 : bottom - 6, right - 2].all()
    assert not red[top + 8 : bottom - 8, left + 8 : right - 8].any()
    assert red[bottom + 4 : bottom + 14, left + 2 : left + 10].any()  # no room above: the name's plate lies below
    assert box.any()
    outside = red.copy()
    outside[top : bottom + 40, left - 2 : right + 30] = False
    assert not outside.any()


def test_nothing_gives_empty_files(tmp_path: Path) -> None:
    nothing = records.empty_record(tmp_path)
    assert parsed(chapters.encode(nothing, VIDEO)) == parsed(cues.encode(nothing, VIDEO)) == []
    data = ass.encode(nothing, VIDEO)
    assert len(pysubs2.SSAFile.from_string(data.decode())) == 0
    with av.open(io.BytesIO(data), "r", format="ass") as container:
        assert container.streams[0].type == "subtitle"
        assert not [packet for packet in container.demux() if packet.size]
