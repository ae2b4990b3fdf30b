"""What tests of every part share."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):
    # Before TensorFlow, whose own copy of OpenSSL it would else be bound to, and crash. Only tests load both.
    import pylibsrtp  # noqa: F401

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that runs the tests in the background has them ignore Ctrl-C, and with them every program they start.
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)

from engine.detector import Detector
from engine.embedder import Embedder
from engine.modelfile import SHIPPED
from stream.scheduling import as_scheduled

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, bool | None, bool | None]:
    """Tests encode clips with PyAV alone: one in AV1 would leave root a process that shuts out all the others."""
    with as_scheduled():
        return (yield)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The research data, which is not part of the project; a test that wants it skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no research data at {folder}")
    return folder


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds coloured rectangles: see `tests.networks`."""
    from tests.networks import write_detector

    return write_detector(tmp_path_factory.mktemp("networks") / "detector.onnx")


@pytest.fixture(scope="session")
def embedder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that tells colours apart: see `tests.networks`."""
    from tests.networks import write_embedder

    return write_embedder(tmp_path_factory.mktemp("networks") / "embedder.onnx")


@pytest.fixture(scope="session")
def detector(detector_file: Path) -> Iterator[Detector]:
    """The synthetic detector, opened."""
    opened = Detector.open(detector_file, threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def embedder(embedder_file: Path) -> Iterator[Embedder]:
    """The synthetic embedder, opened."""
    opened = Embedder.open(embedder_file, threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def shipped_detector() -> Iterator[Detector]:
    """The trained detector that comes with the project."""
    _needs_shipped("detector")
    opened = Detector.open(threads=1)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def shipped_embedder() -> Iterator[Embedder]:
    """The trained embedder that comes with the project."""
    _needs_shipped("embedder")
    opened = Embedder.open(threads=1)
    yield opened
    opened.close()


def _needs_shipped(kind: str) -> None:
    if not (SHIPPED / f"{kind}.onnx").is_file():
        pytest.skip(f"no trained {kind} at {SHIPPED}")
