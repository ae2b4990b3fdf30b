"""Corrections: on the frame lines, in the verdict and in the summary; everything else stays to the byte."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.errors import OutputError, UsageError
from stream.renaming import rename, settle
from stream.tracks import SCHEMA_FILE, read
from tests.stream.export import records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return records.stage(tmp_path / "mv.tracks.jsonl")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_everywhere_the_track_is(path: Path) -> None:
    before = lines(path)
    done = rename(path, {2: "최예나", 0: None})
    assert done.changed == {2: (None, "최예나"), 0: ("Yuri", None)}
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))
    after = lines(path)
    for line in after:
        validator.validate(line)
    for was, now in zip(before, after, strict=True):
        if now["type"] == "frame":
            for face in was["faces"]:
                face["name"] = {0: None, 2: "최예나"}.get(face["track"], face["name"])
        if now["type"] == "track" and now["track"] in (0, 2):
            was["verdict"], was["name"] = ("unknown", None) if now["track"] == 0 else ("named", "최예나")
            was["similarity"] = None if now["track"] == 2 else was["similarity"]
        if now["type"] == "summary":
            was["people"] = now["people"]
        assert now == was
    record = read(path)
    assert record.summary is not None
    people = {person.name: person.appearances for person in record.summary.people}
    assert people == {"최예나": ((0.334, 0.667), (0.834, 1.335)), "Yuri": ((0.834, 1.335),)}
    assert {face.name for face in record.frames[5].faces} == {None}


def test_in_place_keeps_the_first_version(path: Path) -> None:
    first = path.read_bytes()
    done = rename(path, {2: "최예나"})
    assert done.backup == path.with_name("mv.tracks.jsonl.bak")
    assert done.backup.read_bytes() == first
    rename(path, {2: None})
    assert done.backup.read_bytes() == first
    assert sorted(p.name for p in path.parent.iterdir()) == ["mv.tracks.jsonl", "mv.tracks.jsonl.bak"]


def test_elsewhere_leaves_the_original(path: Path, tmp_path: Path) -> None:
    first = path.read_bytes()
    out = tmp_path / "corrected.tracks.jsonl"
    done = rename(path, {2: "최예나"}, out)
    assert (done.record, done.backup) == (out, None)
    assert path.read_bytes() == first
    assert read(out).frames[30].faces[0].name == "최예나"
    with pytest.raises(OutputError, match=r"corrected\.tracks\.jsonl exists"):
        rename(path, {2: None}, out)
    rename(path, {2: None}, out, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, path.name]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({77: "Yuri"}, "no track 77; its tracks are 0 to 3"),
        ({2: "Yury"}, "did you mean 'Yuri'"),
        ({2: "Zed"}, "known are Yuri, 최예나"),
        ({2: "Yuri"}, "'Yuri' would be twice on frame 25"),
        ({1: "Yuri", 2: "최예나"}, "'Yuri' would be twice on frame 10"),
    ],
)
def test_what_cannot_be_changes_nothing(names: dict[int, str], said: str, path: Path) -> None:
    first = path.read_bytes()
    with pytest.raises(UsageError) as failure:
        rename(path, names)
    assert said in str(failure.value)
    assert str(path) in str(failure.value)
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_an_unknown_person_is_named_on_all_tracks_at_once(tmp_path: Path) -> None:
    frames = [(n // 4, [records.face(n // 4), records.face(9, box=(90, 10, 120, 40))]) for n in range(16)]
    path = records.write(tmp_path / "mv.tracks.jsonl", frames, {3: "Yuri"})
    numbered = [
        line | ({"stranger": 2 if line["track"] == 9 else 1} if line["type"] == "track" and line["track"] != 3 else {})
        for line in lines(path)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in numbered), "utf-8")
    with pytest.raises(UsageError, match=r"has no unknown 3; its unknown people are 1, 2$"):
        rename(path, {}, strangers={3: "Zed"}, new=True)
    done = rename(path, {1: "최예나"}, strangers={1: "Zed"}, new=True)
    assert done.changed == {0: (None, "Zed"), 1: (None, "최예나"), 2: (None, "Zed")}
    record = read(path)
    assert [frame.faces[0].name for frame in record.frames[::4]] == ["Zed", "최예나", "Zed", "Yuri"]
    assert [verdict.stranger for verdict in record.tracks] == [None, None, None, None, 2]
    with pytest.raises(UsageError, match="has no unknown 1; its unknown people are 2"):
        rename(path, {}, strangers={1: "Yuri"})


def test_two_who_were_mixed_up_change_places(path: Path) -> None:
    rename(path, {0: "최예나", 1: "Yuri"})
    assert {face.track: face.name for face in read(path).frames[12].faces} == {0: "최예나", 1: "Yuri"}


def test_somebody_new(path: Path) -> None:
    rename(path, {2: "Zed"}, new=True)
    rename(path, {0: "Zed"})  # known by now
    assert read(path).frames[0].faces[0].name == "Zed"


def test_what_a_newer_minor_version_added_stays(path: Path) -> None:
    changed = []
    for line in lines(path):
        if line["type"] == "header":
            line["schema"] = "iznet.tracks/1.9"
        changed += [line | {"novel": [1]}, *([{"type": "mood", "value": "☀"}] if line["type"] == "header" else [])]
    path.write_text("".join(json.dumps(line) + "\n" for line in changed), "utf-8")
    rename(path, {2: "최예나"})
    after = lines(path)
    assert all(line["novel"] == [1] for line in after if line["type"] != "mood")
    assert after[1] == {"type": "mood", "value": "☀"}


def test_what_an_editor_leaves_behind_is_passed_over(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n  \r\n")
    assert read(path).frames[30].faces[0].name is None
    rename(path, {2: "최예나"})
    assert read(path).frames[30].faces[0].name == "최예나"
    assert all(path.read_bytes().splitlines())


def test_settled_frames_bear_the_verdict(path: Path) -> None:
    assert read(path, drawn=True).frames[0].faces[0].name is None
    record = settle(path)
    assert record.frames[0].faces[0].name == "Yuri"
    assert read(path, drawn=True).frames[0].faces[0].name == "Yuri"
    assert lines(path)[-1]["people"]


def test_a_name_is_typed_as_everywhere_else(path: Path) -> None:
    before = path.read_bytes()
    for name in ("unknown 1", "Unknown", "\u202eevil", "x" * 301, " \n "):
        with pytest.raises(UsageError):
            rename(path, {2: name}, new=True)
    with pytest.raises(UsageError, match="'yuri' is written 'Yuri'"):
        rename(path, {2: "yuri"}, new=True)
    assert path.read_bytes() == before
    done = rename(path, {2: unicodedata.normalize("NFD", "최예나")})
    assert done.changed == {2: (None, "최예나")}
    rename(path, {0: " Someone\n New "}, new=True)
    assert "Someone New" in {face.name for frame in read(path).frames for face in frame.faces}


def test_the_records_own_video_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    video = Path(read(path).header.path)
    video.write_bytes(b"mine")
    with pytest.raises(OutputError, match="made from"):
        rename(path, {2: None}, video, overwrite=True)
    assert video.read_bytes() == b"mine"


def test_a_private_record_stays_private_and_so_does_what_it_was(path: Path) -> None:
    for mode in (0o600, 0o440):
        path.with_name(f"{path.name}.bak").unlink(missing_ok=True)
        path.chmod(mode)
        done = rename(path, {2: "최예나" if mode == 0o600 else None})
        assert done.backup is not None
        assert [each.stat().st_mode & 0o777 for each in (path, done.backup)] == [mode, mode]
