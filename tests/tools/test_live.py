"""`iznet live` from the command line: a run from its start to its last line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import av
import numpy as np
import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import MissingError
from engine.gallery import Gallery
from stream.encoding import EncoderPlan
from stream.live import guard
from stream.tracklines import decode
from stream.tracks import read
from tests import signals
from tests.stream import media
from tests.stream.live import feeds
from tools.cli import run
from tools.run_log import run_log

PATTERN = "lavfi:testsrc=size=320x240:rate=25"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return feeds.clip(tmp_path_factory.mktemp("clips") / "stage.mkv", 40)


@pytest.fixture(scope="module")
def group(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "group.gallery"
    feeds.gallery_of(embedder, "ann", "ben").save(path)
    return path


@pytest.fixture(scope="module")
def networks(detector_file: Path, embedder_file: Path) -> list[str]:
    return ["--detector", str(detector_file), "--embedder", str(embedder_file)]


def start(*arguments: str, said: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tools", "live", *arguments]
    return subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=signals.as_usual)


def until(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_a_file_at_its_own_speed_is_named_recorded_and_counted(
    clip: Path, group: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record, video = tmp_path / "stage.tracks.jsonl", tmp_path / "stage.mkv"
    arguments = ["live", f"stage={clip}", "--realtime", "-g", str(group), *networks, "--json", "--preset", "ultrafast"]
    outputs = ["--tracks", str(record), "--out", str(video), "--out", f"{tmp_path / 'hls'}/"]
    assert run([*arguments, *outputs, "--max-staleness", "60"]) == 0
    report = json.loads(capfd.readouterr().out)
    (source,) = report["sources"]
    assert (source["name"], source["state"], source["frames"]) == ("stage", "ended", 40)
    assert "stale" not in source["dropped"]  # nothing is lost while the networks are made ready
    assert source["named"] + sum(source["dropped"].values()) == 40
    found = read(record)
    assert found.summary is not None
    assert len(found.frames) == source["named"] > 0
    assert found.summary.dropped == source["dropped"]
    for frame in found.frames:
        assert {face.name for face in frame.faces} == {"ann", None}
    assert source["recorded"] == [str(video)]
    recorded = len(media.read(video).pictures)
    with av.open(str(tmp_path / "hls" / "live.m3u8")) as container:
        shown = sum(1 for _ in container.decode(video=0))
    assert 0 < recorded <= source["named"]
    assert 2 * source["named"] == recorded + shown + source["not_encoded"]


def test_a_feed_is_looked_at_with_the_networks_of_videos(
    clip: Path, group: Path, networks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def noted(kind: type[Detector | Embedder]) -> Callable[..., Any]:
        really = kind.open

        def opens(*arguments: Any, **options: Any) -> Any:
            opened.append((kind, options.get("video")))
            return really(*arguments, **options)

        return opens

    for kind in (Detector, Embedder):
        monkeypatch.setattr(kind, "open", noted(kind))
    assert run(["live", str(clip), "--realtime", "-g", str(group), *networks]) == 0
    assert opened == [(Detector, True), (Embedder, True)]


def test_a_recording_of_every_frame_holds_the_dropped_ones_too(
    clip: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "stage.mkv"
    arguments = ["live", str(clip), "--realtime", *networks[:2], "--json", "--max-staleness", "0.01"]
    assert run([*arguments, "--out", str(video), "--every-frame", "--slate", "--preset", "ultrafast"]) == 0
    (source,) = json.loads(capfd.readouterr().out)["sources"]
    assert source["frames"] == 40
    times = media.read(video).times
    assert len(times) + source["not_encoded"] + source["not_shown"] == 40
    assert times == sorted(set(times))


def test_frames_of_two_feeds_are_looked_at_together(
    clip: Path, group: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pattern = str(tmp_path / "{camera}.tracks.jsonl")
    arguments = ["live", f"door={clip}", f"yard={clip}", "--realtime", "-g", str(group), *networks, "--json"]
    assert run([*arguments, "--tracks", pattern, "--max-staleness", "60", "--batch-wait", "0.5"]) == 0
    report = json.loads(capfd.readouterr().out)
    named = [source["named"] for source in report["sources"]]
    assert report["looks"] < sum(named)
    for source in report["sources"]:
        record = read(tmp_path / f"{source['name']}.tracks.jsonl")
        assert source["named"] + sum(source["dropped"].values()) == source["frames"] == 40
        assert len(record.frames) == source["named"] > 0
        assert {face.name for frame in record.frames for face in frame.faces} == {"ann", None}


def test_one_feed_of_two_that_fails_is_told_by_the_exit_code(
    clip: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mkv").write_bytes(b"no video at all" * 999)
    feeds_given = [f"good={clip}", f"bad={tmp_path / 'bad.mkv'}", "--realtime", "--max-staleness", "60"]
    assert run(["live", *feeds_given, *networks[:2]]) == 6
    said = capfd.readouterr().err
    assert "bad.mkv cannot be opened" in said
    assert "good: 40 frames" in said  # the other's figures are not lost


def test_an_output_that_fails_is_told_and_the_others_are_whole(
    clip: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-2.mkv").write_text("precious", "utf-8")  # in the way of the second piece
    record = tmp_path / "a.tracks.jsonl"
    outs = ["--out", str(tmp_path / "a.mkv"), "--rotate-seconds", "1", "--tracks", str(record)]
    arguments = ["live", str(clip), "--realtime", *networks[:2], *outs, "--max-staleness", "60", "--json"]
    assert run(arguments) == 5
    report = json.loads(capfd.readouterr().out)
    assert report["code"] == 5
    assert "a-2.mkv exists" in report["error"]
    (source,) = report["sources"]
    assert {output["name"]: output["state"] for output in source["outputs"]} == {
        str(record): "on",
        str(tmp_path / "a.mkv"): "failed",
    }
    assert source["frames"] == 40
    assert len(read(record).frames) == source["named"]
    assert media.read(tmp_path / "a.mkv").pictures
    assert (tmp_path / "a-2.mkv").read_text("utf-8") == "precious"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_every_file_finished(
    how: signal.Signals, group: Path, networks: list[str], tmp_path: Path
) -> None:
    record, video = tmp_path / "a.tracks.jsonl", tmp_path / "a.mkv"
    process = start(PATTERN, "-g", str(group), *networks, "--tracks", str(record), "--out", str(video))
    until(process, lambda: record.exists() and record.read_bytes().count(b"\n") > 5)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert read(record).summary is not None
    assert media.read(video).pictures
    assert b"Traceback" not in errors


def test_a_terminal_that_is_closed_ends_a_run_as_well(networks: list[str], tmp_path: Path) -> None:
    """What the run has to say then has nowhere to go, which is no error."""
    record = tmp_path / "a.tracks.jsonl"
    terminal, inside = os.openpty()
    process = start(PATTERN, *networks[:2], "--tracks", str(record), said=inside)
    os.close(inside)
    until(process, lambda: record.exists() and record.read_bytes().count(b"\n") > 5)
    os.close(terminal)
    process.send_signal(signal.SIGHUP)  # as the system does to what the terminal controls
    assert process.wait(timeout=30) == 0
    assert read(record).summary is not None


def test_a_second_signal_does_not_cut_the_end_short(networks: list[str], tmp_path: Path) -> None:
    record = tmp_path / "a.tracks.jsonl"
    nobody = f"rtsp://127.0.0.1:{feeds.free_port()}/in"
    process = start(PATTERN, *networks[:2], "--tracks", str(record), "--out", nobody)
    until(process, lambda: record.exists() and record.read_bytes().count(b"\n") > 5)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 5, errors
    assert b"cannot send" in errors
    assert b"left out, since it did not keep up or was not connected" in errors
    assert read(record).summary is not None


def test_the_record_can_be_followed_on_stdout(clip: Path, networks: list[str]) -> None:
    process = start(str(clip), "--realtime", *networks[:2], "--tracks", "-")
    lines, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    kinds = [json.loads(line)["type"] for line in lines.splitlines()]
    assert kinds[0] == "header"
    assert kinds[-1] == "summary"
    assert all(decode(json.loads(line)) is not None for line in lines.splitlines())


def test_a_source_that_is_not_there_ends_with_its_exit_code_and_no_password(
    networks: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"rtsp://admin:s3cret@127.0.0.1:{feeds.free_port()}/1?key=k3y"
    assert run(["live", url, *networks[:2], "--retries", "0"]) == 3
    said = capfd.readouterr()
    assert "Connection refused" in said.err
    assert "s3cret" not in said.err + said.out
    assert "k3y" not in said.err + said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clip.mp4"], "--realtime"),
        (["ftp://h/a"], "ftp://"),
        (["udp://h:1", "udp://h:2", "--tracks", "a.jsonl"], "{camera}"),
        (["udp://h:1", "udp://h:2", "--tracks", "-"], "one source"),
        (["udp://h:1", "--serve", "host:port"], "--serve"),
        (["udp://h:1", "--rotate-seconds", "5"], "--out"),
        (["udp://h:1", "--rotate-seconds", "5", "--out", "hls/"], "FILE.mkv"),
        (["udp://h:1", "udp://h:2", "--out", "hls/"], "{camera}"),
        (["udp://h:1", "--crf", "20"], "--out"),
        (["udp://h:1", "--slate"], "--out"),
        (["udp://h:1", "--every-frame"], "--out"),
        (["udp://h:1", "--event-strangers"], "--webhook"),
        (["udp://h:1", "--webhook", "ftp://h/a"], "http://"),
        (["udp://h:1", "--webhook", "foo"], "--webhook: what has no ://"),
        (["udp://h:1", "--mqtt", "http://h/a"], "--mqtt: http://h/a is no address"),
        (["udp://h:1", "--mqtt", "http://h/a"], "mqtt://"),
        (["udp://h:1", "--out", "http://h/a"], "--out: http://h/a"),
        (["udp://h:1", "--out", "http://h/a"], "rtsp://"),
        (["udp://h:1", "udp://h:2", "--out", "rtsp://h/a"], "{camera}"),
        (["udp://h:1", "--out", "rtsp://h/a", "--encoder", "svtav1"], "svtav1"),
        (["udp://h:1", "udp://h:1"], "NAME=SOURCE"),
        (["udp://h:1", "--token", "x"], "--serve"),
        (["udp://h:1", "--serve", "0.0.0.0:0", "--token", ""], "--token is empty"),
        (["udp://h:1", "--serve", "0.0.0.0:0", "--token", "7 chars"], "shorter than 8"),
        (["a b/c=lavfi:testsrc"], "it holds /"),
        (["udp://h:1", "--batch-wait", "0.1"], "with one source"),
        (["udp://h:1", "--out", "a.mkv", "--encoder", "foo"], "'foo' is unknown; choose from auto"),
        (["udp://h:1", "--out", "hls/", "--crf", "99"], "crf 99 is outside x264's range 0 to 51"),
        (["udp://h:1", "--out", "rtsp://h/a", "--preset", "foo"], "refuses preset foo"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], words: str, networks: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["live", *arguments, *networks[:2]]) == 2
    assert words in capfd.readouterr().err


@pytest.mark.parametrize("out", ["a.mkv", "rtsp://h/a"])
def test_an_encoder_without_its_device_is_told_before_anything_starts(
    out: str, networks: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def opened(plan: EncoderPlan) -> NoReturn:
        raise MissingError(f"encoder {plan.encoder}: no NVIDIA device")

    monkeypatch.setattr(EncoderPlan, "open", opened)
    assert run(["live", "udp://h:1", "--out", out, "--encoder", "nvenc", *networks[:2]]) == 4
    assert "encoder nvenc" in capfd.readouterr().err


def test_a_config_file_says_what_flags_say(
    clip: Path, group: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "live.toml"
    config.write_text(
        f"""
        sources = ["stage={clip}"]
        realtime = true
        gallery = "{group}"
        detector = "{networks[1]}"
        embedder = "{networks[3]}"
        tracks = "{tmp_path / "not-this.tracks.jsonl"}"
        max-staleness = 60
        json = true
        """,
        "utf-8",
    )
    record = tmp_path / "this.tracks.jsonl"
    assert run(["live", "--config", str(config), "--tracks", str(record)]) == 0
    (source,) = json.loads(capfd.readouterr().out)["sources"]
    assert (source["name"], source["frames"]) == ("stage", 40)
    assert read(record).frames
    assert not (tmp_path / "not-this.tracks.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("sources = [", 3, "not TOML"),
        ("source = ['udp://h:1']", 2, "there is no option 'source'"),
        ("sources = 'udp://h:1'", 2, "has to be a list"),
        ("sources = [true]", 2, "live.toml: sources has to be a list of texts or numbers"),
        ("realtime = 'yes'", 2, "true or false"),
        ("timeout = true", 2, "a text or a number"),
        ("sources = ['udp://h:1']\ntimeout = 'long'", 2, "live.toml: timeout: 'long' is not a valid number"),
        ("sources = ['udp://h:1']\ntimeout = nan", 2, "live.toml: timeout: nan is not a finite number"),
        ("sources = ['udp://h:1']\nunknown = 'boxes'", 2, "live.toml: unknown: 'boxes' is not one of"),
        ("sources = ['udp://h:1']\nretries = 2.5", 2, "live.toml: retries has to be a whole number, not 2.5"),
        ("sources = ['udp://h:1']\ngallery = 0", 2, "live.toml: gallery has to be the name of a file in quotes, not 0"),
        ("\ufeffsource = ['udp://h:1']", 2, "there is no option 'source'"),
        ("config = 'other.toml'", 2, "there is no option 'config'"),
        ("help = true", 2, "there is no option 'help'"),
        ("", 2, "SOURCE"),
    ],
)
def test_a_config_file_that_makes_no_sense_is_refused(
    text: str, code: int, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "live.toml"
    config.write_text(text, "utf-8")
    assert run(["live", "--config", str(config)]) == code
    assert words in capfd.readouterr().err


def test_a_config_file_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["live", "--config", str(tmp_path / "no.toml")]) == 3
    assert "no.toml" in capfd.readouterr().err


def test_stdout_is_for_one_thing(networks: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["live", "udp://h:1", "--tracks", "-", "--json", *networks[:2]]) == 2
    assert "stdout" in json.loads(capfd.readouterr().out)["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["udp://127.0.0.1:1", "--out", "a.mkv"], 5, "--overwrite"),
        (["udp://127.0.0.1:1", "--out", "a.mp4"], 2, ".mkv"),
        (["udp://127.0.0.1:1", "--out", "no/a.mkv"], 5, "does not exist; make it"),
        (["udp://127.0.0.1:1", "--out", "no/hls/"], 5, "does not exist; make it"),
        (["udp://127.0.0.1:1", "--tracks", "no/a.tracks.jsonl"], 5, "does not exist; make it"),
        (["udp://127.0.0.1:1", "--log", "no/log.jsonl"], 5, "log.jsonl"),
        (["no.mkv", "--realtime"], 3, "no.mkv"),
        ([".", "--realtime"], 3, "is a folder"),
        (["udp://127.0.0.1:1", "-g", "no.gallery"], 3, "no.gallery"),
        (["udp://127.0.0.1:1", "--serve", "127.0.0.1:{port}"], 5, "--serve"),
    ],
)
def test_what_is_quickly_told_is_told_before_the_networks_are_loaded(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.mkv").write_text("precious", "utf-8")
    monkeypatch.chdir(tmp_path)
    if "--serve" in arguments:
        pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'iznet[live]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = [argument.format(port=taken.getsockname()[1]) for argument in arguments]
        # Networks that are not there: whoever looks for them first says so.
        assert run(["live", *given, "--detector", "none.onnx", "--embedder", "none.onnx"]) == code
    said = capfd.readouterr().err
    assert words in said
    assert "none.onnx" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]
    assert (tmp_path / "a.mkv").read_text("utf-8") == "precious"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--tracks g.gallery --overwrite", 5, "g.gallery is what the output is made from"),
        ("--tracks mv.mkv --overwrite", 5, "mv.mkv is what"),
        ("--tracks ./sub/../mv.mkv --overwrite", 5, "mv.mkv is what"),
        ("--tracks own.onnx --detector own.onnx --overwrite", 5, "own.onnx is what"),
        ("--out mv.mkv --overwrite", 5, "mv.mkv is what"),
        ("--out {camera}.mkv --overwrite", 5, "mv.mkv is what"),
        ("--log g.gallery", 5, "g.gallery is what"),
        ("--log mv.mkv", 5, "mv.mkv is what"),
        ("--log live.toml --config live.toml", 5, "live.toml is what"),
        ("--out w.mkv --tracks w.mkv", 2, "w.mkv and w.mkv would be one file"),
        ("--out w.mkv --out sub/../w.mkv", 2, "would be one file"),
        ("--out hh/ --out ./hh/", 2, "would be one file"),
        ("--out x{camera}.mkv --tracks xmv.mkv", 2, "would be one file"),
        ("--out %Y.mkv --tracks {year}.mkv", 2, "would be one file"),
        ("--tracks w.jsonl --log w.jsonl", 2, "would be one file"),
    ],
)
def test_a_file_that_is_read_or_written_already_is_no_output(
    arguments: str,
    code: int,
    words: str,
    clip: Path,
    group: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mv.mkv").write_bytes(clip.read_bytes())
    (tmp_path / "g.gallery").write_bytes(group.read_bytes())
    (tmp_path / "own.onnx").write_bytes(b"no network at all")
    (tmp_path / "live.toml").write_text("", "utf-8")
    (tmp_path / "sub").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    monkeypatch.chdir(tmp_path)
    given = arguments.replace("{year}", time.strftime("%Y")).split()
    # Networks that are not there: whoever looks for them first says so.
    absent = [] if "--detector" in given else ["--detector", "none.onnx"]
    assert run(["live", "mv=mv.mkv", "--realtime", "-g", "g.gallery", *given, *absent]) == code
    assert words in capfd.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_names_of_different_cameras_that_meet_in_one_file_are_refused(
    networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outs = ["--out", f"{tmp_path}/{{camera}}.mkv", "--out", f"{tmp_path}/x{{camera}}.mkv"]
    assert run(["live", "a=udp://127.0.0.1:1", "xa=udp://127.0.0.1:2", *outs, *networks[:2]]) == 2
    assert "xa.mkv would be one file" in capfd.readouterr().err


def test_a_later_piece_does_not_replace_the_video_either(clip: Path, networks: list[str], tmp_path: Path) -> None:
    source = tmp_path / "a-2.mkv"
    source.write_bytes(clip.read_bytes())
    outs = ["--out", str(tmp_path / "a.mkv"), "--rotate-seconds", "1", "--overwrite", "--preset", "ultrafast"]
    assert run(["live", str(source), "--realtime", *networks[:2], *outs, "--max-staleness", "60"]) == 5
    assert source.read_bytes() == clip.read_bytes()
    assert media.read(tmp_path / "a.mkv").pictures


def test_a_segment_that_is_played_is_not_replaced(
    clip: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "1-0.ts"
    source.write_bytes(clip.read_bytes())
    assert run(["live", str(source), "--realtime", *networks[:2], "--out", f"{tmp_path}/"]) == 5
    assert "1-0.ts is what the output is made from" in capfd.readouterr().err
    assert source.read_bytes() == clip.read_bytes()


def test_events_reach_a_web_server_and_a_broker(
    clip: Path, group: Path, networks: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("paho.mqtt", reason="the MQTT library is not installed: pip install 'iznet[live]'")
    posted, broker = feeds.Posted(503, 200), feeds.Broker()
    with feeds.serving(posted.handler) as port:
        places = [
            *("--webhook", f"http://me:s3cret@127.0.0.1:{port}/hook?key=k3y"),
            *("--mqtt", f"mqtt://me:s3cret@127.0.0.1:{broker.port}/home"),
        ]
        arguments = ["live", f"stage={clip}", "--realtime", "-g", str(group), *networks, "--json", *places]
        assert run([*arguments, "--max-staleness", "60", "--event-strangers"]) in (0, 5)  # sent in the last second
    broker.kill()
    said = capfd.readouterr()
    assert "s3cret" not in said.out + said.err
    assert "k3y" not in said.out + said.err
    appeared = {body["name"] for topic, body in broker.published if topic == "home/stage/appeared"}
    assert appeared == {"ann", None}
    assert all(body["thumbnail"] for _, body in broker.published)
    assert len(posted.requests) >= 2
    assert posted.requests[0][1]["id"] == posted.requests[1][1]["id"]  # the same again, after a 503
    outputs = json.loads(said.out)["sources"][0]["outputs"]
    assert [output["name"] for output in outputs] == [
        f"http://127.0.0.1:{port}/hook?key=***",
        f"mqtt://127.0.0.1:{broker.port}/home",
    ]
    assert outputs[1]["events"] == {"sent": len(broker.published)}


def test_what_happens_is_logged_as_json_lines_without_secrets(
    networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    url = f"door=rtsp://admin:s3cret@127.0.0.1:{feeds.free_port()}/1?key=k3y"
    assert run(["live", url, *networks[:2], "--retries", "1", "--log", str(log)]) == 3
    text = log.read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["event"], line["state"]) for line in lines] == [
        ("run", "started"),
        ("source", "connecting"),
        ("source", "waiting"),
        ("source", "connecting"),
        ("source", "failed"),
        ("run", "ended"),
    ]
    assert all(line["camera"] == "door" for line in lines if line["event"] == "source")
    assert "Connection refused" in next(line["problem"] for line in lines if line["state"] == "failed")
    assert lines[-1]["report"]["sources"][0]["name"] == "door"
    assert "s3cret" not in text
    assert "k3y" not in text
    said = capfd.readouterr().err
    assert "door: waiting: " in said  # people are told all the same
    assert run(["live", url, *networks[:2], "--retries", "0", "--log", "-"]) == 3
    said = capfd.readouterr().err
    assert any(line.startswith("{") and json.loads(line)["state"] == "failed" for line in said.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file here that is always full")
def test_a_log_that_cannot_be_written_is_told_once_and_the_run_goes_on(
    clip: Path, networks: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["live", f"stage={clip}", "--realtime", *networks[:2], "--max-staleness", "60", "--log", "/dev/full"]
    assert run(arguments) == 5
    said = capfd.readouterr().err
    assert said.count("cannot write /dev/full: No space left on device; the run goes on without its log") == 1
    assert "Traceback" not in said
    assert re.search(r"stage: 40 frames, \d+ looked at", said), "there is no gallery to name anybody by"
    assert said.rstrip().endswith("error: cannot write /dev/full: No space left on device")
    assert run([*arguments, "--json"]) == 5
    output = capfd.readouterr()
    report = json.loads(output.out)
    assert (report["code"], report["error"]) == (5, "cannot write /dev/full: No space left on device")
    assert report["sources"][0]["frames"] == 40
    assert not output.err


def test_names_with_a_colon_are_files(
    clip: Path, networks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "50%done"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("12:30.mkv").write_bytes(clip.read_bytes())
    outs = ["--out", "New:OMG.mkv", "--out", "h:ls/", "--tracks", "a:b.tracks.jsonl", "--preset", "ultrafast"]
    assert run(["live", "12:30.mkv", "--realtime", *networks[:2], *outs, "--max-staleness", "60", "--json"]) == 0
    (source,) = json.loads(capfd.readouterr().out)["sources"]
    assert (source["name"], source["source"], source["recorded"]) == ("12:30.mkv", "12:30.mkv", ["New:OMG.mkv"])
    assert [output["name"] for output in source["outputs"]] == ["a:b.tracks.jsonl", "New:OMG.mkv", "h:ls/"]
    assert read("a:b.tracks.jsonl").header.path == "12:30.mkv"
    assert media.read(folder / "New:OMG.mkv").pictures
    playlist = Path("h:ls/live.m3u8").read_text("utf-8").splitlines()
    assert next(line for line in playlist if line and not line.startswith("#")) == "1-0.ts"
    assert Path("h:ls/1-0.ts").stat().st_size > 0


def test_a_log_that_is_moved_away_is_begun_anew_where_that_can_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, place = tmp_path / "logs", tmp_path / "logs" / "log.jsonl"
    folder.mkdir()
    with run_log(str(place), quiet=False) as log:
        log.logger.info("one")
        place.rename(folder / "old.jsonl")
        log.logger.info("two")
        folder.rename(tmp_path / "away")
        log.logger.info("three")
        log.logger.info("four")
    assert log.failure is not None
    assert str(log.failure) == f"cannot write {place}: No such file or directory"
    texts = [(tmp_path / "away" / name).read_text("utf-8") for name in ("old.jsonl", "log.jsonl")]
    assert [[json.loads(line)["message"] for line in text.splitlines()] for text in texts] == [["one"], ["two"]]
    said = capfd.readouterr().err
    assert said.count("goes on without its log") == 1
    assert "four" in said


def test_a_gallery_of_another_embedder_is_named(
    clip: Path, networks: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.gallery"
    Gallery.build({"ann": np.eye(1, 64, dtype=np.float32)}, "0" * 64, 0.5).save(path)
    assert run(["live", str(clip), "--realtime", *networks, "-g", str(path)]) == 3
    said = capfd.readouterr().err
    assert f"{path}: was made with" in said
    assert f"iznet enroll PHOTOS -o {path} --overwrite" in said


def test_the_page_says_where_it_is_and_a_token_is_made_where_others_reach_it(networks: list[str]) -> None:
    pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'iznet[live]'")
    process = start(PATTERN, *networks[:2], "--serve", "0.0.0.0:0")
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    while line and "Page:" not in line:
        line = process.stderr.readline().decode()
    assert "http://" in line
    assert "0.0.0.0" not in line
    assert "?token=" in line
    drained = threading.Thread(target=process.stderr.read, daemon=True)
    drained.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_crash_report_holds_no_password(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    url = "door=rtsp://me:s3cret@h/1"

    def broken(text: str) -> guard.Place:
        raise RuntimeError(f"{text} does not go with {url} and t0ken")

    monkeypatch.setattr(guard.Place, "parse", broken)
    command = ["--debug", "live", url, "--serve", "0"]
    assert run([*command, "--token", "t0ken"]) == 1
    said = [capfd.readouterr().err]
    monkeypatch.setenv("IZNET_TOKEN", "t0ken")
    assert run(command) == 1
    said.append(capfd.readouterr().err)
    for each in said:
        assert "s3cret" not in each
        assert "t0ken" not in each
        assert "rtsp://h/1" in each


def test_an_empty_token_in_a_settings_file_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "live.toml"
    config.write_text('sources = ["udp://127.0.0.1:1"]\nserve = "0.0.0.0:0"\ntoken = ""\n', "utf-8")
    assert run(["live", "--config", str(config)]) == 2
    assert capfd.readouterr().err.splitlines() == ["iznet: error: --token is empty; give one, or leave the option out"]


def test_a_crash_report_stays_readable_with_a_short_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(text: str) -> guard.Place:
        raise RuntimeError("an example")

    monkeypatch.setattr(guard.Place, "parse", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(["live", "udp://127.0.0.1:1", "--token", "e", "--serve", "0"]) == 1
    assert "RuntimeError: an example" in capfd.readouterr().err
    (report,) = tmp_path.glob("iznet-error-*.txt")
    first = report.read_text("utf-8").splitlines()[0]
    assert first.endswith("['live', 'udp://127.0.0.1:1', '--token', '***', '--serve', '0']")


def test_a_settings_file_that_may_not_be_read_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "live.toml"
    config.write_text("", "utf-8")

    def shut(path: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.access", lambda *arguments, **others: False)  # whoever runs this may be root
    monkeypatch.setattr(Path, "open", shut)
    assert run(["live", "--config", str(config)]) == 3
    assert capfd.readouterr().err == f"iznet: error: cannot read {config}: Permission denied\n"


def test_a_crash_report_holds_no_password_of_a_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "live.toml"
    config.write_text('sources = ["door=rtsp://me:s3cret@h/1"]\nserve = "0"\ntoken = "t0ken"\n', "utf-8")

    def broken(text: str) -> guard.Place:
        raise RuntimeError(f"{text} does not go with s3cret and t0ken")

    monkeypatch.setattr(guard.Place, "parse", broken)
    assert run(["--debug", "live", "--config", str(config)]) == 1
    said = capfd.readouterr().err
    assert "RuntimeError" in said
    assert "s3cret" not in said
    assert "t0ken" not in said


def settled(record: Path) -> bool:
    """Whether every track of a record that grows has ended."""
    lines = [json.loads(line) for line in record.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    seen = {face["track"] for line in lines if line["type"] == "frame" for face in line["faces"]}
    return seen == {line["track"] for line in lines if line["type"] == "track"}


def test_a_camera_that_is_switched_off_and_on_again(
    group: Path, networks: list[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = {"preset": "ultrafast", "bf": "0", "g": "10"}
    video = feeds.clip(tmp_path_factory.mktemp("rtsp") / "stage.mkv", 1500, options=options)
    port = feeds.free_port()
    camera = feeds.RtspServer(video, port)
    record = tmp_path / "a.tracks.jsonl"

    def frames() -> int:
        return record.read_bytes().count(b'"type":"frame"') if record.exists() else 0

    process = start(camera.url, "-g", str(group), *networks, "--tracks", str(record), "--timeout", "3")
    try:
        until(process, lambda: frames() > 10)
        camera.kill()
        # Its tracks end now, not when it is back.
        until(process, lambda: settled(record))
        before = frames()
        camera = feeds.RtspServer(video, port)
        until(process, lambda: frames() > before + 10)
    finally:
        camera.kill()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    found = read(record)
    early = {face.track for frame in found.frames[:before] for face in frame.faces}
    late = {face.track for frame in found.frames[before:] for face in frame.faces}
    assert early.isdisjoint(late)
    for frame in (found.frames[before - 1], found.frames[-1]):
        assert {face.name for face in frame.faces} == {"ann", None}
    assert {verdict.track for verdict in found.tracks} == early | late
