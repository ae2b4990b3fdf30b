"""`iznet review` from the command line: what it refuses, and a run from its start to its last word."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine.embedder import Embedder
from engine.gallery import Gallery
from stream.tracks import read
from tests.stream import media
from tests.stream.live import feeds
from tests.stream.review import stage
from tools.cli import run

pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'iznet[live]'")
pytest.importorskip("uvicorn", reason="the page's packages are not installed: pip install 'iznet[live]'")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return stage.both(tmp_path)


JSON = {"content-type": "application/json"}


class Running:
    """A review in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tools", "review", *arguments, "--serve", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("Page: "), line + self.process.stderr.read()
        self.url = line.removeprefix("Page: ").strip()

    def post(self, path: str, data: Any) -> Any:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        connection.request("POST", path, json.dumps(data), {"x-iznet": self.state()["run"]} | JSON)
        return json.loads(connection.getresponse().read())

    def state(self) -> Any:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        connection.request("GET", "/state")
        return json.loads(connection.getresponse().read())

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        self.process.send_signal(how)
        out, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        assert "Traceback" not in errors
        return out, errors


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_corrected_saved_drawn_and_told(how: signal.Signals, path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "again.mkv"
    review = Running(str(path), "-o", str(copy), "--style", "colours", "--preset", "ultrafast", "--json")
    review.post("/names", {"track": 3, "name": "Minju", "everywhere": True, "new": True})
    review.post("/save", {})
    review.post("/render", {})
    feeds.until(lambda: review.state()["rendering"]["state"] != "running", 60)
    review.post("/names", {"track": 4, "name": "Yuri"})
    told = json.loads(review.end(how)[0])
    assert (told["record"], told["corrected"], told["unsaved"]) == (str(path), 3, 1)
    assert told["copy"]["video"] == str(copy)
    assert told["copy"]["frames"] == len(media.read(copy).pictures) == stage.FRAMES
    assert {verdict.track: verdict.name for verdict in read(path).tracks}[5] == "Minju"


def test_a_gallery_learns_what_is_saved_and_what_is_not_waits_for_it(
    path: Path, tmp_path: Path, embedder: Embedder, embedder_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    group = tmp_path / "group.gallery"
    feeds.gallery_of(embedder, "ann").save(group)
    review = Running(str(path), "-g", str(group), "--embedder", str(embedder_file), "--json")
    review.post("/names", {"track": 4, "name": "Minju", "new": True, "learn": True})
    review.post("/save", {})
    review.post("/names", {"track": 2, "name": "ann", "learn": True})
    told = json.loads(review.end()[0])
    assert told["learned"] > 0
    assert (told["corrected"], told["unsaved"]) == (1, 1)
    assert told["unlearned"] > 0
    known = Gallery.load(group)
    photos = {name: len(known.photos(at)) for at, name in enumerate(known.people)}
    assert photos == {"ann": 1, "Minju": told["learned"]}

    names = Running(str(path), "--json")  # without the gallery
    names.post("/save", {})
    assert names.process.stderr is not None
    assert "1 corrected track, which" in names.process.stderr.readline()
    assert f"looks for {group} wait in {path}.unsaved for a review with -g {group}." in names.process.stderr.readline()
    left = json.loads(names.end()[0])
    assert (left["corrected"], left["unsaved"], left["learned"]) == (1, 0, 0)
    assert (left["unlearned"], left["kept"]) == (told["unlearned"], f"{path}.unsaved")

    other = tmp_path / "other.gallery"
    other.write_bytes(group.read_bytes())
    command = ["review", str(path), "--embedder", str(embedder_file), "--serve", "127.0.0.1:0", "-g"]
    assert run([*command, str(other)]) == 2
    assert f"start again with -g {group}, or without -g" in capfd.readouterr().err


def test_what_was_not_saved_is_told_and_kept_for_the_next_time(path: Path) -> None:
    before = path.read_bytes()
    review = Running(str(path))
    review.post("/names", {"track": 4, "name": "Yuri"})
    out, errors = review.end()
    assert out == ""
    assert f"1 correction not saved, and kept in {path}.unsaved" in errors
    assert path.read_bytes() == before
    told = json.loads(Running(str(path), "--json").end()[0])
    assert (told["unsaved"], told["kept"]) == (1, f"{path}.unsaved")


def test_a_process_that_is_killed_loses_nothing(path: Path) -> None:
    before = path.read_bytes()
    review = Running(str(path))
    review.post("/names", {"track": 4, "name": "Yuri"})
    review.post("/names", {"track": 3, "name": "Minju", "everywhere": True, "new": True})
    review.process.kill()
    review.process.communicate()
    assert path.read_bytes() == before
    review = Running(str(path), "--json")
    state = review.state()
    assert (state["unsaved"], state["undo"]["words"]) == (4, "3 tracks: Minju")
    assert state["taken_up"] == "4 corrected tracks, which an earlier review did not save, are taken up"
    review.post("/undo", {"number": state["undo"]["number"]})
    review.post("/save", {})
    assert review.process.stderr is not None
    said = review.process.stderr.readline()
    assert said.startswith("4 corrected tracks, which an earlier review did not save, are taken up. Save or discard")
    told = json.loads(review.end()[0])
    assert (told["corrected"], told["unsaved"], told["kept"]) == (1, 0, None)
    assert {verdict.track: verdict.name for verdict in read(path).tracks}[4] == "Yuri"
    assert sorted(file.name for file in path.parent.iterdir()) == ["mv.mp4", "mv.tracks.jsonl", "mv.tracks.jsonl.bak"]


def test_a_record_is_changed_by_one_at_a_time(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = Running(str(path))
    assert run(["review", str(path), "--serve", "127.0.0.1:0"]) == 5
    assert f"{path}: it is open in a review, or another command is changing it" in capfd.readouterr().err
    before = path.read_bytes()
    for command in (
        ["tracks", "rename", str(path), "4=Yuri"],
        ["label", str(path.with_name("mv.mp4")), "--no-video", "--tracks", str(path), "--overwrite"],
    ):
        assert run(command) == 5
        assert f"{path}: it is open in a review, or another command is changing it" in capfd.readouterr().err
    assert path.read_bytes() == before
    first.end()
    Running(str(path)).end()


def test_a_files_name_is_told_as_it_is_spelt(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    review = Running(str(path), "-o", "again.mkv", "--preset", "ultrafast")
    review.post("/render", {})
    feeds.until(lambda: review.state()["rendering"]["state"] != "running", 60)
    assert "\nagain.mkv is drawn anew" in review.end()[1]


def test_an_end_while_it_draws_keeps_what_was_finished(path: Path, tmp_path: Path) -> None:
    slow = stage.both(tmp_path, frames=stage.FRAMES, width=320, height=180)
    review = Running(str(slow), "--encoder", "x265", "--preset", "veryslow")
    review.post("/render", {})
    out, errors = review.end()
    assert out == ""
    assert not (tmp_path / "mv.labelled.mp4").exists() or "drawn anew" in errors
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("change", "arguments", "code", "words"),
    [
        ("none", ["{folder}/gone.tracks.jsonl"], 3, "gone.tracks.jsonl"),
        ("cut", ["{path}"], 3, "cut off"),
        ("other", ["{path}", "--video", "{folder}/other.mp4"], 3, "belongs to another video"),
        ("moved", ["{path}"], 3, "--video"),
        ("none", ["{path}", "--video", "{folder}/no.mp4"], 3, "no.mp4"),
        ("text", ["{path}", "--video", "{folder}/text.mp4"], 3, "text.mp4"),
        ("none", ["{path}", "-g", "{folder}/no.gallery"], 3, "no.gallery"),
        ("none", ["{path}", "--serve", "host:port"], 2, "--serve"),
        ("none", ["{path}", "--serve", "0.0.0.0:0", "--token", ""], 2, "--token is empty"),
        ("none", ["{path}", "--serve", "0.0.0.0:0", "--token", "7 chars"], 2, "shorter than 8"),
        ("live", ["{path}"], 3, "is the record of a live source (rtsp://h/1)"),
        ("live", ["{path}", "--video", "{folder}/mv.mp4"], 3, "is the record of a live source (rtsp://h/1)"),
        ("none", ["{path}", "-o", "{folder}/mv.mp4"], 5, "not replaced"),
        ("none", ["{path}", "-o", "{folder}/no/out.mp4"], 5, "does not exist"),
        ("none", ["{path}", "--style", "blur", "--unknown", "box"], 2, "--unknown would do nothing"),
        ("none", ["{path}", "--soft", "--crf", "20"], 2, "--crf would do nothing"),
        ("none", ["{path}", "-o", "{folder}/out.avi"], 2, ".avi"),
        ("none", ["{path}", "--embedder", "own.onnx"], 2, "--embedder would do nothing without --gallery"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(
    change: str,
    arguments: list[str],
    code: int,
    words: str,
    path: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if change == "cut":
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    elif change == "other":
        stage.video(tmp_path / "other.mp4", frames=30)
    elif change == "moved":
        (tmp_path / "mv.mp4").rename(tmp_path / "moved.mp4")
    elif change == "text":
        (tmp_path / "text.mp4").write_text("hello", "utf-8")
    elif change == "live":
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        lines[0]["source"] |= {"path": "rtsp://h/1", "time_base": "1/90000", "duration": None}
        lines = [line | {"pts": round(line["time"] * 90_000)} if line["type"] == "frame" else line for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    before = path.read_bytes()
    given = [argument.format(path=path, folder=tmp_path) for argument in arguments]
    assert run(["review", *given, *(["--serve", "127.0.0.1:0"] if "--serve" not in given else [])]) == code
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert path.read_bytes() == before


def test_a_port_that_is_taken_is_told_before_anything_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["review", str(tmp_path / "gone.tracks.jsonl"), "--serve", f"127.0.0.1:{port}"]) == 5
    assert "--serve" in capfd.readouterr().err


def test_errors_are_json_where_that_is_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["review", str(tmp_path / "gone.tracks.jsonl"), "--serve", "127.0.0.1:0", "--json"]) == 3
    told = json.loads(capfd.readouterr().out)
    assert told["code"] == 3


def test_elsewhere_a_token_is_made(path: Path) -> None:
    command = [sys.executable, "-m", "tools", "review", str(path), "--serve", "0.0.0.0:0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("Page: http://")
    assert "0.0.0.0" not in line
    assert "?token=" in line
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
