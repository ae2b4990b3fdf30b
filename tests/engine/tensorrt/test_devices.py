"""Which machines have a GPU that networks can run on, and what the others are told."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path

import pytest

from engine import cuda_device, cuda_driver, devices, tensorrt_library
from engine.cuda import loading
from engine.cuda_device import close_device, open_device
from engine.errors import MissingError
from engine.runtime import open_session
from tests.engine.tensorrt.double import Machine


@pytest.mark.parametrize("kernels", [True, False], ids=["with kernels", "without kernels"])
def test_a_gpu_with_all_that_it_needs_is_taken(
    kernels: bool, machine: Machine, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fatbin() -> Path:
        if not kernels:
            raise MissingError("built without nvcc")
        return Path("iznet.fatbin")

    monkeypatch.setattr(loading, "fatbin", fatbin)
    for choice in (devices.choose(), devices.choose("gpu"), devices.choose("auto", "tensorrt")):
        assert (choice.device, choice.backend) == ("gpu", "tensorrt")
        assert f"Pretended GPU (compute capability 8.9) through {package}" in choice.reason
        assert ("pictures are the CPU's" in choice.reason) == (not kernels)
    assert devices.choose("cpu").device == "cpu"
    (option,) = [option for option in devices.options() if option.device == "gpu"]
    assert option.available
    assert machine.retains == 0, "asking which device there is must not take it"


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        ("init_result", 100, r"100 CUDA_ERROR_NO_DEVICE\): no GPU is visible; look with nvidia-smi"),
        ("init_result", 803, r"803 .*: the driver and its libraries are of different versions; restart"),
        ("init_result", 999, "999 .*: look whether nvidia-smi works"),
        ("cuda", 12080, "has CUDA 12.8, and TensorRT wants 13; update it to 580 or newer"),
        ("capability", (7, 0), r"compute capability 7.0, and TensorRT 11 wants 7.5 \(Turing\) or newer"),
    ],
)
def test_a_gpu_that_will_not_do(change: str, value: object, words: str, faulty: Machine) -> None:
    setattr(faulty, change, value)
    with pytest.raises(MissingError, match=f"--device gpu: .*{words}.*; or use --device cpu"):
        devices.choose("gpu")
    choice = devices.choose("auto")
    assert choice.device == "cpu"
    assert choice.reason.startswith("no GPU: ")
    with pytest.raises(MissingError, match=words):
        open_device()


@pytest.mark.parametrize("missing", ["tensorrt", "package"])
def test_a_gpu_without_its_packages(missing: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["tensorrt"] if missing == "tensorrt" else ["pycuda", "cuda", "cuda.bindings"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
    words = {
        "tensorrt": r"waits for TensorRT, which is not installed; \.venv/bin/pip install -e '\.\[gpu-wheels\]'",
        "package": r"neither pycuda nor cuda-bindings is installed; .*'\.\[gpu-wheels\]'.*\[gpu\]",
    }
    with pytest.raises(MissingError, match=words[missing]):
        devices.choose("gpu")


def test_a_tensorrt_that_cannot_be_loaded(
    machine: Machine, detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.11: cannot open shared object file')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt")
    with pytest.raises(MissingError, match=r"TensorRT cannot be loaded \(libnvinfer.so.11"):
        open_session(detector_file, "gpu")


@pytest.mark.parametrize("version", ["10.13.2.6", "8.6.1", "of one's own"])
def test_a_tensorrt_that_is_too_old(version: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorrt.__version__", version)
    with pytest.raises(MissingError, match="is too old; pip install 'tensorrt>=11'"):
        tensorrt_library.load()


def test_no_driver_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _none)
    cuda_driver.library.cache_clear()
    try:
        with pytest.raises(MissingError, match="there is no NVIDIA driver here"):
            devices.choose("gpu")
    finally:
        cuda_driver.library.cache_clear()


def _none(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_a_gpu_that_is_full(machine: Machine, detector_file: Path) -> None:
    session = open_session(detector_file, "gpu", precision="f32", size=128)
    request = session.request()
    machine.room = 1000
    with pytest.raises(MissingError, match=r"the memory of the GPU has no room for 1 MiB more; close other programs"):
        request.input("images", (1, 128, 128, 3))
    machine.room = 1 << 30
    assert request.input("images", (1, 128, 128, 3)).shape == (1, 128, 128, 3)
    session.close()


def test_one_device_for_all_threads(machine: Machine) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_device())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert machine.retains == 1


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_context_is_let_go_of_on_any_thread(elsewhere: bool, machine: Machine) -> None:
    """Which pycuda does not do by itself: on another thread than the first it leaves a context as it is."""
    open_device()
    assert machine.retained == 1
    if elsewhere:
        thread = threading.Thread(target=close_device)
        thread.start()
        thread.join()
    else:
        close_device()
    assert machine.retained == 0
    open_device()
    assert (machine.retained, machine.retains) == (1, 2)


def test_contexts_of_others_stay_what_they_were(machine: Machine) -> None:
    """PyAV's decoder or another library may have one current on the thread."""
    from tests.engine.tensorrt.double.machine import Context

    other = Context("another library's")
    machine.push(other)
    device = open_device()
    with device.current(), device.current():
        assert machine.stack()[-1] is machine.primary
    assert machine.stack() == [other]
    assert machine.pop() is other


def test_the_package_is_named(machine: Machine, package: str) -> None:
    assert open_device().package == {"pycuda": "pycuda 2026.1", "cuda-bindings": "cuda-bindings 13.5.0"}[package]
    assert cuda_device.package() == package
