"""Puts what was measured where people read it: goals and a picture into the README, all tables on this folder's page.

    iznet bench clip.mp4 -g people.gallery -o benchmarks/results.json --overwrite
    python -m benchmarks.results

Everything comes from the JSON files in `benchmarks/`; what stands between the marks in the pages is replaced. A goal
whose file is missing has not been measured, and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.help_text import shown
from engine.wording import count
from stream.bench import report
from stream.bench.plot import plot
from train.detector_text import replaced

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PAGE = HERE / "README.md"
PICTURE = HERE / "where.png"
LONG_ENOUGH = 10
"""Minutes of video from which the slope of the memory curve says anything about an hour."""
RESULT = HERE / "results.json"
FILES = {
    "720p": RESULT,
    "1080p": HERE / "results-1080p.json",
    "medium": HERE / "results-medium.json",
    "names": HERE / "names.json",
    "soak": HERE / "soak.json",
    "segments": HERE / "segments.json",
    "others": HERE / "others.json",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table."""

    work: str
    limit: float
    value: Callable[[dict[str, Any]], float]
    """What was measured, from all results by name; `KeyError` where it has not been."""
    unit: str
    most: bool = True
    """Whether the limit is the most, or else the least, that will do."""


def _wall(of: str, ratio: str) -> Callable[[dict[str, Any]], float]:
    return lambda results: float(results[of]["ratios"][ratio]["wall"])


def _surplus(part: str) -> Callable[[dict[str, Any]], float]:
    return lambda results: float(results["720p"]["surplus_cpu_ms_per_frame"][part])


def _faster(than: str) -> Callable[[dict[str, Any]], float]:
    return lambda results: float(results["others"]["faster_than"][than])


def _behind(results: dict[str, Any]) -> float:
    """Points of F1 that are lost to the slowest and surest way."""
    names = results["names"]
    return 100 * float(names["iznet label --every-frame --two-pass"]["f1"] - names["iznet label"]["f1"])


def _drift(results: dict[str, Any]) -> float:
    if results["soak"]["minutes_of_video"] < LONG_ENOUGH:
        raise KeyError("growth_mb_per_hour")
    return float(results["soak"]["growth_mb_per_hour"])


GOALS = (
    Goal("label, 720p, against the plain transcode", 1.10, _wall("720p", "label_to_transcode"), "× wall"),
    Goal("label, 1080p", 1.08, _wall("1080p", "label_to_transcode"), "× wall"),
    Goal("label, 720p, `--preset medium`", 1.08, _wall("medium", "label_to_transcode"), "× wall"),
    Goal("label `--no-video` against decoding alone", 1.9, _wall("720p", "record_to_decode"), "× wall"),
    Goal("CPU beyond the transcode, start-up included", 1.6, _surplus("total"), "ms a frame"),
    Goal("of that, outside networks, scaler and start-up", 0.6, _surplus("rest"), "ms a frame"),
    Goal("peak memory, a looped 1080p clip", 900, lambda r: float(r["soak"]["peak_mb"]), "MB"),
    Goal("growth of memory after the first minute", 10, _drift, "MB an hour"),
    Goal("start to first frame encoded", 1.5, lambda r: float(r["720p"]["label"]["first_frame_seconds"]), "s"),
    Goal("names right on the montage", 0.99, lambda r: float(r["names"]["iznet label"]["f1"]), "F1", most=False),
    Goal("behind `--every-frame --two-pass`", 0.5, _behind, "points of F1"),
    Goal("keeping the journal, against one long encode", 1.02, lambda r: float(r["segments"]["ratio"]["cpu"]), "× CPU"),
    Goal("faster than SCRFD-2.5G + EdgeFace, a loop", 7, _faster("scrfd"), "×", most=False),
    Goal("faster than YuNet-n + EdgeFace, a loop", 3, _faster("yunet"), "×", most=False),
    Goal("faster than face_recognition, a loop", 25, _faster("face_recognition"), "×", most=False),
)


def goals(results: dict[str, Any]) -> str:
    """The table of goals: what each is, what was measured, and whether it is reached."""
    rows = []
    for goal in GOALS:
        limit = f"{'≤' if goal.most else '≥'} {goal.limit:g} {goal.unit}"
        try:
            value = goal.value(results)
        except KeyError:
            rows.append((goal.work, limit, "not measured", ""))
            continue
        reached = value <= goal.limit if goal.most else value >= goal.limit
        rows.append((goal.work, limit, f"{value:.3g}" if value < 100 else f"{value:.0f}", "yes" if reached else "no"))
    return report.table(("work", "goal", "measured", "reached"), rows)


def stored() -> dict[str, Any]:
    """All results that are there, by name."""
    return {name: json.loads(path.read_text("utf-8")) for name, path in FILES.items() if path.is_file()}


def machines(results: dict[str, Any]) -> str:
    """Which processor each result comes from, most results first.

    Example:
        >>> one, other = ({"machine": {"cpu": cpu, "cpus": 2}} for cpu in "AB")
        >>> machines({"720p": one, "1080p": one})
        'On A, 2 CPUs'
        >>> machines({"720p": one, "soak": other, "1080p": one})
        'On A, 2 CPUs (720p, 1080p), and B, 2 CPUs (soak)'
    """
    by: dict[str, list[str]] = {}
    for name, result in results.items():
        machine = result["machine"]
        by.setdefault(f"{machine['cpu']}, {count(machine['cpus'], 'CPU')}", []).append(name)
    told = sorted(by.items(), key=lambda each: -len(each[1]))
    if len(told) == 1:
        return f"On {told[0][0]}"
    return "On " + ", and ".join(f"{machine} ({', '.join(names)})" for machine, names in told)


def texts(results: dict[str, Any]) -> dict[Path, str]:
    """Both pages as they should be."""
    table, measured = goals(results), results["720p"]
    short = (
        f"{machines(results)}; each ratio was taken within one run, against the faster of "
        "`ffmpeg` and PyAV with the same encoder settings. [All tables, and how they came about](benchmarks/README.md)."
        f"\n\n{table}\n\n![CPU time a frame, by command and by part of the work]"
        f"({PICTURE.relative_to(README.parent).as_posix()})"
    )
    readme = replaced(README.read_text("utf-8"), "speed", f"\n{short}\n", str(README))
    page = replaced(PAGE.read_text("utf-8"), "goals", f"\n{table}\n", str(PAGE))
    page = replaced(page, "speed", f"\n{report.text(measured)}\n", str(PAGE))
    return {README: readme, PAGE: page}


@click.command(help=shown(__doc__))
def main() -> None:
    results = stored()
    plot(results["720p"], PICTURE, overwrite=True)
    for path, text in texts(results).items():
        path.write_text(text, "utf-8")
        click.echo(path.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
