"""`iznet doctor` tells what is there, and never falls over what is not."""

from __future__ import annotations

import builtins
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import pytest

from engine import modelfile
from engine.errors import MissingError
from stream import decoders
from stream.decoders import CHIPS, DECODERS
from stream.encoders import ENCODERS, KINDS
from tools import cli, health

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, detector_file: Path, embedder_file: Path, tmp_path: Path) -> Path:
    """Both networks in one folder that counts as the shipped one."""
    for file in (detector_file, embedder_file):
        for part in (file, file.with_suffix(".sha256")):
            (tmp_path / part.name).write_bytes(part.read_bytes())
    monkeypatch.setattr(modelfile, "SHIPPED", tmp_path)
    return tmp_path


def test_a_whole_installation(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    found = {item["name"]: item for item in report["libraries"]}
    assert found["av"]["detail"] == metadata.version("av")
    assert report["auto"]["device"] == "cpu"
    assert report["auto"]["backend"] == "openvino"
    assert report["auto"]["reason"]
    encoders = {item["name"]: item["ok"] for item in report["encoders"]}
    assert encoders["x264"]
    models = {item["name"]: item for item in report["models"]}
    assert all(item["ok"] and "checksum agrees" in item["detail"] for item in models.values())
    assert set(models) == {"detector", "embedder"}


def test_the_table_says_the_same(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor"]) == 0
    out = capsys.readouterr().out
    for words in ("libx264", "openvino", "detector", "'.[heif]'" if not _heif() else "heif", "--device auto"):
        assert words in " ".join(out.split())
    assert "Everything that labelling needs is here." in out


def _heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def test_a_damaged_network_is_a_problem_and_exit_code_4(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (shipped / "detector.onnx").open("ab") as file:
        file.write(b"\0")
    assert cli.run(["doctor"]) == 4
    out, err = capsys.readouterr()
    assert "embedder" in out
    assert "detector" in err
    assert "SHA-256" in err


def test_a_missing_network(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shipped / "embedder.onnx").unlink()
    assert cli.run(["doctor", "--json"]) == 4
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "embedder" in problem


def _without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    """Make Python believe that packages are not installed."""
    find, load, version = importlib.util.find_spec, builtins.__import__, metadata.version

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name.split(".")[0] in absent else find(name, package)

    def load_module(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] in absent:
            raise ImportError(name)
        return load(name, *rest, **more)

    def version_of(name: str) -> str:
        if name in absent:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(builtins, "__import__", load_module)
    monkeypatch.setattr(metadata, "version", version_of)


def test_nothing_installed_is_still_an_answer(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without(monkeypatch, "av", "openvino", "onnxruntime", "skimage", "skvideo", "tensorflow", "imageio_ffmpeg")
    assert cli.run(["doctor", "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert report["ffmpeg"] is None
    assert "error" in report["auto"]
    assert not any(item["ok"] for item in report["encoders"] + report["decoders"] + report["devices"])
    assert not {item["name"]: item["ok"] for item in report["extras"]}["train"]
    assert any("openvino" in problem for problem in report["problems"])


@pytest.mark.parametrize(("name", "installed"), [("demo", ("skimage",)), ("train", ("keras", "onnx"))])
def test_a_half_installed_extra_is_not_there(
    name: str, installed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: object() if module in installed else None)
    finding = health.extra(name)
    assert not finding.ok
    assert f"'.[{name}]'" in finding.detail


MODULES = {
    "paho-mqtt": "paho.mqtt",
    "cuda-bindings": "cuda.bindings",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "scikit-video": "skvideo",
    "tensorflow-cpu": "tensorflow",
    "py-spy": "py-spy",
}


@pytest.mark.parametrize("name", health.EXTRAS)
def test_an_extra_is_all_that_pyproject_says(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {re.split(r"[>=<;]", wanted)[0] for wanted in project["optional-dependencies"][name]}
    assert set(health.EXTRAS[name]) == {MODULES.get(part, part.replace("-", "_")) for part in asked}


@pytest.mark.parametrize(
    ("name", "part", "absent"),
    [("live", "paho", "paho.mqtt"), ("gpu-wheels", "cuda.bindings", "cuda.bindings"), ("bench", "py-spy", "py-spy")],
)
def test_one_part_that_is_missing_is_named(name: str, part: str, absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what it lies in is there: other packages fill the namespace `cuda`."""

    def find_spec(module: str) -> object:
        if module == part:
            return None
        if module.startswith(f"{part}."):
            raise ModuleNotFoundError(module)
        return object()

    def version(distribution: str) -> str:
        if distribution == part:
            raise metadata.PackageNotFoundError(distribution)
        return "1"

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(metadata, "version", version)
    assert health.extra(name).detail.startswith(f"{absent} not installed; ")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: object())
    monkeypatch.setattr(metadata, "version", lambda distribution: "1")
    assert health.extra(name).ok


@pytest.mark.parametrize(
    "look", [lambda codec: health.encoder("mine", replace(KINDS["x264"], codec=codec)), health.decoder]
)
def test_an_unknown_codec_is_no_crash(look: Callable[[str], health.Finding]) -> None:
    finding = look("no_such_codec")
    assert not finding.ok
    assert "not in this FFmpeg" in finding.detail


def test_hardware_encoders_are_tried_not_believed() -> None:
    finding = health.encoder("nvenc", KINDS["nvenc"])
    answers = {True: "opens on this machine", False: "no NVIDIA device or driver|not in this FFmpeg"}
    assert re.search(answers[finding.ok], finding.detail)


def test_encoders_are_those_that_label_takes(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    listed = [item["name"] for item in json.loads(capsys.readouterr().out)["encoders"]]
    assert ["auto", "hardware", *listed] == list(ENCODERS)


@pytest.mark.parametrize("name", CHIPS)
def test_hardware_decoders_are_tried_not_believed(name: str) -> None:
    finding = health.chip(name)
    answers = {
        True: "decodes on this machine",
        False: f"no {CHIPS[name].maker} device|this FFmpeg was built without it|this FFmpeg cannot decode",
    }
    assert re.search(answers[finding.ok], finding.detail)


def test_a_decoder_that_answers_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is decoded, as some decoders open without a device."""

    def create(name: str, codec: str) -> Any:
        if name == "qsv":
            raise MissingError(f"decoder {name}: no device; buy one")
        return av.CodecContext.create(codec if name == "vaapi" else "hevc", "r")

    monkeypatch.setattr(decoders, "_create", create)
    assert health.chip("vaapi") == health.Finding("vaapi", True, "Intel or AMD, decodes on this machine")
    assert health.chip("qsv") == health.Finding("qsv", False, "no device")
    assert not health.chip("nvdec").ok


def test_decoders_are_those_that_label_takes(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    listed = [item["name"] for item in json.loads(capsys.readouterr().out)["decoders"]]
    assert ["auto", "software", "hardware", *listed[-len(CHIPS) :]] == list(DECODERS)
