"""What CMake builds: all of it from clean without a warning, no kernel short of registers, never a broken install."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.engine.cuda.host import ROOT, cmake, missing_tools, nvcc

ARCHITECTURES = {"75", "80", "86", "89", "90", "100", "120"}
KINDS = [f"u{bits}_{form}" for bits in (8, 16) for form in ("bytes", "f16", "f32")]
KERNELS = {f"{name}_{kind}" for name in ("letterbox", "warp") for kind in KINDS}
KERNELS |= {f"{name}_{bits}" for name in ("cells", "draw") for bits in ("u8", "u16")}
KERNELS |= {"decode", "normalise", "nearest", "nearest_of_all", "sharpness"}
USAGE = re.compile(
    r"Compiling entry function '(\w+)' for 'sm_(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads.*?Used (\d+) registers",
    re.S,
)


def run(
    *command: str | Path, env: dict[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
    )


def configure(folder: Path, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run(str(cmake()), "-S", ROOT, "-B", folder, *options, env=env)


@pytest.fixture(scope="session")
def clean_build(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The build folder of `cmake -S . -B build && cmake --build build` from clean, and what was said meanwhile."""
    if reason := missing_tools():
        pytest.skip(reason)
    if nvcc() is None:
        pytest.skip("no nvcc here, which compiles the CUDA kernels")
    import fcntl

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # one build for all workers
    folder, log = base / "cuda-clean", base / "cuda-clean.log"
    with (base / "cuda-clean.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            configured = configure(folder, "-DIZNET_CUDA=ON")
            assert configured.returncode == 0, configured.stdout + configured.stderr
            built = run(str(cmake()), "--build", folder)
            assert built.returncode == 0, built.stdout + built.stderr
            log.write_text(configured.stdout + configured.stderr + built.stdout + built.stderr, "utf-8")
    return folder, log.read_text("utf-8")


def test_everything_is_built_from_clean(clean_build: tuple[Path, str]) -> None:
    folder, _ = clean_build
    assert (folder / "libiznet_cuda_host.so").is_file()
    # The fatbin's own magic number; and it holds more than one GPU's code.
    image = (folder / "iznet.fatbin").read_bytes()
    assert image[:4] == bytes.fromhex("50ed55ba")
    assert len(image) > 200_000


def test_warnings_are_errors_in_a_build_by_hand(clean_build: tuple[Path, str]) -> None:
    cache = (clean_build[0] / "CMakeCache.txt").read_text("utf-8")
    assert "IZNET_STRICT:BOOL=ON" in cache
    assert "warning" not in clean_build[1]


def test_every_kernel_is_compiled_for_every_gpu(clean_build: tuple[Path, str]) -> None:
    found = {(name, architecture) for name, architecture, *_ in USAGE.findall(clean_build[1])}
    left_out = set(re.findall(r"knows no sm_(\w+)", clean_build[1]))
    assert {"75", "90"} <= ARCHITECTURES - left_out
    assert found == {(name, a) for name in KERNELS for a in ARCHITECTURES - left_out}


def test_no_kernel_spills_registers(clean_build: tuple[Path, str]) -> None:
    usage = USAGE.findall(clean_build[1])
    assert usage
    spilling = [f"{name} on sm_{a}: {numbers}" for name, a, *numbers in usage if numbers[:3] != ["0", "0", "0"]]
    assert not spilling, "\n".join(spilling)


def test_registers_leave_room_for_enough_threads(clean_build: tuple[Path, str]) -> None:
    """64 registers let 1024 threads live on a multiprocessor; the search holds 32 sums a thread and takes 128."""
    for name, architecture, *_, registers in USAGE.findall(clean_build[1]):
        assert int(registers) <= (128 if name == "nearest" else 64), f"{name} on sm_{architecture}"


def test_a_second_build_compiles_nothing(clean_build: tuple[Path, str]) -> None:
    folder, _ = clean_build
    before = {
        path.name: path.stat().st_mtime_ns for path in (folder / "iznet.fatbin", folder / "libiznet_cuda_host.so")
    }
    again = run(str(cmake()), "--build", folder)
    assert again.returncode == 0
    assert "Compiling" not in again.stdout + again.stderr
    assert before == {name: (folder / name).stat().st_mtime_ns for name in before}


def fake_nvcc(folder: Path, body: str) -> Path:
    """A compiler that only says what it was asked."""
    script = folder / "nvcc"
    script.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n{body}\n', "utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


OLD = """
if [ "$1" = --list-gpu-code ]; then printf 'sm_70\\nsm_75\\nsm_80\\n'; exit; fi
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then echo fatbin > "$2"; fi; shift; done
"""
BROKEN = 'if [ "$1" = --list-gpu-code ]; then echo sm_75; else echo "no host compiler" >&2; exit 1; fi'


def test_an_older_nvcc_compiles_for_what_it_knows(tmp_path: Path) -> None:
    if reason := missing_tools():
        pytest.skip(reason)
    script = fake_nvcc(tmp_path, OLD)
    done = configure(tmp_path / "build", f"-DIZNET_NVCC={script}", env={"CXX": "/nowhere/c++"})
    assert done.returncode == 0, done.stderr
    assert "this nvcc knows no sm_120; left out" in done.stdout
    built = run(str(cmake()), "--build", tmp_path / "build")
    assert built.returncode == 0, built.stderr
    asked = (tmp_path / "asked").read_text("utf-8").splitlines()[-1]
    assert set(re.findall(r",code=(\w+)", asked)) == {"sm_75", "sm_80"}
    assert "-Werror all-warnings" in asked
    assert "--resource-usage" in asked


@pytest.mark.parametrize("mode", ["AUTO", "ON"])
def test_without_compilers_the_package_is_for_the_cpu_unless_kernels_are_asked_for(mode: str, tmp_path: Path) -> None:
    if cmake() is None:
        pytest.skip("no cmake here")
    script = fake_nvcc(tmp_path, BROKEN)
    done = configure(tmp_path / "build", f"-DIZNET_CUDA={mode}", f"-DIZNET_NVCC={script}", env={"CXX": "/nowhere/c++"})
    said = " ".join((done.stdout + done.stderr).split())
    assert "no host compiler" in said
    if mode == "ON":
        assert done.returncode != 0
        assert "IZNET_CUDA=ON, but" in said
    else:
        assert done.returncode == 0
        assert "CUDA kernels left out; the package runs on the CPU" in said
        assert run(str(cmake()), "--build", tmp_path / "build").returncode == 0
        assert run(str(cmake()), "--install", tmp_path / "build", "--prefix", tmp_path / "out").returncode == 0
        assert not list((tmp_path / "out").rglob("*.fatbin"))


WHEEL = """
import json, sys
from scikit_build_core.build import build_wheel
build_wheel(sys.argv[1], {"build-dir": sys.argv[1] + "/build", **json.loads(sys.argv[2])})
"""


def wheel(folder: Path, settings: str, env: dict[str, str] | None = None) -> list[str]:
    pytest.importorskip("scikit_build_core")
    done = subprocess.run(
        [sys.executable, "-c", WHEEL, str(folder), settings],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file).namelist()


def test_the_wheel_brings_the_kernels_and_not_what_tests_need(tmp_path: Path) -> None:
    if nvcc() is None:
        pytest.skip("no nvcc here, which compiles the CUDA kernels")
    settings = '{"cmake.define.IZNET_CUDA": "ON", "cmake.define.IZNET_CUDA_ARCHITECTURES": "75"}'
    names = wheel(tmp_path, settings)
    assert "engine/cuda/iznet.fatbin" in names
    assert "engine/cuda/kernels.py" in names
    assert not [name for name in names if name.endswith((".so", ".cu", ".cuh", ".cpp", ".hpp"))]
    # A later compiler's warning must not keep anybody from installing.
    assert "IZNET_STRICT:BOOL=OFF" in (tmp_path / "build" / "CMakeCache.txt").read_text("utf-8")


def test_a_wheel_without_compilers_is_complete_for_the_cpu(tmp_path: Path) -> None:
    script = fake_nvcc(tmp_path, BROKEN)
    names = wheel(tmp_path, f'{{"cmake.define.IZNET_NVCC": "{script}"}}', {"CXX": "/nowhere/c++"})
    assert "engine/cuda/kernels.py" in names
    assert not [name for name in names if name.endswith((".so", ".fatbin"))]
