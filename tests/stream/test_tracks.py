"""The record: written, validated against the shipped schema, read back."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError, OutputError
from stream.frames import Face, TrackVerdict, Verdict, VideoInfo
from stream.tracks import (
    SCHEMA_FILE,
    Header,
    Model,
    Tracks,
    TracksWriter,
    lines,
    partial_path,
    read,
)

SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
HEADER = Header(
    path="mv.mp4",
    width=640,
    height=360,
    rotation=0,
    time_base=Fraction(1, 11988),
    duration=10.01,
    detector=Model("nano", "a" * 64),
    embedder=Model("mobile", "b" * 64),
    gallery="c" * 64,
    people=("yuri", "최예나"),
    version="0.1.0",
    every_frame=False,
)


def face(track: int = 0, name: str | None = None, similarity: float | None = None, **over: Any) -> Face:
    box = np.array(over.get("box", (10.04, 20.06, 30.55, 40)), np.float32)
    landmarks = np.array(over.get("landmarks", [[1.04, -0.01], [2, 3], [4, 5], [6, 7], [8, 9]]), np.float32)
    return Face(track, box, over.get("score", 0.9314), landmarks, name, similarity)


def verdict(track: int, kind: Verdict = "named", name: str | None = "yuri", frames: int = 1) -> TrackVerdict:
    return TrackVerdict(track, 0, kind, name, 0.6123, 0, 0, frames)


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def write(path: Path, frames: list[list[Face]], verdicts: list[TrackVerdict], step: int = 400) -> None:
    writer = TracksWriter.open(path, HEADER)
    for i, faces in enumerate(frames):
        writer.frame(index=i, pts=10214 + step * i, shot=0, faces=faces)
    for v in verdicts:
        writer.track(v)
    writer.finish()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_written_record_is_what_the_design_shows(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    write(path, [[face(3, "yuri", 0.61249)], []], [verdict(3)])
    header, first, second, track, summary = objects(path)
    for line in (header, first, second, track, summary):
        VALIDATOR.validate(line)
    assert header == {
        "type": "header",
        "schema": "iznet.tracks/1.2",
        "source": {
            "path": "mv.mp4",
            "width": 640,
            "height": 360,
            "rotation": 0,
            "time_base": "1/11988",
            "duration": 10.01,
        },
        "models": {
            "detector": {"name": "nano", "sha256": "a" * 64},
            "embedder": {"name": "mobile", "sha256": "b" * 64},
        },
        "gallery": {"sha256": "c" * 64, "people": ["yuri", "최예나"]},
        "every_frame": False,
        "iznet": "0.1.0",
    }
    assert first == {
        "type": "frame",
        "index": 0,
        "pts": 10214,
        "time": 0.852019,
        "shot": 0,
        "faces": [
            {
                "track": 3,
                "box": [10.0, 20.1, 30.5, 40.0],
                "score": 0.931,
                "name": "yuri",
                "similarity": 0.612,
                "landmarks": [[1.0, 0.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]],
            }
        ],
    }
    assert second["faces"] == []
    assert track == {
        "type": "track",
        "track": 3,
        "shot": 0,
        "verdict": "named",
        "name": "yuri",
        "similarity": 0.612,
        "first": 0,
        "last": 0,
        "frames": 1,
    }
    assert summary == {
        "type": "summary",
        "frames": 2,
        "dropped": {},
        "people": [{"name": "yuri", "seconds": 0.033, "appearances": [[0.852, 0.885]]}],
    }
    assert b"-0.0" not in path.read_bytes()
    assert "최예나".encode() in path.read_bytes()  # can be searched for


def test_the_header_of_a_turned_video_has_displayed_sides() -> None:
    info = VideoInfo("v.mp4", 640, 360, 90, Fraction(1, 600), None, None, "yuv420p")
    header = Header.of(info, version="1")
    assert (header.width, header.height, header.rotation, header.duration) == (360, 640, 90, None)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
NAMES = TEXTS.filter(str.strip) | st.sampled_from(["유리", "a\u2028b", "x\x85y", "two\nlines", '"'])
PATHS = TEXTS | st.sampled_from(["caf\udce9.mp4", "\n"])
"""A file's name may hold bytes that are no text."""
FLOATS = st.floats(-5000, 5000, width=32)
FACES = st.builds(
    lambda track, box, score, name, similarity, points: Face(
        track,
        np.sort(np.array(box, np.float32).reshape(2, 2), axis=0).ravel(),
        score,
        np.array(points, np.float32).reshape(5, 2),
        name,
        similarity,
    ),
    st.integers(0, 5),
    st.lists(FLOATS, min_size=4, max_size=4),
    st.floats(0, 1),
    st.none() | NAMES,
    st.none() | st.floats(-1, 1),
    st.lists(FLOATS, min_size=10, max_size=10),
)


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.lists(FACES, max_size=3, unique_by=lambda face: face.track)), max_size=6
    ),
    st.fixed_dictionaries(
        dict.fromkeys(range(6), st.tuples(st.sampled_from(["named", "unknown", "conflict"]), NAMES)),
    ),
    st.fractions(min_value=Fraction(1, 90000), max_value=1, max_denominator=90000),
    st.tuples(PATHS, st.none() | st.floats(0, 1e6), st.lists(NAMES, unique=True, max_size=3)),
)
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    frames: list[tuple[int, list[Face]]],
    verdicts: dict[int, tuple[Verdict, str]],
    time_base: Fraction,
    head: tuple[str, float | None, list[str]],
) -> None:
    path = tmp_path_factory.mktemp("record") / "r.tracks.jsonl"
    source, duration, people = head
    header = Header(source, 5, 7, 270, time_base, duration, None, None, "0" * 64, tuple(people), "1")
    writer = TracksWriter.open(path, header)
    pts, stamps = -1000, []
    for i, (step, faces) in enumerate(frames):
        pts += step
        stamps.append(pts)
        writer.frame(index=i, pts=pts, shot=i // 2, faces=faces)
    final = [
        TrackVerdict(t, 0, kind, name if kind == "named" else None, None, 0, 9, 1)
        for t, (kind, name) in verdicts.items()
    ]
    for v in final:
        writer.track(v)
    summary = writer.finish(dropped={"late": 2}, damage={"corrupt packet": 1})

    for line in objects(path):
        VALIDATOR.validate(line)
    found = read(path, drawn=True)
    assert found.header.path == source
    assert found.header.people == tuple(people)
    assert found.header.time_base == time_base
    assert found.tracks == tuple(final)
    assert found.summary == summary
    assert [f.pts for f in found.frames] == stamps
    for back, stamp, (_, faces) in zip(found.frames, stamps, frames, strict=True):
        assert math.isclose(back.time, stamp * float(time_base), rel_tol=1e-9, abs_tol=1e-6)
        for was, now in zip(faces, back.faces, strict=True):
            assert (now.track, now.name) == (was.track, was.name)
            assert np.abs(now.box - was.box).max() <= 0.051
            assert np.abs(now.landmarks - was.landmarks).max() <= 0.051
            assert abs(now.score - was.score) <= 0.00051
            assert (now.similarity is None) == (was.similarity is None)
    names = {v.track: v.name for v in final}
    assert all(f.name == names[f.track] for frame in read(path).frames for f in frame.faces)


def test_reading_gives_the_final_verdict_and_on_request_what_was_drawn(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    frames = [[face(0), face(1, "최예나", 0.5), face(2, "yuri", 0.5)]]
    write(path, frames, [verdict(0), verdict(1, "conflict", None), verdict(2, "unknown", None)])
    assert [f.name for f in read(path).frames[0].faces] == ["yuri", None, None]
    assert [f.name for f in read(path, drawn=True).frames[0].faces] == [None, "최예나", "yuri"]
    assert [p.name for p in _summary(read(path)).people] == ["yuri"]


def _summary(tracks: Tracks) -> Any:
    assert tracks.summary is not None
    return tracks.summary


def test_the_summary_counts_a_person_once_a_frame_by_final_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    # tracks 0 and 1 are both yuri and overlap in frame 1; track 2 stays unknown although it was drawn as yuri
    frames = [[face(0)], [face(0), face(1)], [face(1), face(2, "yuri")], [face(2, "yuri")], [face(1)]]
    write(path, frames, [verdict(0), verdict(1), verdict(2, "unknown", None)], step=11988)
    (person,) = _summary(read(path)).people
    assert person.seconds == 4
    assert [round(e - s, 3) for s, e in person.appearances] == [3, 1]


@pytest.mark.parametrize(
    "bad",
    [
        {"box": (float("nan"), 0, 1, 1)},
        {"box": (0, 0, float("inf"), 1)},
        {"score": float("nan")},
        {"similarity": float("-inf")},
        {"landmarks": [[float("nan"), 0]] + [[0, 0]] * 4},
    ],
)
def test_numbers_that_are_not_finite_are_not_written(bad: dict[str, Any]) -> None:
    out = io.BytesIO()
    writer = TracksWriter(out, HEADER)
    similarity = bad.pop("similarity", None)
    with pytest.raises(ValueError, match=r"frame 0.*finite"):
        writer.frame(index=0, pts=0, shot=0, faces=[face(0, "yuri", similarity, **bad)])
    writer.frame(index=0, pts=0, shot=0, faces=[])
    writer.finish()
    assert len(out.getvalue().splitlines()) == 3


def test_a_frame_cannot_be_left_out_or_written_twice() -> None:
    writer = TracksWriter(io.BytesIO(), HEADER)
    writer.frame(index=0, pts=0, shot=0, faces=[])
    for index in (0, 2):
        with pytest.raises(ValueError, match=f"frame {index}.*frame 1"):
            writer.frame(index=index, pts=5, shot=0, faces=[])


def test_a_growing_record_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("stream.tracks.time.monotonic", lambda: clock[0])
    path = tmp_path / "mv.tracks.jsonl"
    writer = TracksWriter.open(path, HEADER)
    work = partial_path(path)
    for i in range(20):
        writer.frame(index=i, pts=i, shot=0, faces=[face(0, "yuri", 0.5)])
        clock[0] += 0.1
        assert work.read_bytes().endswith(b"}\n")
        growing = read(work, partial=True)
        assert growing.summary is None
        assert i - 3 <= len(growing.frames) <= i + 1
    assert not path.exists()
    with pytest.raises(InputError, match="ends without a summary, so it was cut off; label the video again"):
        read(work)
    (tmp_path / "half.tracks.jsonl").write_bytes(work.read_bytes()[:-9])
    lines = work.read_bytes().count(b"\n")
    with pytest.raises(
        InputError, match=rf"half\.tracks\.jsonl: ends in the middle of line {lines}, so it was cut off"
    ):
        read(tmp_path / "half.tracks.jsonl")
    with pytest.raises(InputError, match=r"none\.tracks\.jsonl: no such file; a record is made by: iznet label"):
        read(tmp_path / "none.tracks.jsonl")
    writer.track(verdict(0, frames=20))
    writer.finish()
    assert len(read(path).frames) == 20
    assert not work.exists()


def test_an_unfinished_last_line_is_passed_over_when_partial(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    write(path, [[face(0)] for _ in range(3)], [verdict(0)])
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(ends[0], len(whole), 7):
        path.write_bytes(whole[:cut])
        found = read(path, partial=True)
        assert len(found.frames) == min(3, sum(cut >= end for end in ends) - 1)
        if cut < len(whole) - 1:  # a whole record may lack its last line feed
            with pytest.raises(InputError, match=str(path)):
                read(path)


def test_an_interrupted_record_keeps_its_partial_name(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    writer = TracksWriter.open(path, HEADER)
    writer.frame(index=0, pts=0, shot=0, faces=[face(0)])
    assert writer.abort(keep=True) == tmp_path / "mv.partial.tracks.jsonl"
    assert len(read(tmp_path / "mv.partial.tracks.jsonl", partial=True).frames) == 1

    writer = TracksWriter.open(path, HEADER)
    writer.frame(index=0, pts=0, shot=0, faces=[face(0)])
    writer.track(verdict(0))
    writer.finish(complete=False)
    assert not path.exists()
    assert _summary(read(tmp_path / "mv.partial.tracks.jsonl")).frames == 1


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    writer = TracksWriter.open(path, HEADER)

    def fail() -> None:
        with writer:
            writer.frame(index=0, pts=0, shot=0, faces=[])
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_existing_records_are_spared(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    path.write_text("mine", "utf-8")
    with pytest.raises(OutputError, match=r"mv\.tracks\.jsonl exists.*--overwrite"):
        TracksWriter.open(path, HEADER)
    writer = TracksWriter.open(path, HEADER, overwrite=True)
    assert path.read_text("utf-8") == "mine"  # until the new one is complete
    writer.finish()
    assert read(path).frames == ()
    late = tmp_path / "late.tracks.jsonl"
    writer = TracksWriter.open(late, HEADER)
    late.write_text("somebody else's", "utf-8")
    with pytest.raises(OutputError, match=r"late\.tracks\.jsonl.*late\.partial"):
        writer.finish()
    assert late.read_text("utf-8") == "somebody else's"


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_a_record_that_is_replaced_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.tracks.jsonl", tmp_path / "mv.tracks.jsonl"
    real.write_text("old", "utf-8")
    real.chmod(0o600)
    link.symlink_to(real)
    named: list[Path] = []
    writer = TracksWriter.open(link, HEADER, overwrite=True, before_rename=named.append)
    assert writer.path == tmp_path / "far" / "real.partial.tracks.jsonl"
    assert writer.path.stat().st_mode & 0o777 == 0o600, "nobody else may read it while it grows"
    writer.finish()
    assert named == [writer.path]
    assert link.is_symlink()
    assert read(link).frames == ()
    assert real.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in real.parent.iterdir()] == [real.name]


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere does not exist; make it first"):
        TracksWriter.open(tmp_path / "nowhere" / "a.tracks.jsonl", HEADER)
    with pytest.raises(OutputError, match="folder"):
        TracksWriter.open(tmp_path, HEADER, overwrite=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_output_error() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OutputError, match="/dev/full: the disk is full"),
    ):
        TracksWriter(full, HEADER)


def test_short_writes_are_completed() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:7])

    out = Slow()
    writer = TracksWriter(out, HEADER)
    writer.frame(index=0, pts=0, shot=0, faces=[face(0)])
    writer.finish()
    assert [json.loads(line)["type"] for line in out.getvalue().splitlines()] == ["header", "frame", "summary"]


def damaged(tmp_path: Path, number: int, change: dict[str, Any] | bytes) -> Path:
    path = tmp_path / "d.tracks.jsonl"
    if not path.exists():
        write(path, [[face(0, "yuri", 0.5)]], [verdict(0)])
    every = path.read_bytes().splitlines()
    every[number - 1] = (
        change if isinstance(change, bytes) else json.dumps({**json.loads(every[number - 1]), **change}).encode()
    )
    broken = tmp_path / "broken.tracks.jsonl"
    broken.write_bytes(b"\n".join(every) + b"\n")
    return broken


SOURCE = {"path": "mv.mp4", "width": 640, "height": 360, "rotation": 0, "time_base": "1/11988", "duration": None}
FACE = {"track": 0, "box": [0, 0, 1, 1], "score": 1, "name": None, "similarity": None, "landmarks": [[0, 0]] * 5}


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (1, b"hello"),
        (1, b"[]"),
        (1, b"3"),
        (1, b"\xff\xfe"),
        (1, {"schema": "iznet.gallery/1.0"}),
        (1, {"schema": "iznet.tracks/x"}),
        (1, {"source": None}),
        (1, {"type": "frame"}),
        (2, b'{"type":"frame"}'),
        (2, b""),
        (2, {"index": 1}),
        (2, {"index": "0"}),
        (2, {"pts": 1.5}),
        (2, {"pts": True}),
        (2, {"faces": 3}),
        (2, {"faces": [{**FACE, "box": [0, 0, 1]}]}),
        (2, {"faces": [{**FACE, "box": [0, 0, 1, "1"]}]}),
        (2, {"faces": [{**FACE, "name": 3}]}),
        (2, {"faces": [{**FACE, "landmarks": [[0, 0]]}]}),
        (2, b'{"type":"frame","index":0,"pts":0,"time":NaN,"shot":0,"faces":[]}'),
        (2, b'{"type":"frame","index":0,"pts":0,"time":1e999,"shot":0,"faces":[]}'),
        (1, {"source": {**SOURCE, "time_base": "0/1"}}),
        (1, {"source": {**SOURCE, "time_base": "-1/25"}}),
        (1, {"source": {**SOURCE, "height": 0}}),
        (1, {"source": {**SOURCE, "path": "\ud800"}}),
        (1, {"gallery": {"sha256": "0" * 64, "people": ["\ud800"]}}),
        (2, {"pts": 10**30}),
        (2, {"shot": -1}),
        (2, {"shot": 2**31}),
        (2, {"faces": [FACE, FACE]}),
        (2, {"faces": [{**FACE, "box": [5, 0, 1, 1]}]}),
        (2, {"faces": [{**FACE, "box": [0, 0, 1e300, 1]}]}),
        (2, {"faces": [{**FACE, "landmarks": [[0, 1e39]] * 5}]}),
        (2, {"faces": [{**FACE, "name": "\ud800"}]}),
        (2, {"faces": [{**FACE, "name": " "}]}),
        (3, {"verdict": "maybe"}),
        (3, {"verdict": "unknown"}),
        (3, {"name": None}),
        (3, {"frames": 0}),
        (3, {"stranger": 0}),
        (4, {"people": [{"name": "x"}]}),
        (4, {"type": 4}),
    ],
)
def test_nonsense_is_refused_with_its_line(tmp_path: Path, number: int, change: dict[str, Any] | bytes) -> None:
    path = damaged(tmp_path, number, change)
    with pytest.raises(InputError, match=rf"broken\.tracks\.jsonl, line {number}"):
        read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda every: every[2].update(pts=every[1]["pts"], time=every[1]["time"]), "frame 1 is not later"),
        (lambda every: every[1].update(shot=1), "frame 1 is not later than the one before, or of an earlier shot"),
        (lambda every: every[2].update(time=7.5), "frame 1 has time 7.5"),
        (lambda every: every[0]["source"].update(time_base="1/24"), "frame 0 has time"),
        (lambda every: every.insert(3, every[3]), "track 0 has 2 verdicts"),
        (lambda every: every.pop(3), "track 0, on frame 0, has no verdict"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(
    change: Callable[[list[dict[str, Any]]], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    write(path, [[face(0)], [face(0)]], [verdict(0, frames=2)])
    every = objects(path)
    read(path)
    change(every)
    path.write_text("".join(json.dumps(line) + "\n" for line in every), "utf-8")
    with pytest.raises(InputError, match=rf"mv\.tracks\.jsonl: {said}.*edited"):
        read(path)


def test_a_summary_that_miscounts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="7 frames, 1 are there"):
        read(damaged(tmp_path, 4, {"frames": 7}))


def test_lines_after_the_summary_and_second_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tracks.jsonl"
    write(path, [[]], [])
    every = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*every, every[1]]))
    with pytest.raises(InputError, match="line 4"):
        read(path)
    path.write_bytes(b"".join([every[0], every[0]]))
    with pytest.raises(InputError, match="line 2"):
        read(path)


def test_versions_newer_minors_are_read_newer_majors_refused(tmp_path: Path) -> None:
    path = damaged(tmp_path, 1, {"schema": "iznet.tracks/1.7", "mood": "new"})
    path.write_bytes(path.read_bytes().replace(b'{"type":"track"', b'{"type":"mood","x":1}\n{"type":"track"'))
    found = read(path)
    assert found.header.schema == "iznet.tracks/1.7"
    assert len(found.frames) == 1
    with pytest.raises(InputError, match=r"line 1.*iznet\.tracks/2\.0.*upgrade"):
        read(damaged(tmp_path, 1, {"schema": "iznet.tracks/2.0"}))


@pytest.mark.parametrize("name", ["missing.jsonl", "", "empty.jsonl"])
def test_what_is_no_file_or_empty_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match=str(tmp_path)):
        read(tmp_path / name)


def test_lines_stream_a_record_without_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "m.tracks.jsonl"
    write(path, [[face(0)], []], [verdict(0)])
    assert [type(line).__name__ for line in lines(path)] == [
        "Header",
        "RecordedFrame",
        "RecordedFrame",
        "TrackVerdict",
        "Summary",
    ]


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"faces": [{**FACE, "box": [0, 0, 1]}]}, 2),
        ({"extra": 1}, 2),
        ({"index": -1}, 2),
        ({"verdict": "maybe"}, 3),
        ({"schema": "iznet.tracks/2.0"}, 1),
        ({"people": [{"name": "x", "seconds": -1, "appearances": []}]}, 4),
    ],
)
def test_the_schema_has_teeth(tmp_path: Path, change: dict[str, Any], number: int) -> None:
    path = damaged(tmp_path, number, change)
    assert not VALIDATOR.is_valid(objects(path)[number - 1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mv.tracks.jsonl", "mv.partial.tracks.jsonl"),
        ("my.mv.tracks.jsonl", "my.mv.partial.tracks.jsonl"),
        ("rec.jsonl", "rec.partial.jsonl"),
        ("rec", "rec.partial"),
    ],
)
def test_partial_names(name: str, expected: str) -> None:
    assert partial_path(Path("x") / name) == Path("x") / expected


@pytest.mark.parametrize("every_frame", [None, False, True])
def test_whether_every_frame_was_looked_at_and_older_records_do_not_say(
    tmp_path: Path, every_frame: bool | None
) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    with TracksWriter.open(path, replace(HEADER, every_frame=every_frame)) as writer:
        writer.finish()
    VALIDATOR.validate(objects(path)[0])
    assert read(path).header.every_frame is every_frame
    assert ("every_frame" in objects(path)[0]) is (every_frame is not None)
    with pytest.raises(InputError, match="'often' is neither true nor false"):
        read(damaged(tmp_path, 1, {"every_frame": "often"}))


def test_strangers_keep_their_numbers_and_older_records_have_none(tmp_path: Path) -> None:
    path = tmp_path / "mv.tracks.jsonl"
    write(path, [[face(0), face(1)]], [replace(verdict(0, "unknown", None), stranger=2), verdict(1)])
    for line in objects(path):
        VALIDATOR.validate(line)
    assert [v.stranger for v in read(path).tracks] == [2, None]
    text = path.read_text("utf-8")
    path.write_text(
        text.replace("tracks/1.2", "tracks/1.0").replace(', "stranger": 2', "").replace(',"stranger":2', ""),
        "utf-8",
    )
    assert "stranger" not in path.read_text("utf-8")
    assert [v.stranger for v in read(path).tracks] == [None, None]
