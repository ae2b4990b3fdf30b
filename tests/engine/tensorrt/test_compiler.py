"""NVIDIA's own compiler takes the networks as they are rewritten for it.

TensorRT for RTX reads and compiles what TensorRT does, through the same interface, and needs no GPU for it: so the
parser and the builder that are called here are real, not pretended. What it makes runs on GeForce and RTX cards only,
and is not run. The builder's other half, which times kernels on a GPU, is TensorRT's alone.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import tensorrt_library
from engine.cuda_driver import GpuInfo
from engine.errors import InputError
from engine.modelfile import ModelFile
from engine.tensorrt_build import build_plan
from engine.tensorrt_precision import GpuPrecision
from engine.tensorrt_profile import Profile, default_profiles
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


class NoGpu:
    """As much of a `CudaDevice` as the builder asks for."""

    info = GpuInfo("no GPU", (8, 9), 13)

    def current(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """TensorRT for RTX in TensorRT's place."""
    library = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    tensorrt_library.logger.cache_clear()
    yield library
    tensorrt_library.logger.cache_clear()


def plan_of(model: ModelFile, precision: GpuPrecision, profiles: tuple[Profile, ...], **more: Any) -> bytes:
    device: Any = NoGpu()
    return build_plan(model, precision, profiles, device, **more)


def test_the_shipped_detector(compiler: Any, tmp_path: Path) -> None:
    model, quantised = ModelFile.shipped("detector"), ModelFile.shipped("detector", "int8")
    profiles = default_profiles(model)
    single = plan_of(model, "f32", profiles, timings=tmp_path / "timings")
    half = plan_of(model, "f16", profiles, timings=tmp_path / "timings")
    integer = plan_of(quantised, "int8", profiles)
    assert len({single, half, integer}) == 3
    assert len(single) - len(half) > 1_000_000, "its half a million weights"


def test_the_shipped_embedder(compiler: Any) -> None:
    model = ModelFile.shipped("embedder")
    single, half, integer = (
        len(plan_of(model, precision, default_profiles(model))) for precision in ("f32", "f16", "int8")
    )
    # Seven million weights of 4 and 2 bytes, and what runs them. Of integers and floats mixed it is larger than in f16.
    assert half < 0.7 * single
    assert half < integer < single


def test_progress_and_what_ends_it(compiler: Any, detector_file: Path) -> None:
    model = ModelFile.read(detector_file)
    told: list[tuple[str, int, int]] = []
    plan_of(model, "f32", default_profiles(model, 128), progress=lambda *words: told.append(words))
    assert told
    assert all(0 <= done <= steps for _, done, steps in told)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan_of(model, "f32", default_profiles(model, 128), progress=interrupted)


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
import tensorrt_rtx_bindings
sys.modules["tensorrt"] = tensorrt_rtx_bindings
from engine.modelfile import ModelFile
from engine.tensorrt_library import logger
from engine.tensorrt_profile import default_profiles
from tests.engine.tensorrt.test_compiler import plan_of

said = []

def log(self, severity, message):
    said.append(message)
    if len(said) == 9:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # Python is told between two of its steps

type(logger()).log = log
model = ModelFile.read(Path(sys.argv[1]))
try:
    plan_of(model, "f32", default_profiles(model, 128))
except KeyboardInterrupt:
    print("interrupted after", len(said))
"""


def test_ctrl_c_is_not_lost_where_it_comes_while_tensorrt_calls_back(compiler: Any, detector_file: Path) -> None:
    """TensorRT prints what is raised in its logger, and goes on."""
    words = [sys.executable, "-W", "ignore", "-c", INTERRUPTED, str(detector_file)]
    ended = subprocess.run(words, capture_output=True, encoding="utf-8", cwd=ROOT, timeout=120, check=True)
    assert re.fullmatch(r"interrupted after \d+\n", ended.stdout)
    assert "KeyboardInterrupt" not in ended.stderr


def test_what_it_cannot_read_is_told_with_its_reason(
    compiler: Any, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelFile.read(detector_file)
    monkeypatch.setattr("engine.tensorrt_build.rewritten", lambda *_: model.path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"detector.onnx: TensorRT cannot read this network: \S+"):
        plan_of(model, "f32", default_profiles(model, 128))
