"""What one command takes, and what it took it on."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.devices import available_cpus, gpu
from engine.errors import InputError, IznetError, MissingError, OutputError, UsageError
from engine.version import VERSION
from engine.wording import install

LIBRARIES = ("av", "openvino", "onnxruntime", "opencv-python-headless", "numpy", "numba")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all its threads and of its children that it waited for, user and system."""
    peak: float = 0.0
    """Most memory that it had in use at once, MB."""
    started: float = 0.0
    """Seconds since 1970."""


_FAILURES: dict[int, type[IznetError]] = {
    kind.exit_code: kind for kind in (UsageError, InputError, MissingError, OutputError)
}
_WATCH = """
import json, os, subprocess, sys, time
began, started = time.time(), time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
wall, code = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    json.dump([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, began], file)
sys.exit(code if code >= 0 else 128 - code)
"""
"""A small process that starts the command and waits for it: Linux counts the memory of whoever starts a process as that
process's own peak."""


def run(command: Sequence[str]) -> tuple[Cost, str]:
    """Run a command to its end; its cost, and what it printed on stdout.

    Raises:
        IznetError: it failed; the message ends with what it said. The kind is that of its exit code, as `iznet` has
            them, otherwise `InputError`.
        MissingError: there is no such program, or this system does not tell what a process took.
    """
    if not hasattr(os, "wait4"):
        raise MissingError("this system does not say what a process took (wait4); measure on Linux or macOS")
    if shutil.which(command[0]) is None:
        raise MissingError(f"{command[0]} cannot be run; is it installed?")
    with tempfile.TemporaryDirectory(prefix="iznet-run-") as name:
        out, err, cost = (Path(name, part) for part in ("out", "err", "cost"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCH, str(cost), *command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                code = watcher.wait()
            except BaseException:
                os.killpg(watcher.pid, signal.SIGKILL)
                watcher.wait()
                raise
        printed = out.read_text("utf-8", "replace")
        if code:
            said = (printed + err.read_text("utf-8", "replace")).strip()[-2000:]
            raise _FAILURES.get(code, InputError)(f"{' '.join(command)} ended with {code}: {said}")
        wall, cpu, peak, began = json.loads(cost.read_text("utf-8"))
        return Cost(wall, cpu, peak / (1e6 if sys.platform == "darwin" else 1e3), began), printed


def summary(costs: Sequence[Cost], frames: int) -> dict[str, float]:
    """Medians over the turns; memory is the most of any."""
    wall, cpu = statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs)
    return {
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
        "wall_ms_per_frame": round(1000 * wall / frames, 3),
        "cpu_ms_per_frame": round(1000 * cpu / frames, 3),
        "frames_per_second": round(frames / wall, 1),
        "peak_mb": round(max(c.peak for c in costs), 1),
    }


def ratios(one: Sequence[Cost], other: Sequence[Cost]) -> dict[str, float]:
    """How often `one` takes what `other` takes: each turn for itself, so that a busy neighbour hurts both, then the
    median.

    Example:
        >>> ratios([Cost(3, 6), Cost(30, 60)], [Cost(2, 4), Cost(20, 40)])
        {'wall': 1.5, 'cpu': 1.5}
    """
    pairs = list(zip(one, other, strict=True))
    return {
        "wall": round(statistics.median(a.wall / b.wall for a, b in pairs), 3),
        "cpu": round(statistics.median(a.cpu / b.cpu for a, b in pairs), 3),
    }


def machine() -> dict[str, Any]:
    """What it ran on; the load average says whether the machine was its own."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text("utf-8").splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cpus": available_cpus(),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _gpu() -> str | None:
    try:
        return gpu()
    except MissingError:
        return None


def versions(ffmpeg: str | None = None) -> dict[str, str]:
    """Of everything that the figures depend on; `ffmpeg` is a program to ask."""
    found = {"iznet": VERSION, "python": platform.python_version()}
    if ffmpeg is not None:
        said = subprocess.run([ffmpeg, "-version"], capture_output=True, encoding="utf-8", check=True).stdout
        found["ffmpeg program"] = said.splitlines()[0].split()[2]
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def ffmpeg_program() -> str:
    """The `ffmpeg` that the wheel of imageio-ffmpeg carries.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import imageio_ffmpeg
    except ImportError:
        raise MissingError(
            f"the plain transcode is done by imageio-ffmpeg, which is not installed: {install('bench')}"
        ) from None
    return str(imageio_ffmpeg.get_ffmpeg_exe())
