"""The tests of the kernels once more under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.cuda.conftest import GIVEN
from tests.engine.cuda.host import ROOT, build, missing_tools

TESTS = ["test_structs.py", "test_letterbox.py", "test_warp.py", "test_decode.py", "test_nearest.py"]
TESTS += ["test_cells.py", "test_draw.py"]
SLOW = "letterbox and (product or photos)"
"""Large pictures, which read no other samples than the small ones of the other tests."""
TOO_FAR = """
import numpy as np
from engine.cuda.kernels import Kernels
from tests.engine.cuda.host import HostModule
rows = np.ones((3, 128), np.float32)
out = np.empty((2, 128), np.float32)  # one row short
Kernels(HostModule({library!r})).normalise(rows.ctypes.data, out.ctypes.data, 3, 128)
"""


@pytest.fixture(scope="module")
def sanitizer() -> str:
    """What has to be loaded before Python: the sanitizer, and the library whose exceptions it watches."""
    if reason := missing_tools():
        pytest.skip(reason)
    compiler = shutil.which("c++") or shutil.which("g++")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("the sanitizers are tried with GCC on Linux")
    libraries = []
    for name in ("libasan.so", "libstdc++.so"):
        asked = [compiler, f"-print-file-name={name}"]
        libraries.append(subprocess.run(asked, capture_output=True, encoding="utf-8", check=True).stdout.strip())
    if not all(Path(library).is_absolute() for library in libraries):
        pytest.skip(f"{compiler} has no address sanitizer here")
    return " ".join(libraries)


def run(sanitizer: str, *command: str) -> subprocess.CompletedProcess[str]:
    library = build("sanitized", "-DIZNET_SANITIZE=ON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environment |= {
        GIVEN: str(library),
        "LD_PRELOAD": sanitizer,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has until it ends
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = tuple(part.replace("{library!r}", repr(str(library))) for part in command)
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def test_nothing_is_found(sanitizer: str) -> None:
    files = [f"tests/engine/cuda/{name}" for name in TESTS]
    done = run(
        sanitizer,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-k",
        f"not ({SLOW})",
        *files,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "passed" in done.stdout


def test_a_step_too_far_would_be_found(sanitizer: str) -> None:
    done = run(sanitizer, "-c", TOO_FAR)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "normalise" in done.stderr
