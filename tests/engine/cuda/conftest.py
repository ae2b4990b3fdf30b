"""The kernels, run on the host: `engine/cuda/kernels.cu` itself, compiled for the CPU (see `emulated/simt.hpp`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.cuda.kernels import Kernels
from tests.engine.cuda.host import HostModule, build, missing_tools

GIVEN = "IZNET_CUDA_HOST_LIBRARY"
"""Names a library that is built already: how the sanitizers' run finds its own."""


@pytest.fixture(scope="session")
def host_library() -> Path:
    """The host library, built from the sources as they are."""
    if GIVEN in os.environ:
        return Path(os.environ[GIVEN])
    if reason := missing_tools():
        pytest.skip(reason)
    return build("host")


@pytest.fixture(scope="session")
def module(host_library: Path) -> HostModule:
    return HostModule(host_library)


@pytest.fixture(scope="session")
def kernels(module: HostModule) -> Kernels:
    return Kernels(module)


@pytest.fixture(params=["ascending", "descending"])
def cooperating(request: pytest.FixtureRequest, host_library: Path) -> Kernels:
    """The kernels whose threads work together, with the threads taking turns in either order."""
    return Kernels(HostModule(host_library, descending=request.param == "descending"))
