"""What `auto` takes, and why."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from engine import cuda_driver, devices
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


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, whatever this one has; `tests/engine/tensorrt` has those with one."""

    def library() -> None:
        raise MissingError("there is no NVIDIA driver here")

    monkeypatch.setattr(cuda_driver, "library", library)


def test_auto_takes_openvino_on_the_cpu_and_says_why() -> None:
    choice = devices.choose()
    assert (choice.device, choice.backend) == ("cpu", "openvino")
    assert "no GPU: there is no NVIDIA driver here" in choice.reason
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


def test_a_gpu_that_was_asked_for_is_there_or_the_reason_is_told() -> None:
    with pytest.raises(MissingError, match="--device gpu: there is no NVIDIA driver here; or use --device cpu"):
        devices.choose("gpu")
    with pytest.raises(MissingError, match="--backend tensorrt: there is no NVIDIA driver"):
        devices.choose("auto", "tensorrt")
    assert [o.reason for o in devices.options() if o.device == "gpu"] == ["there is no NVIDIA driver here"]


@pytest.mark.parametrize(
    ("device", "backend"), [("tpu", None), ("cpu", "tflite"), ("cpu", "tensorrt"), ("gpu", "onnxruntime")]
)
def test_what_cannot_be_meant(device: devices.Device, backend: devices.Backend | None) -> None:
    with pytest.raises(UsageError):
        devices.choose(device, backend)


def test_counts_the_cpus_of_this_process() -> None:
    assert devices.available_cpus() >= 1
