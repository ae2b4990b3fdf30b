"""A pretended GPU for every test here that asks for `machine`, through each of the packages that may serve one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.cuda.host import build, missing_tools
from tests.engine.tensorrt.double.install import installed
from tests.engine.tensorrt.double.machine import Machine
from tests.engine.tensorrt.double.video import video


@pytest.fixture(params=["pycuda", "cuda-bindings"])
def package(request: pytest.FixtureRequest) -> str:
    """What serves the GPU."""
    name: str = request.param
    return name


@pytest.fixture
def machine(package: str, tmp_path: Path) -> Iterator[Machine]:
    """A GPU that keeps to the contract; at the end nothing may be left on it, and nobody may have broken it."""
    with installed(Machine(), package, tmp_path / "caches") as one:
        yield one
        gc.collect()
        one.settled()


@pytest.fixture
def faulty(package: str, tmp_path: Path) -> Iterator[Machine]:
    """The same for tests that break the contract on purpose."""
    with installed(Machine(), package, tmp_path / "caches") as one:
        yield one
        one.forgive()
        gc.collect()


@pytest.fixture(scope="session")
def host_library() -> Path:
    """The kernels' host library."""
    if reason := missing_tools():
        pytest.skip(reason)
    return build("host")


@pytest.fixture(scope="session")
def kept_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests keep engines that do not ask how they come about."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def seeing(package: str, kept_engines: Path, host_library: Path) -> Iterator[Machine]:
    """A GPU that keeps to the contract, with kernels, a decoder and an encoder."""
    with installed(Machine(), package, kept_engines, host_library) as one, video(one):
        yield one
        gc.collect()
        one.settled()


@pytest.fixture
def deceived(package: str, kept_engines: Path, host_library: Path) -> Iterator[Machine]:
    """The same for tests that break the contract on purpose."""
    with installed(Machine(), package, kept_engines, host_library) as one, video(one):
        yield one
        one.forgive()
        gc.collect()
