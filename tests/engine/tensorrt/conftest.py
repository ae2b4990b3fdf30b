"""A pretended GPU for every test here that asks for `machine`, through each of the packages that may serve one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.tensorrt.double.install import installed
from tests.engine.tensorrt.double.machine import Machine


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
