"""What is installed: the wheel holds the four packages with their data, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ("engine", "stream", "train", "tools")
DATA = {".py", ".typed", ".onnx", ".sha256", ".keras", ".md", ".json", ".html", ".css", ".js", ".svg"}
BUILD = """
import sys
from scikit_build_core.build import build_wheel
print(build_wheel(sys.argv[1], {"build-dir": sys.argv[2], "cmake.define.IZNET_CUDA": "OFF"}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("scikit_build_core")
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder), str(folder / "build")],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_every_module_and_its_data_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in HOUSE
        for path in (ROOT / package).rglob("*")
        if path.suffix in DATA and path.is_file()
    }
    assert {"stream/tracks.schema.json", "engine/py.typed", "stream/live/page/app.js"} <= wanted
    assert wanted <= names, sorted(wanted - names)


def test_the_networks_come_with_cards_checksums_and_weights(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    weights = {"detector": ["keras"], "embedder": ["first.keras", "second.keras"]}
    for network, kept in weights.items():
        for ending in ("onnx", "card.md", "sha256", *kept):
            assert f"engine/models/{network}.{ending}" in names


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    for name in wheel.namelist():
        assert name.split("/")[0] in HOUSE or name.startswith("iznet-"), name
        assert not name.endswith((".pyc", ".nbi", ".nbc", ".cu")), name


def test_the_command_and_the_licence_come_with_it(wheel: zipfile.ZipFile) -> None:
    text = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "iznet = tools.cli:main" in text["entry_points.txt"].replace("=", " = ").replace("  ", " ")
    assert "Apache License" in text["LICENSE"]
    assert "License-Expression: Apache-2.0" in text["METADATA"]


def test_extras_are_what_the_doctor_looks_for() -> None:
    from tools.health import EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(EXTRAS) <= set(project["optional-dependencies"])


def test_no_dependency_asks_for_a_display_or_a_gpu() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {line.split(">")[0].split("=")[0].split("<")[0].strip() for line in project["dependencies"]}
    assert "opencv-python-headless" in names
    assert not names & {"opencv-python", "tensorflow", "tensorflow-cpu", "keras", "tensorrt", "pycuda", "torch"}


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize("goal", ["demo", "test"])
def test_a_second_make_installs_nothing(goal: str, tmp_path: Path) -> None:
    def steps() -> str:
        command = ["make", "--no-print-directory", "--dry-run", goal, f"VENV={tmp_path}/venv", f"DEMO={tmp_path}/demo"]
        own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, encoding="utf-8", timeout=60, check=True)
        return done.stdout

    first = steps()
    assert "-m venv" in first
    assert "pip install" in first
    (tmp_path / "venv/bin").mkdir(parents=True)
    for file in ("bin/python", ".installed-demo", ".installed-test"):
        (tmp_path / "venv" / file).touch()
    second = steps()
    assert "-m venv" not in second
    assert "pip install" not in second
    assert {"demo": "iznet demo", "test": "pytest"}[goal] in second
