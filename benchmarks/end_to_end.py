"""What labelling costs next to a plain transcode of the same file with the same encoder settings.

    python benchmarks/end_to_end.py clip.mp4 --gallery people.gallery --repeats 5

Five commands take turns, so that a busy neighbour hurts all of them alike: `ffmpeg` decoding only, `ffmpeg`
transcoding, `iznet label --no-video`, `iznet label`, and `iznet label` of one frame as a photo, which is start-up and
little else. CPU is that of the whole process with all its threads, from `wait4`; medians are reported. Differences
between the commands give the cost by part; the stage table is what the pipeline's own clock saw. The result goes to
`end_to_end.json`, and with `--readme` as a table into the README.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
BEGIN, END = "<!-- end_to_end: begin -->", "<!-- end_to_end: end -->"
START_UP = "iznet label of one photo"
LIBRARIES = ("av", "openvino", "opencv-python-headless", "numpy", "numba")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all threads, user and system."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What both sides encode with."""

    encoder: str = "x264"
    preset: str = "veryfast"
    crf: int = 20


FFMPEG_NAMES = {"x264": "libx264", "x265": "libx265", "svtav1": "libsvtav1"}


def run(command: Sequence[str]) -> tuple[Cost, str]:
    """Run a command to its end; its cost and what it printed on stdout. Fails loudly where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}:\n{err.read()[-2000:]}")
        return Cost(wall, usage.ru_utime + usage.ru_stime), out.read()


def measure(video: Path, gallery: Path | None, settings: Settings, repeats: int) -> dict[str, Any]:
    """Run the four commands in turns and gather medians."""
    import imageio_ffmpeg

    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    codec = ["-c:v", FFMPEG_NAMES[settings.encoder], "-preset", settings.preset, "-crf", str(settings.crf)]
    with tempfile.TemporaryDirectory(prefix="iznet-bench-") as folder:
        out, record = Path(folder, f"out{video.suffix}"), Path(folder, "out.tracks.jsonl")
        label = [sys.executable, "-m", "tools", "label", str(video), "--tracks", str(record), "--overwrite", "--json"]
        label += ["--gallery", str(gallery)] if gallery else []
        still = Path(folder, "still.png")
        run([*ffmpeg, "-i", str(video), "-frames:v", "1", str(still)])
        encoder = ["--encoder", settings.encoder, "--preset", settings.preset, "--crf", str(settings.crf)]
        commands = {
            "ffmpeg decode": [*ffmpeg, "-i", str(video), "-map", "0:v:0", "-f", "null", "-"],
            "ffmpeg transcode": [*ffmpeg, "-i", str(video), "-map", "0", "-c", "copy", *codec, str(out)],
            "iznet label --no-video": [*label, "--no-video"],
            "iznet label": [*label, "-o", str(out), *encoder],
            START_UP: [str(still) if word == str(video) else word for word in label] + ["--no-video"],
        }
        run(commands["iznet label --no-video"])  # compiles what is compiled once, fills the file cache
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for turn in range(repeats):
            for name, command in commands.items():
                cost, printed = run(command)
                costs[name].append(cost)
                if printed:
                    results[name].append(json.loads(printed))
                click.echo(f"{turn + 1}/{repeats} {name}: {cost.wall:.1f} s, CPU {cost.cpu:.1f} s", err=True)
    frames = results["iznet label"][0]["frames"]
    return {
        "video": video.name,
        "frames": frames,
        "settings": asdict(settings),
        "gallery": gallery is not None,
        "repeats": repeats,
        "machine": machine(),
        "versions": versions(ffmpeg[0]),
        "commands": {name: _summary(taken, frames) for name, taken in costs.items() if name != START_UP},
        "startup": _startup(costs[START_UP]),
        "stages": _stages([result["stages"] for result in results["iznet label"]], frames),
        "label_fps": round(statistics.median(result["fps"] for result in results["iznet label"]), 1),
        "ratio": _ratios(costs["iznet label"], costs["ffmpeg transcode"]),
        "ratio_without_startup": _ratios(
            [Cost(a.wall - b.wall, a.cpu - b.cpu) for a, b in zip(costs["iznet label"], costs[START_UP], strict=True)],
            costs["ffmpeg transcode"],
        ),
    }


def _startup(costs: list[Cost]) -> dict[str, float]:
    return {
        "wall_seconds": round(statistics.median(c.wall for c in costs), 2),
        "cpu_seconds": round(statistics.median(c.cpu for c in costs), 2),
    }


def _summary(costs: list[Cost], frames: int) -> dict[str, float]:
    wall, cpu = statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs)
    return {
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "cpu_ms_per_frame": round(1000 * cpu / frames, 2),
        "frames_per_second": round(frames / wall, 1),
    }


def _ratios(label: list[Cost], transcode: list[Cost]) -> dict[str, float]:
    """Each run against its neighbour in the same turn, then the median."""
    pairs = list(zip(label, transcode, strict=True))
    return {
        "wall": round(statistics.median(a.wall / b.wall for a, b in pairs), 2),
        "cpu": round(statistics.median(a.cpu / b.cpu for a, b in pairs), 2),
    }


def _stages(runs: list[dict[str, dict[str, float]]], frames: int) -> dict[str, dict[str, float]]:
    """Median over the runs, milliseconds a frame."""
    return {
        name: {
            "calls": runs[0][name]["calls"],
            "cpu_ms_per_frame": round(statistics.median(r[name]["cpu_ms"] for r in runs) / frames, 3),
            "wall_ms_per_frame": round(statistics.median(r[name]["wall_ms"] for r in runs) / frames, 3),
        }
        for name in runs[0]
    }


def machine() -> dict[str, Any]:
    """What it ran on; the load average says whether the machine was its own."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions(ffmpeg: str) -> dict[str, str]:
    """Of everything that the figures depend on."""
    from importlib.metadata import version

    first = subprocess.run([ffmpeg, "-version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {
        "iznet": version("iznet"),
        "python": platform.python_version(),
        "ffmpeg program": first.split()[2],
        **{name: version(name) for name in LIBRARIES},
    }


def table(result: dict[str, Any]) -> str:
    """The README's table."""
    settings, commands, host = result["settings"], result["commands"], result["machine"]
    ratio, bare = result["ratio"], result["ratio_without_startup"]
    lines = [
        f"{result['frames']} frames of {result['video']}, {settings['encoder']} {settings['preset']} "
        f"crf {settings['crf']} on both sides, medians of {result['repeats']} runs in turns "
        f"({host['cpu']}, {host['cpus']} CPUs, load {host['load_before']} before):",
        "",
        "| command | CPU-ms a frame | frames a second |",
        "|---|---:|---:|",
    ]
    for name, cost in commands.items():
        lines.append(f"| `{name}` | {cost['cpu_ms_per_frame']:.2f} | {cost['frames_per_second']:.0f} |")
    lines += [
        "",
        f"Labelling takes **{bare['cpu']:.2f} ×** the CPU and **{bare['wall']:.2f} ×** the time of the plain "
        f"transcode, and {result['startup']['cpu_seconds']:.1f} s of CPU to start up ({ratio['cpu']:.2f} × and "
        f"{ratio['wall']:.2f} × with it, on a clip this short).",
        "",
        "| stage of `iznet label` | calls | CPU-ms a frame | wall ms a frame |",
        "|---|---:|---:|---:|",
    ]
    for name, stage in result["stages"].items():
        lines.append(
            f"| {name} | {stage['calls']:.0f} | {stage['cpu_ms_per_frame']:.2f} | {stage['wall_ms_per_frame']:.2f} |"
        )
    lines += ["", "A stage's CPU is that of its own thread; a library's helper threads count in the first table only."]
    return "\n".join(lines)


def insert(readme: str, text: str) -> str:
    """The README with `text` between its two marks."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise click.ClickException(f"the README lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


@click.command(help=__doc__)
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("-g", "--gallery", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--encoder", type=click.Choice(list(FFMPEG_NAMES)), default="x264", show_default=True)
@click.option("--preset", default="veryfast", show_default=True)
@click.option("--crf", type=int, default=20, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
@click.option("--readme", is_flag=True, help="Put the table into README.md; without VIDEO, from the stored result.")
def main(
    video: Path | None,
    gallery: Path | None,
    encoder: str,
    preset: str,
    crf: int,
    repeats: int,
    output: Path,
    readme: bool,
) -> None:
    if video is not None:
        result = measure(video.resolve(), gallery and gallery.resolve(), Settings(encoder, preset, crf), repeats)
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    elif readme:
        result = json.loads(output.read_text("utf-8"))
    else:
        raise click.UsageError("name a video, or --readme to write the stored result into the README")
    click.echo(table(result))
    if readme:
        page = ROOT / "README.md"
        page.write_text(insert(page.read_text("utf-8"), table(result)), encoding="utf-8")


if __name__ == "__main__":
    main()
