"""What a network file says about itself, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import onnx
import pytest

import engine
from engine import modelfile
from engine.errors import InputError, MissingError
from engine.modelfile import ModelFile
from tests.networks import write_detector, write_embedder


@pytest.fixture
def network(detector_file: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copy(detector_file.with_suffix(".sha256"), tmp_path)
    return Path(shutil.copy(detector_file, tmp_path))


def test_reads_what_onnx_reads(network: Path) -> None:
    file = ModelFile.read(network, "detector")
    assert file.metadata == {entry.key: entry.value for entry in onnx.load(network).metadata_props}
    assert file.sha256 == hashlib.sha256(network.read_bytes()).hexdigest()
    assert file.name == "rectangles"
    assert file.number("iznet.threshold") == 0.5


def test_goes_by_the_file_name_without_a_name(tmp_path: Path) -> None:
    assert ModelFile.read(write_detector(tmp_path / "mine.onnx", metadata={"iznet.name": ""})).name == "mine"


def test_another_kind(embedder_file: Path) -> None:
    with pytest.raises(InputError, match=r"embedder\.onnx: a network of kind 'embedder'; .*iznet\.kind=detector"):
        ModelFile.read(embedder_file, "detector")


def test_an_onnx_file_that_says_nothing(network: Path) -> None:
    model = onnx.load(network)
    del model.metadata_props[:]
    other = network.with_name("other.onnx")
    onnx.save(model, other)
    assert ModelFile.read(other).metadata == {}
    with pytest.raises(InputError, match="says nothing about what it is"):
        ModelFile.read(other, "detector")


def test_a_wrong_checksum(network: Path) -> None:
    network.with_suffix(".sha256").write_text(f"{'0' * 64}  detector.onnx\n", "utf-8")
    with pytest.raises(InputError, match=r"detector\.onnx: its SHA-256 is .* but detector\.sha256 says 0000"):
        ModelFile.read(network)
    network.with_suffix(".sha256").write_text("", "utf-8")
    with pytest.raises(InputError, match="says nothing"):
        ModelFile.read(network)
    network.with_suffix(".sha256").unlink()
    ModelFile.read(network)


@pytest.mark.parametrize("part", [0, 1, 0.02, 0.5, 0.9])
def test_a_truncated_file(network: Path, part: float) -> None:
    network.with_suffix(".sha256").unlink()
    data = network.read_bytes()
    network.write_bytes(data[: int(part if part == 1 else part * len(data))])
    with pytest.raises(InputError, match=r"detector\.onnx: (not an ONNX network|says nothing)"):
        ModelFile.read(network, "detector")


@pytest.mark.parametrize(
    "data", [b"", b"hello world, I am no network", os.urandom(5000), b"\xff" * 100, b"PK\x03\x04" * 9]
)
def test_not_onnx(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.onnx: not an ONNX network"):
        ModelFile.read(path)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        ModelFile.read(tmp_path / "nothing.onnx")
    with pytest.raises(InputError, match="is a folder"):
        ModelFile.read(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="only a user with limits can be refused")
def test_unreadable(network: Path) -> None:
    network.chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        ModelFile.read(network)


def test_a_number_that_is_none(tmp_path: Path) -> None:
    file = ModelFile.read(write_embedder(tmp_path / "e.onnx", metadata={"iznet.threshold": "high"}))
    with pytest.raises(InputError, match=r"iznet\.threshold is 'high'; it should be a number"):
        file.number("iznet.threshold")


def test_an_incomplete_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "SHIPPED", tmp_path)
    with pytest.raises(MissingError, match=r"detector\.onnx: the detector network .* is missing"):
        engine.Detector.open()
    with pytest.raises(MissingError, match="--embedder"):
        engine.Embedder.open()


def test_the_version_is_the_packages() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert f'version = "{engine.__version__}"' in text
