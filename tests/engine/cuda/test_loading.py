"""Finding and loading the compiled kernels, and what is said where that fails. The driver is a pretended one."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from engine import cuda_driver
from engine.cuda.kernels import Kernels
from engine.cuda.loading import FATBIN, DriverModule, fatbin
from engine.errors import MissingError
from tests.engine.cuda.host import HostModule


class Driver:
    """Says what it was asked, and fails where it is told to."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.structs: list[bytes] = []
        self.size = 0

    def cuModuleLoadData(self, module: Any, image: bytes) -> int:
        module._obj.value = 0x1000
        return self._code("load", image)

    def cuModuleGetFunction(self, function: Any, module: ctypes.c_void_p, name: bytes) -> int:
        function._obj.value = 0x2000 + len(self.asked)
        return self._code("function", module.value, name)

    def cuLaunchKernel(self, function: ctypes.c_void_p, *rest: Any) -> int:
        *numbers, stream, parameters, extra = rest
        self.structs.append(ctypes.string_at(parameters[0], self.size))
        return self._code("launch", function.value, tuple(numbers), stream.value, extra)

    def cuModuleUnload(self, module: ctypes.c_void_p) -> int:
        return self._code("unload", module.value)

    def cuGetErrorName(self, code: int, word: Any) -> int:
        word._obj.value = b"CUDA_ERROR_MADE_UP"
        return 0

    def _code(self, what: str, *arguments: Any) -> int:
        self.asked.append((what, arguments))
        return self.codes.get(what, 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(cuda_driver, "library", lambda: made)
    return made


def test_a_launch_hands_over_the_struct_and_the_stream(driver: Driver) -> None:
    module = DriverModule(b"image")
    function = module.function("normalise", 24)
    driver.size = 24
    struct = bytes(range(24))
    function.launch((5, 6, 7), (128, 2, 1), struct, 0xABC)
    assert driver.structs == [struct]
    assert driver.asked == [
        ("load", (b"image",)),
        ("function", (0x1000, b"normalise")),
        ("launch", (0x2001, (5, 6, 7, 128, 2, 1, 0), 0xABC, None)),
    ]
    module.close()
    module.close()
    assert [what for what, _ in driver.asked].count("unload") == 1


def test_a_struct_of_another_size_is_not_launched(driver: Driver) -> None:
    function = DriverModule(b"image").function("normalise", 24)
    with pytest.raises(ValueError, match="takes 24 bytes, got 23"):
        function.launch((1, 1, 1), (1, 1, 1), bytes(23), 0)
    assert not driver.structs


def test_every_kernel_that_python_knows_is_in_the_file_and_no_other(driver: Driver, module: HostModule) -> None:
    Kernels(DriverModule(b"image"))
    asked = {arguments[1].decode() for what, arguments in driver.asked if what == "function"}
    names: list[str] = []
    while name := module.library.iznet_kernel(len(names)):
        names.append(name.decode())
    assert asked == set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("code", "reason"), [(200, "damaged"), (209, "no code for this GPU"), (222, "the driver is older")]
)
def test_kernels_that_do_not_suit_the_gpu_say_what_to_do(code: int, reason: str, driver: Driver) -> None:
    driver.codes["load"] = code
    with pytest.raises(MissingError, match=f"{reason}.*update the driver, or use --device cpu"):
        DriverModule(b"image")


def test_other_failures_of_the_driver_keep_their_name(driver: Driver) -> None:
    driver.codes["function"] = 500
    with pytest.raises(RuntimeError, match="cuModuleGetFunction of decode failed: 500 CUDA_ERROR_MADE_UP"):
        DriverModule(b"image").function("decode", 8)
    driver.codes = {"launch": 719}
    function = DriverModule(b"image").function("decode", 8)
    with pytest.raises(RuntimeError, match="cuLaunchKernel failed: 719"):
        function.launch((1, 1, 1), (1, 1, 1), bytes(8), 0)


def test_the_fatbin_is_found_in_either_folder_of_an_editable_installation(tmp_path: Path) -> None:
    sources, built = tmp_path / "sources", tmp_path / "built"
    sources.mkdir()
    built.mkdir()
    (built / FATBIN).write_bytes(b"image")
    assert fatbin([str(sources), str(built)]) == built / FATBIN


def test_an_installation_without_kernels_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        MissingError, match=r"no working nvcc when it was built; install .*, then run: \.venv/bin/pip install -e \. in"
    ):
        fatbin([str(tmp_path)])
