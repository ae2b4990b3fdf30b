"""What it costs that work is never lost: closed segments and their journal, against one long encode of the same.

    python -m benchmarks.segments clip.mp4 [-g people.gallery]

Both ways decode the same frames and write the same file, in turns; the ratio is that of the CPU of whole processes.
With a gallery, also what going on costs: the video is labelled to the middle, killed, and gone on with. The result goes
to `segments.json`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import click

from benchmarks.help_text import shown
from stream.bench.costs import Cost, machine, ratios, run, summary, versions
from stream.encoding import EncoderSettings
from stream.joining import join
from stream.labelled_copy import work_folder
from stream.segments import SegmentWriter
from stream.source import FileSource

RESULT = Path(__file__).with_suffix(".json")
LONG = 1 << 30
"""Frames a segment: one encoder for all."""


def encode(video: Path, output: Path, length: int | None, limit: int | None) -> int:
    """The video once more, in segments of `length` frames; how many frames there were."""
    with FileSource(video) as source:
        writer = SegmentWriter(work_folder(output), source, EncoderSettings("x264", "veryfast", 20), length)
        frames = 0
        for frame in islice(source.frames(), limit):
            writer.write(frame, b"what a face takes: a box of four numbers, a name")
            frames += 1
        join(writer.finish(), video, output, plan=writer.plan, overwrite=True, partial=limit is not None)
        writer.work.remove()
    return frames


def gone_on_with(video: Path, gallery: Path, folder: Path) -> dict[str, Any]:
    """Label, be killed when half of the segments are finished, go on; against labelling at one go. CPU seconds."""
    output = folder / f"out{video.suffix}"
    words = [sys.executable, "-m", "tools", "label", str(video), "-g", str(gallery), "-o", str(output), "--json"]
    whole, printed = run([*words, "--overwrite"])
    frames = json.loads(printed)["frames"]
    output.unlink()
    (folder / "out.tracks.jsonl").unlink()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(work_folder(output).glob("[0-9]*.json"))) < frames // 500:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = 250 * len(list(work_folder(output).glob("[0-9]*.json")))
    rest, _ = run([*words, "--resume"])
    done = whole.cpu * finished / frames
    again = rest.cpu - (whole.cpu - done)
    return {
        "frames": frames,
        "finished_before": finished,
        "at_one_go_cpu_seconds": round(whole.cpu, 2),
        "going_on_cpu_seconds": round(rest.cpu, 2),
        "share_of_the_finished_part_done_again": round(again / (whole.cpu * finished / frames), 3)
        if finished
        else None,
    }


@click.command(help=shown(__doc__))
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-g", "--gallery", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--frames", type=click.IntRange(1), default=None, help="Stop after so many.")
@click.option(
    "--one", type=click.Path(path_type=Path), default=None, hidden=True, help="A single encode, to be measured."
)
@click.option("--length", type=int, default=None, hidden=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(
    video: Path,
    gallery: Path | None,
    repeats: int,
    frames: int | None,
    one: Path | None,
    length: int | None,
    output: Path,
) -> None:
    if one is not None:
        click.echo(encode(video, one, length, frames))
        return
    host = machine()
    with tempfile.TemporaryDirectory(prefix="iznet-segments-", dir=os.environ.get("TMPDIR")) as name:
        copy = Path(name, f"copy{video.suffix}")
        words = [sys.executable, "-m", "benchmarks.segments", str(video), "--one", str(copy)]
        words += ["--frames", str(frames)] if frames else []
        ways = {"segments": words, "one encode": [*words, "--length", str(LONG)]}
        costs: dict[str, list[Cost]] = {way: [] for way in ways}
        sizes, count = dict.fromkeys(ways, 0), 0
        for turn in range(repeats):
            for way, command in ways.items():
                cost, printed = run(command)
                costs[way].append(cost)
                count, sizes[way] = int(printed), copy.stat().st_size
                click.echo(f"{turn + 1}/{repeats} {way}: CPU {cost.cpu:.2f} s, {cost.wall:.2f} s", err=True)
        resumed = gone_on_with(video, gallery, Path(name)) if gallery is not None else None
    result = {
        "video": video.name,
        "frames": count,
        "machine": host,
        "versions": versions(),
        **{way: summary(taken, count) | {"bytes": sizes[way]} for way, taken in costs.items()},
        "ratio": ratios(costs["segments"], costs["one encode"]),
        "resumed": resumed,
    }
    output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    click.echo(json.dumps({key: result[key] for key in ("ratio", "resumed")}))


if __name__ == "__main__":
    main()
