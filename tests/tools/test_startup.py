"""What `iznet label` loads before the first frame, counted: so that starting stays cheap whatever the clock says.

Of two runs the second counts: the first one makes what is made once on a machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.embedder import Embedder
from engine.gallery import Gallery
from tests.networks import PEOPLE, scene
from tests.stream import media

ROOT = Path(__file__).resolve().parents[2]
SIZE = (320, 192)
WATCHED = """
import json, sys
opened = []
sys.addaudithook(lambda event, about: opened.append(str(about[0])) if event == "open" else None)
from tools import cli
code = cli.run(sys.argv[1:])
modules = sorted(sys.modules)
from threadpoolctl import threadpool_info
algebra = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
print(json.dumps({"code": code, "modules": modules, "opened": opened, "algebra": algebra}))
"""
NOT_NEEDED = {
    "numba": "compiles the loops, once",
    "scipy": "solves assignments that are not plain",
    "PIL": "opens photos",
    "rich": "draws bars on terminals",
    "pysubs2": "writes subtitles",
    "jsonschema": "checks records of others",
    "stream.soft": "writes subtitle tracks",
    "stream.render": "draws from a record",
    "stream.renaming": "settles a record for a second pass",
    "onnxruntime": "the other backend",
    "email": "reads the versions of installed packages",
}


@pytest.fixture(scope="module")
def start(
    detector_file: Path, embedder_file: Path, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A run that finds everything made: its modules and the files that it opened."""
    folder = tmp_path_factory.mktemp("start")
    video = media.Video(frames=12, width=SIZE[0], height=SIZE[1], picture=picture)
    clip = media.write(folder / "mv.mp4", video)
    crop = np.full((1, 112, 112, 3), PEOPLE["ann"], np.uint8)
    gallery = folder / "group.gallery"
    Gallery.build({"ann": embedder.embed(crop)}, embedder.sha256, 0.9).save(gallery)
    command = [sys.executable, "-c", WATCHED, "label", str(clip), "-g", str(gallery), "--overwrite", "--json"]
    networks = ["--detector", str(detector_file), "--embedder", str(embedder_file), "--threads", "1"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "caches"), "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run(
            [*command, *networks], stdout=subprocess.PIPE, encoding="utf-8", env=environment, cwd=ROOT, check=True
        )
    result, watched = map(json.loads, done.stdout.splitlines())
    assert [person["name"] for person in result["people"]] == ["ann"]
    assert watched["code"] == 0
    return {**watched, "networks": [detector_file, embedder_file], "gallery": gallery, "caches": folder / "caches"}


def picture(index: int, width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return scene(width, height, [((60, 60, 108, 120), PEOPLE["ann"])])


@pytest.mark.parametrize("module", NOT_NEEDED)
def test_what_is_not_needed_is_not_imported(module: str, start: dict[str, Any]) -> None:
    assert module not in start["modules"], NOT_NEEDED[module]


def test_linear_algebra_starts_no_threads(start: dict[str, Any]) -> None:
    assert start["algebra"], "NumPy has come with a library that is not known here"
    assert set(start["algebra"]) == {1}


def test_each_file_is_read_once(start: dict[str, Any]) -> None:
    opened = Counter(start["opened"])
    for path in (*start["networks"], start["gallery"]):
        assert opened[str(path)] == 1, path
    kept = {path: count for path, count in opened.items() if path.startswith(str(start["caches"]))}
    code = {path: count for path, count in kept.items() if Path(path).parent.name == "code"}
    assert code
    assert set(code.values()) == {1}
    networks = {path: count for path, count in kept.items() if Path(path).parent.name == "openvino"}
    assert len(networks) == 2
    assert set(networks.values()) <= {1, 2}, "its first lines, and later all of it"
