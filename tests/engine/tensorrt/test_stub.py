"""What is called of TensorRT and of the CUDA packages exists there: held against NVIDIA's own wheels.

The bindings' wheel installs anywhere, but loads only beside a driver and the libraries; so its names and docstrings are
read from the file. That a name, an argument or a removed function is in the binary shows that it exists (or is gone),
not what it does: that takes a GPU.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import av
import pytest

from tests.conftest import ROOT
from tests.engine.tensorrt.double import Machine, trt

STUB = ROOT / "tests" / "stubs" / "tensorrt" / "__init__.pyi"
PYTHON_ONLY = {"nptype", "__version__"}
"""Defined in the wheel's `__init__.py`, not in the binary."""


@cache
def bindings() -> Path:
    """The folder of NVIDIA's bindings."""
    found = importlib.util.find_spec("tensorrt_bindings")
    if found is None or found.origin is None:
        pytest.skip("tensorrt-cu13-bindings is not installed")
    return Path(found.origin).parent


@cache
def binary() -> bytes:
    (file,) = bindings().glob("tensorrt*.so")
    return file.read_bytes()


def stub() -> Iterator[tuple[str, str]]:
    """(where, name) of everything that the stub claims: classes, members, functions and arguments."""
    tree = ast.parse(STUB.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.name
            for child in node.body:
                if isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
                    yield node.name, child.targets[0].id
                elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                    yield node.name, child.target.id
                elif isinstance(child, ast.FunctionDef) and not child.name.startswith("__"):
                    yield node.name, child.name
                    for argument in child.args.args[1:]:
                        yield f"{node.name}.{child.name}", argument.arg


CLAIMS = sorted(set(stub()))


def test_the_stub_claims_something() -> None:
    assert len(CLAIMS) > 80
    assert ("IExecutionContext.execute_async_v3", "stream_handle") in CLAIMS


@pytest.mark.parametrize(("where", "name"), CLAIMS, ids=lambda value: str(value))
def test_every_name_is_in_nvidias_binding(where: str, name: str) -> None:
    # A name ends with a zero byte; linkers let one string begin inside another.
    assert f"{name}\0".encode() in binary(), f"{where}: TensorRT knows no {name}"


@pytest.mark.parametrize(
    "name",
    ["execute_async_v2", "num_bindings", "EXPLICIT_BATCH", "IInt8Calibrator", "int8_calibrator", "no_such_function"],
)
def test_what_tensorrt_11_took_away_is_gone(name: str) -> None:
    """And a name that is not there would be noticed."""
    assert f"{name}\0".encode() not in binary()


@pytest.mark.parametrize(
    "words",
    [
        "The cuda stream on which the inference kernels will be enqueued",
        "output tensors require stream synchronization",
        "between the profile sync stream and the enqueue stream occurs",
        'If an empty cache is provided (i.e. ``b""``),  a new cache will be created',
        "The cache must not be destroyed until after the engine is built",
        "IProgressMonitor must be thread-safe so that it can be called from multiple internal threads",
        "The application can return False for TensorRT to exit\n",
        "If phase_parent is None, then the phase_start is beginning an",
    ],
)
def test_what_is_relied_on_is_said_in_nvidias_docstrings(words: str) -> None:
    text = re.sub(rb"[ \n]+", b" ", binary())
    assert re.sub(r"[ \n]+", " ", words).encode() in text


def test_what_is_written_in_python_is_there() -> None:
    source = (bindings() / "__init__.py").read_text("utf-8")
    assert "def nptype(trt_type):" in source
    version = re.search(r'__version__ = "([\d.]+)"', source)
    assert version is not None
    assert version[1] == metadata.version("tensorrt-cu13-bindings")
    for name in ("float32", "float16", "int8", "int32", "int64", "bool", "uint8"):
        assert f"        {name}: np." in source


def test_the_pretended_tensorrt_has_what_the_stub_has() -> None:
    """And nothing else that a session could use by mistake: the double is no larger than the stub."""
    module = trt.tensorrt(Machine())
    classes = {node.name: node for node in ast.parse(STUB.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}
    for name, value in vars(module).items():
        if name.startswith("__"):
            continue
        assert name in classes or name in PYTHON_ONLY, name
        if name in classes and isinstance(value, type):
            claimed = {child.name for child in classes[name].body if isinstance(child, (ast.FunctionDef, ast.ClassDef))}
            public = {member for member in vars(value) if not member.startswith("_") and callable(vars(value)[member])}
            assert public <= claimed, name


CALLS = {
    "cuInit": "unsigned int Flags",
    "cuDeviceGet": "int ordinal",
    "cuDevicePrimaryCtxRetain": "dev",
    "cuDevicePrimaryCtxRelease": "dev",
    "cuCtxPushCurrent": "ctx",
    "cuCtxPopCurrent": "",
    "cuStreamCreate": "unsigned int Flags",
    "cuStreamSynchronize": "hStream",
    "cuStreamDestroy": "hStream",
    "cuMemAlloc": "size_t bytesize",
    "cuMemFree": "dptr",
    "cuMemHostAlloc": "size_t bytesize, unsigned int Flags",
    "cuMemFreeHost": "p",
    "cuMemcpyHtoDAsync": "dstDevice, srcHost, size_t ByteCount, hStream",
    "cuMemcpyDtoHAsync": "dstHost, srcDevice, size_t ByteCount, hStream",
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_in_nvidias_cuda_bindings(name: str) -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    signature = (getattr(driver, name).__doc__ or "").strip().split("\n")[0]
    assert signature == f"{name}({CALLS[name]})"


def called_by_name() -> set[str]:
    """What is called of the driver's library itself, through ctypes."""
    files = [ROOT / "engine" / "cuda_driver.py", ROOT / "engine" / "cuda" / "loading.py"]
    found = {
        name for file in files for name in re.findall(r"(?:driver|library\(\))\.(cu\w+)\(", file.read_text("utf-8"))
    }
    assert len(found) > 15
    return found


@pytest.mark.parametrize("name", [*sorted(called_by_name()), pytest.param("cuNoSuchCall", marks=pytest.mark.xfail)])
def test_every_symbol_is_the_drivers(name: str) -> None:
    """NVIDIA's own bindings look the same names up in the same library."""
    module = pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    binaries = [file.read_bytes() for file in Path(module.__path__[0]).rglob("*driver*.so")]
    assert any(f"{name}\0".encode() in binary for binary in binaries), f"the driver has no {name}"


def test_pyav_has_what_pictures_on_a_gpu_need() -> None:
    """A decoder that leaves them there, an encoder that takes them from there, and where they lie."""
    from av.codec.hwaccel import HWAccel, hwdevices_available

    assert "cuda" in hwdevices_available()
    options: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"}
    accelerator = HWAccel("cuda", is_hw_owned=True, allow_software_fallback=True, options=options)
    assert accelerator.is_hw_owned
    assert accelerator.options == options, "nothing of PyAV's own beside it: FFmpeg takes one of the two"
    decoders = [av.Codec(name, "r") for name in ("h264", "hevc", "vp9")]
    for codec in (*decoders, *(av.Codec(name, "w") for name in ("h264_nvenc", "hevc_nvenc"))):
        formats = [config.format for config in codec.hardware_configs]
        assert "cuda" in [one.name for one in formats if one is not None], codec.name
    frame = av.VideoFrame(64, 48, "nv12")
    assert frame.sw_format is None
    assert frame.planes[0].buffer_ptr > 0
    assert frame.planes[0].line_size >= 64


def test_without_a_gpu_decoding_on_it_says_what_is_missing(tmp_path: Path) -> None:
    from engine import cuda_driver
    from engine.errors import MissingError
    from stream.nvdec import opened_on_gpu
    from tests.stream import media

    with contextlib.suppress(MissingError):
        cuda_driver.library()
        pytest.skip("there is an NVIDIA driver here")
    clip = media.write(tmp_path / "a.mkv", media.Video(frames=2, width=64, height=48))
    with pytest.raises(MissingError, match=r"there is no NVIDIA driver here \(.*\)"):
        opened_on_gpu(clip).__enter__()


def test_the_calls_are_all_that_the_device_makes() -> None:
    source = (ROOT / "engine" / "cuda_device_bindings.py").read_text("utf-8")
    assert set(re.findall(r"\bcu[A-Z]\w+", source)) == set(CALLS)
