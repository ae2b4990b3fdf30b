"""What a run needs as a service or in a container: it names what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from stream.live.address import Address
from tools.cli import INTERRUPTED
from tools.live import live

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
BUILD = """
import sys
from scikit_build_core.build import build_wheel
print(build_wheel(sys.argv[1], {"build-dir": sys.argv[2], "cmake.define.IZNET_CUDA": "OFF"}))
"""


def understood(arguments: list[str]) -> click.Context:
    """The arguments as `iznet live` takes them."""
    return live.make_context("live", arguments)


def test_the_example_of_a_settings_file_is_one(tmp_path: Path) -> None:
    text = (DEPLOY / "live.toml").read_text("utf-8")
    (tmp_path / "all.toml").write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE), "utf-8")
    for path in (DEPLOY / "live.toml", tmp_path / "all.toml"):
        given = understood(["--config", str(path)]).params
        assert [Address.parse(source).name for source in given["sources"]] == ["door", "hall"]
        assert given["rotate_seconds"] == 3600
        assert given["slate"] is True
    assert len(given["webhooks"]) == len(given["brokers"]) == 1


def test_the_service_runs_what_the_command_takes() -> None:
    text = (DEPLOY / "iznet-live.service").read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert "LoadCredential=live.toml:" in text
    assert f"\nSuccessExitStatus={INTERRUPTED}\n" in text
    words = shlex.split(command.replace("%d", str(DEPLOY)))
    assert words[1] == "live"
    assert understood(words[2:]).params["log_place"] == "-"


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "iznet-live.service"
    text = (DEPLOY / "iznet-live.service").read_text("utf-8")
    unit.write_text(text.replace("/opt/iznet/bin/iznet", sys.executable), "utf-8")
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def container_lines(word: str) -> list[str]:
    text = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in text.splitlines() if line.startswith(word)]


def test_the_container_runs_what_the_command_takes() -> None:
    (entry,), (command,) = container_lines("ENTRYPOINT"), container_lines("CMD")
    assert json.loads(entry) == ["iznet"]
    words = json.loads(command)
    config = words[words.index("--config") + 1]
    assert understood([str(DEPLOY / "live.toml") if word == config else word for word in words[1:]])


def test_the_container_is_built_from_what_it_is_given(tmp_path: Path) -> None:
    """The package is made of the files alone that are copied into the container."""
    pytest.importorskip("scikit_build_core")
    source = tmp_path / "build"
    source.mkdir()
    admitted = {
        line.removeprefix("!")
        for line in (DEPLOY / "Containerfile.dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    for line in container_lines("COPY "):
        if line.startswith("--from"):
            continue
        *names, _ = line.split()
        for name in names:
            assert name in admitted
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
            else:
                shutil.copy(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path), str(tmp_path / "cmake")],
        cwd=source,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"tools/live.py", "stream/live/page/index.html", "engine/models/detector.onnx"} <= set(names)
