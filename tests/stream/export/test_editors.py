"""FCPXML, EDL and OTIO: exact times, and what independent readers make of them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from engine.errors import InputError
from stream.export import edl, fcpxml, otio
from stream.timecode import timecode
from stream.tracks import Tracks, read
from tests.stream.export import records

otio_library = pytest.importorskip("opentimelineio")
VIDEO = Path("/videos/my mv.mp4")
FRAME = Fraction(1001, 30000)


@pytest.fixture
def record(tmp_path: Path) -> Tracks:
    return records.stage_record(tmp_path)


# What FCPXML 1.10's grammar says of the elements used here: children in order, as a pattern over their names, then
# required and allowed attributes.
TIME = re.compile(r"\d+(/[1-9]\d*)?s")
GRAMMAR: dict[str, tuple[str, set[str], set[str]]] = {
    "fcpxml": ("(import-options )?(resources )?(library |(event )*)", {"version"}, set()),
    "resources": ("((asset|effect|format|media|locator) )*", set(), set()),
    "format": ("", {"id"}, {"name", "frameDuration", "fieldOrder", "width", "height", "colorSpace"}),
    "asset": (
        "(media-rep )+(metadata )?",
        {"id"},
        {"name", "uid", "start", "duration", "hasVideo", "format", "hasAudio", "videoSources", "audioSources"},
    ),
    "media-rep": ("(bookmark )?", {"src"}, {"kind", "sig", "suggestedFilename"}),
    "event": ("((clip|audition|asset-clip|project) )*", set(), {"name", "uid"}),
    "project": ("sequence ", set(), {"name", "uid", "id", "modDate"}),
    "sequence": ("(note )?spine (metadata )?", {"format"}, {"duration", "tcStart", "tcFormat", "audioLayout"}),
    "spine": ("((asset-clip|clip|gap) )*", set(), {"name", "format", "lane", "offset"}),
    "asset-clip": (
        "(note )?((marker|chapter-marker|rating|keyword|analysis-marker) )*(metadata )?",
        {"ref"},
        {"name", "offset", "start", "duration", "format", "tcFormat", "tcStart", "enabled"},
    ),
    "marker": ("", {"start", "value"}, {"duration", "completed", "note"}),
    "keyword": ("", {"value"}, {"start", "duration", "note"}),
}
TIMES = {"start", "duration", "offset", "tcStart", "frameDuration"}


def checked(data: bytes) -> ET.Element:
    assert data.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n')
    root = ET.fromstring(data)
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    for element in root.iter():
        children, required, allowed = GRAMMAR[element.tag]
        assert re.fullmatch(children, "".join(f"{child.tag} " for child in element)), element.tag
        given = set(element.keys())
        assert required <= given <= required | allowed, (element.tag, given)
        for name, value in element.items():
            if name in TIMES:
                assert TIME.fullmatch(value), (element.tag, name, value)
            if name == "ref" or (name == "format" and element.tag != "fcpxml"):
                assert value in ids
            if name == "tcFormat":
                assert value in ("DF", "NDF")
    return root


def seconds(text: str | None) -> Fraction:
    assert text is not None
    return Fraction(text.removesuffix("s"))


def test_fcpxml_marks_and_ranges_are_exact(record: Tracks) -> None:
    root = checked(fcpxml.encode(record, VIDEO))
    assert root.get("version") == "1.10"
    (form,) = root.iter("format")
    assert seconds(form.get("frameDuration")) == FRAME
    (media,) = root.iter("media-rep")
    assert media.get("src") == "file:///videos/my%20mv.mp4"
    (clip,) = root.iter("asset-clip")
    assert seconds(clip.get("duration")) == 40 * FRAME
    marks = [(m.get("value"), seconds(m.get("start"))) for m in clip.iter("marker")]
    assert marks == [("Yuri", 0), ("최예나", 10 * FRAME), ("Yuri", 25 * FRAME)]
    ranges = [(k.get("value"), seconds(k.get("start")), seconds(k.get("duration"))) for k in clip.iter("keyword")]
    assert ranges == [("Yuri", 0, 25 * FRAME), ("최예나", 10 * FRAME, 10 * FRAME), ("Yuri", 25 * FRAME, 15 * FRAME)]
    assert b'start="10010/30000s"' in fcpxml.encode(record, VIDEO)


def test_those_who_come_together_share_a_marker(tmp_path: Path) -> None:
    both = [records.face(0, "A & B"), records.face(1, "<C>", (80, 10, 110, 40))]
    path = records.write(tmp_path / "a.tracks.jsonl", [(0, both)] * 5, {0: "A & B", 1: "<C>"})
    root = checked(fcpxml.encode(read(path), VIDEO))
    assert [m.get("value") for m in root.iter("marker")] == ["<C>, A & B"]
    assert [k.get("value") for k in root.iter("keyword")] == ["<C>", "A & B"]


def test_fcpxml_as_opentimelineio_reads_it(record: Tracks, tmp_path: Path) -> None:
    pytest.importorskip("otio_fcpx_xml_adapter")
    path = tmp_path / "mv.fcpxml"
    path.write_bytes(fcpxml.encode(record, VIDEO))
    timeline = otio_library.adapters.read_from_file(str(path))
    clips = list(timeline.find_clips())
    assert clips
    assert clips[0].duration().to_seconds() == pytest.approx(float(40 * FRAME), abs=0.05)


@pytest.mark.parametrize(("first", "rate"), [(0, Fraction(25)), (400, Fraction(25)), (0, Fraction(24000, 1001))])
def test_clips_begin_at_the_first_frame_whatever_its_time(first: int, rate: Fraction, tmp_path: Path) -> None:
    step = 24024 / rate
    frames: records.Frames = [(0, [])] * 5 + [(0, [records.face(0, "A")])] * 5
    path = records.write(
        tmp_path / "a.tracks.jsonl",
        frames,
        {0: "A"},
        pts=[first + int(i * step) for i in range(10)],
        time_base=Fraction(1, 24024),
    )
    (mark,) = checked(fcpxml.encode(read(path), VIDEO)).iter("marker")
    assert seconds(mark.get("start")) == 5 / rate
    (event,), (locator,) = parsed_edl(edl.encode(read(path), VIDEO).decode())
    assert (event.source_in, event.record_in) == ("00:00:00:00", "01:00:00:00")
    assert locator == ("01:00:00:05", "BLUE", "A")  # third after the two of the gallery


@dataclass
class Event:
    number: int
    reel: str
    source_in: str
    source_out: str
    record_in: str
    record_out: str


def parsed_edl(text: str) -> tuple[list[Event], list[tuple[str, str, str]]]:
    """A reader of its own, strict: fixed columns as CMX3600 lays them out."""
    assert text.endswith("\r\n")
    title, mode, *rest = text[:-2].split("\r\n")
    assert title.startswith("TITLE: ")
    assert mode in ("FCM: DROP FRAME", "FCM: NON-DROP FRAME")
    separator = ";" if mode == "FCM: DROP FRAME" else ":"
    code = rf"\d\d:[0-5]\d:[0-5]\d{separator}\d\d"
    events, locators = [], []
    for line in rest:
        if match := re.fullmatch(rf"(\d{{3}})  (\w{{1,8}}) +V     C        ({code}) ({code}) ({code}) ({code})", line):
            assert line.index(" V ") == 13
            events.append(Event(int(match[1]), *match.groups()[1:]))
        elif match := re.fullmatch(rf"\* LOC: ({code}) ([A-Z]+) +(.+)", line):
            locators.append((match[1], match[2], match[3]))
        else:
            assert line == "" or line.startswith("* FROM CLIP NAME: "), line
    return events, locators


def test_edl_is_drop_frame_at_2997(record: Tracks) -> None:
    text = edl.encode(record, VIDEO).decode()
    assert text.startswith("TITLE: my mv\r\nFCM: DROP FRAME\r\n")
    events, locators = parsed_edl(text)
    assert events == [
        Event(1, "MYMV", "00:00:00;00", "00:00:00;25", "01:00:00;00", "01:00:00;25"),
        Event(2, "MYMV", "00:00:00;25", "00:00:01;10", "01:00:00;25", "01:00:01;10"),
    ]
    assert locators == [
        ("01:00:00;00", "RED", "Yuri"),
        ("01:00:00;10", "GREEN", "최예나"),
        ("01:00:00;25", "RED", "Yuri"),
    ]


def test_edl_past_a_minute_skips_the_numbers_that_drop(tmp_path: Path) -> None:
    frames: records.Frames = [(int(i >= 1800), []) for i in range(1810)]
    events, _ = parsed_edl(edl.encode(read(records.write(tmp_path / "a.tracks.jsonl", frames, {})), VIDEO).decode())
    assert (events[0].source_out, events[1].source_in) == ("00:01:00;02", "00:01:00;02")
    assert events[1].record_in == "01:01:00;02"
    assert events[1].source_out == timecode(1810, Fraction(30000, 1001))


@pytest.mark.parametrize("step", [1001, 1200, 1000])
def test_edl_as_opentimelineio_reads_it(step: int, tmp_path: Path) -> None:
    pytest.importorskip("otio_cmx3600_adapter")
    text = edl.encode(records.stage_record(tmp_path, step=step), VIDEO).decode()
    rate = 30000 / step
    timeline = otio_library.adapters.read_from_string(text, "cmx_3600", rate=rate)
    (track,) = timeline.video_tracks()
    clips = list(track.find_clips())
    assert [clip.duration().value for clip in clips] == [25, 15]
    assert [clip.source_range.start_time.value for clip in clips] == [0, 25]
    assert {clip.name for clip in clips} == {"my mv.mp4"}
    if step != 1001:  # that reader knows locators without drop-frame only
        found = [(mark.name, mark.color) for clip in clips for mark in clip.markers]
        assert found == [("Yuri", "RED"), ("최예나", "GREEN"), ("Yuri", "RED")]


def test_edl_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    many = read(records.write(tmp_path / "a.tracks.jsonl", [(i, []) for i in range(1000)], {}))
    with pytest.raises(InputError, match="1000 shots"):
        edl.encode(many, VIDEO)
    fast = read(records.write(tmp_path / "b.tracks.jsonl", [(0, [])] * 50, {}, step=250))
    with pytest.raises(InputError, match="120 frames a second"):
        edl.encode(fast, VIDEO)


def test_otio_reads_back_with_every_take(record: Tracks) -> None:
    timeline = otio_library.adapters.read_from_string(otio.encode(record, VIDEO).decode(), "otio_json")
    (track,) = timeline.video_tracks()
    clips = list(track.find_clips())
    rate = 30000 / 1001
    assert [(c.source_range.start_time.value, c.source_range.duration.value) for c in clips] == [(0, 25), (25, 15)]
    assert all(c.source_range.duration.rate == rate for c in clips)
    assert clips[0].media_reference.target_url == "file:///videos/my%20mv.mp4"
    assert clips[0].media_reference.available_range.duration.value == 40
    found = [
        (m.name, m.marked_range.start_time.value, m.marked_range.duration.value, list(m.metadata["iznet"]["tracks"]))
        for c in clips
        for m in c.markers
    ]
    assert found == [("Yuri", 0, 25, [0]), ("최예나", 10, 10, [1]), ("Yuri", 25, 15, [3])]
    assert track.trimmed_range().duration.value == 40


def test_events_and_clips_leave_no_gap_where_frames_are_missing(tmp_path: Path) -> None:
    pts = [1001 * i for i in (*range(10), *range(20, 30), *range(33, 43))]
    frames = [(i // 10, [records.face(i // 10, "A")]) for i in range(30)]
    gappy = read(records.write(tmp_path / "a.tracks.jsonl", frames, {0: "A", 1: "A", 2: "A"}, pts=pts))
    events, locators = parsed_edl(edl.encode(gappy, VIDEO).decode())
    assert all(a.source_out == b.source_in and a.record_out == b.record_in for a, b in pairwise(events))
    assert [event.source_in for event in events] == ["00:00:00;00", "00:00:00;20", "00:00:01;03"]
    assert [locator[0] for locator in locators] == ["01:00:00;00", "01:00:00;20", "01:00:01;03"]
    timeline = otio_library.adapters.read_from_string(otio.encode(gappy, VIDEO).decode(), "otio_json")
    assert timeline.duration().value == 43


def test_nothing_gives_valid_empty_files(tmp_path: Path) -> None:
    nothing = records.empty_record(tmp_path)
    root = checked(fcpxml.encode(nothing, VIDEO))
    assert not list(root.iter("asset-clip"))
    assert parsed_edl(edl.encode(nothing, VIDEO).decode()) == ([], [])
    timeline = otio_library.adapters.read_from_string(otio.encode(nothing, VIDEO).decode(), "otio_json")
    assert not list(timeline.find_clips())
