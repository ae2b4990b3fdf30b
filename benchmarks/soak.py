"""Memory over a long labelling: a clip that is looped for so many minutes of video, the memory curve as PNG and JSON.

    python -m benchmarks.soak street_1080p.mp4 -g people.gallery --minutes 60

The clip's packets are repeated without encoding them anew. Resident memory of the labelling process is read twice a
second. The result goes to `soak.json` and `soak.png`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from benchmarks.help_text import shown
from stream.bench.costs import ffmpeg_program, machine, run, versions
from stream.bench.drawing import FAINT, INK, PALE, Line, Shape, Text, paint
from stream.styles import PALETTE

RESULT = Path(__file__).with_suffix(".json")
WARM = 60.0
"""Seconds after which memory is to stay as it is."""
DROP = 0.02
"""By what part a minute lies under the one before where memory was taken back."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 1280, 480, 90, 90, 40, 60


def looped(clip: Path, minutes: float, output: Path) -> None:
    """The clip again and again, packet by packet, for so many minutes."""
    words = [ffmpeg_program(), "-loglevel", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i", str(clip)]
    run([*words, "-map", "0:v:0", "-c", "copy", "-t", f"{60 * minutes:g}", str(output)])


def watch(command: list[str], every: float = 0.5) -> tuple[list[tuple[float, float]], dict[str, Any]]:
    """Run the command: (seconds, resident MB) over its life, and the JSON object it printed."""
    import psutil

    curve = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        started = time.perf_counter()
        process = psutil.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            try:
                curve.append((round(time.perf_counter() - started, 2), round(process.memory_info().rss / 1e6, 1)))
            except psutil.NoSuchProcess:
                break
            time.sleep(every)
        code = process.wait()
        out.seek(0)
        printed = out.read()
    if code:
        raise click.ClickException(f"{' '.join(command)} ended with {code}: {printed.strip()}")
    return curve, json.loads(printed)


def growth(curve: list[tuple[float, float]], warm: float = WARM) -> float:
    """MB an hour of the run, by least squares over the highest values of the minutes after the warm-up; 0 where too
    little is left.

    Where a minute stays far under the one before, the system has taken back memory that was not in use (a busy one
    does); that is no merit of the program, so before and after it one slope is fitted at two heights.

    Example:
        >>> growth([(t, 300 + t / 3600) for t in range(0, 600, 10)])
        1.0
        >>> growth([(t, (300 if t < 300 else 200) + t / 3600) for t in range(0, 600, 10)])
        1.0
    """
    highest: dict[int, float] = {}
    for seconds, mb in curve:
        if seconds >= warm:
            highest[int(seconds // 60)] = max(mb, highest.get(int(seconds // 60), 0.0))
    minutes = sorted(highest)
    drops = [n for n, (a, b) in enumerate(pairwise(minutes), 1) if highest[b] < (1 - DROP) * highest[a]]
    along = across = 0.0
    for stretch in np.split(np.array(minutes, int), drops):
        if len(stretch):
            hours, values = stretch / 60 - np.mean(stretch / 60), np.array([highest[m] for m in stretch.tolist()])
            along, across = along + float(hours @ (values - values.mean())), across + float(hours @ hours)
    return round(along / across, 2) if across else 0.0


def picture(curve: list[tuple[float, float]], title: str) -> Image.Image:
    """The curve, minutes and MB."""
    times, values = np.array(curve).T
    most, last = float(values.max()) * 1.1, max(float(times[-1]), 1.0)

    def at(seconds: float, mb: float) -> tuple[float, float]:
        x = _LEFT + seconds / last * (_WIDTH - _LEFT - _RIGHT)
        return x, _HEIGHT - _BOTTOM - mb / most * (_HEIGHT - _TOP - _BOTTOM)

    shapes: list[Shape] = [Text(24, 34, title, 24)]
    step = next(s for s in (50, 100, 200, 500, 1000, 2000, 5000, 10**6) if most / s <= 8)
    for mb in range(0, int(most) + 1, step):
        (x1, y), (x2, _) = at(0, mb), at(last, mb)
        shapes += [Line(((x1, y), (x2, y)), PALE, 1), Text(x1 - 10, y, f"{mb} MB", 16, FAINT, "right")]
    tick = next(s for s in (10, 30, 60, 300, 600, 1800, 10**6) if last / s <= 12)
    for seconds in range(0, int(last) + 1, tick):
        x, y = at(seconds, 0)
        label = f"{seconds / 60:g} min" if tick >= 60 else f"{seconds} s"
        shapes.append(Text(x, y + 22, label, 16, INK, "middle"))
    shapes.append(Line(tuple(at(t, mb) for t, mb in curve), PALETTE[0], 3))
    return Image.fromarray(paint(_WIDTH, _HEIGHT, shapes))


@click.command(help=shown(__doc__))
@click.argument("clip", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-g", "--gallery", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Of video.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(clip: Path, gallery: Path | None, minutes: float, output: Path) -> None:
    host = machine()
    with tempfile.TemporaryDirectory(prefix="iznet-soak-") as name:
        video = Path(name, "long.mp4")
        looped(clip, minutes, video)
        words = [sys.executable, "-m", "tools", "label", str(video), "-o", str(Path(name, "out.mp4")), "--json"]
        curve, printed = watch([*words, *(["-g", str(gallery)] if gallery else [])])
    peak = max(mb for _, mb in curve)
    result = {
        "clip": clip.name,
        "minutes_of_video": minutes,
        "frames": printed["frames"],
        "frames_per_second": printed["fps"],
        "machine": host,
        "versions": versions(),
        "peak_mb": peak,
        "after_warm_up_mb": next((mb for seconds, mb in curve if seconds >= WARM), None),
        "growth_mb_per_hour": growth(curve),
        "curve": curve,
    }
    output.write_text(json.dumps(result) + "\n", "utf-8")
    title = (
        f"{minutes:g} minutes of {clip.name}, labelled: at most {peak:.0f} MB, {result['growth_mb_per_hour']:+g} MB/h"
    )
    picture(curve, title).save(output.with_suffix(".png"))
    click.echo(title)


if __name__ == "__main__":
    main()
