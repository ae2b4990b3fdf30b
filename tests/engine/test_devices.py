"""What `auto` takes, and why."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from engine import devices
from engine.errors import MissingError, UsageError


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names put into this set look as if they were not installed."""
    missing: set[str] = set()
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in missing else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    return missing


def test_auto_takes_openvino_on_the_cpu_and_says_why() -> None:
    choice = devices.choose()
    assert (choice.device, choice.backend) == ("cpu", "openvino")
    assert "GPU" in choice.reason
    assert "default" in choice.reason
    assert "asked for" in devices.choose("cpu").reason


def test_the_second_backend_stands_in_only_where_none_was_named(without: set[str]) -> None:
    without.add("openvino")
    choice = devices.choose("cpu")
    assert choice.backend == "onnxruntime"
    assert "openvino is not installed" in choice.reason
    with pytest.raises(MissingError, match="--backend openvino: not installed; pip install openvino"):
        devices.choose("cpu", "openvino")
    assert [(o.backend, o.available) for o in devices.options()] == [
        ("openvino", False),
        ("onnxruntime", True),
        ("tensorrt", False),
    ]


def test_no_backend_at_all(without: set[str]) -> None:
    without.update(("openvino", "onnxruntime"))
    with pytest.raises(MissingError, match="no CPU backend"):
        devices.choose()


def test_options_carry_versions() -> None:
    first = devices.options()[0]
    assert first.available
    assert first.reason[0].isdigit()


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_there_is_no_gpu_yet(device: devices.Device) -> None:
    with pytest.raises(MissingError, match="leave --backend out"):
        devices.choose(device, "tensorrt")
    with pytest.raises(MissingError, match="not in this version"):
        devices.choose("gpu")


@pytest.mark.parametrize(
    ("device", "backend"), [("tpu", None), ("cpu", "tflite"), ("cpu", "tensorrt"), ("gpu", "onnxruntime")]
)
def test_what_cannot_be_meant(device: devices.Device, backend: devices.Backend | None) -> None:
    with pytest.raises(UsageError):
        devices.choose(device, backend)


def test_counts_the_cpus_of_this_process() -> None:
    assert devices.available_cpus() >= 1
