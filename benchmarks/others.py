"""Labelling against labelling as others write it, in turns, with the plain transcode beside it.

    python -m benchmarks.others clip.mp4 -g people.gallery --people members/ --scrfd scrfd_2.5g.onnx \\
        --yunet yunet_n.onnx --edgeface edgeface_xs.onnx --montage montage.mp4 --truth truth.json

`clip.mp4` is for speed: `iznet label` and the plain transcode run whole, the loops of `benchmarks/loops.py` as many
frames as are given, their enrolment and start left out of their time. The montage is for names: F1 of what is drawn,
of the loops on every `--step`th frame. A loop whose network or package is not here is left out, and said. The result
goes to `others.json`; what is not measured this time, names without a montage or speed with `--repeats 0`, stays.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.help_text import shown
from benchmarks.loops import LOOPS
from benchmarks.names import judged
from stream.bench.costs import ffmpeg_program, machine, run, versions
from stream.bench.report import table

RESULT = Path(__file__).with_suffix(".json")
OURS, PLAIN = "iznet label", "ffmpeg transcode"
FILE = click.Path(exists=True, path_type=Path)


@click.command(help=shown(__doc__))
@click.argument("video", type=FILE)
@click.option("-g", "--gallery", type=FILE, required=True)
@click.option("--people", type=FILE, required=True, help="The photos that the gallery was made of.")
@click.option("--scrfd", type=FILE, default=None)
@click.option("--yunet", type=FILE, default=None)
@click.option("--edgeface", type=FILE, default=None)
@click.option("--montage", type=FILE, default=None)
@click.option("--truth", type=FILE, default=None)
@click.option("--repeats", type=click.IntRange(0), default=3, show_default=True)
@click.option("--frames", type=click.IntRange(1), default=150, show_default=True, help="Of each loop, a turn.")
@click.option("--step", type=click.IntRange(1), default=20, show_default=True)
@click.option("--threads", type=click.IntRange(0), default=0, show_default=True, help="Of the loops' networks.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(
    video: Path,
    gallery: Path,
    people: Path,
    scrfd: Path | None,
    yunet: Path | None,
    edgeface: Path | None,
    montage: Path | None,
    truth: Path | None,
    repeats: int,
    frames: int,
    step: int,
    threads: int,
    output: Path,
) -> None:
    detectors = {"scrfd": scrfd, "yunet": yunet}
    here: list[str] = []
    absent: list[str] = []
    for loop in LOOPS:
        if loop == "face_recognition":
            there = importlib.util.find_spec("face_recognition") is not None
        else:
            there = detectors[loop] is not None and edgeface is not None
        (here if there else absent).append(loop)
    for loop in absent:
        click.echo(f"{loop} is left out: its networks were not named or its package is not installed", err=True)

    earlier: dict[str, Any] = json.loads(output.read_text("utf-8")) if output.is_file() else {}
    result: dict[str, Any] = {
        "clip": video.name,
        "settings": {"repeats": repeats, "frames": frames, "step": step, "threads": threads or "all", "crf": 20},
        "machine": machine(),
    }
    ffmpeg = ffmpeg_program()
    speeds: dict[str, list[float]] = {name: [] for name in (PLAIN, OURS, *here)}
    names: dict[str, float] = earlier.get("names_f1", {})
    with tempfile.TemporaryDirectory(prefix="iznet-others-") as folder:
        out, record = Path(folder, f"out{video.suffix}"), Path(folder, "out.tracks.jsonl")
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-c:a", "copy", str(out)]
        plain = [ffmpeg, "-loglevel", "error", "-nostdin", "-y", "-i", str(video), *coded]
        ours = [sys.executable, "-m", "tools", "label", str(video), "-g", str(gallery), "-o", str(out)]
        ours += ["--tracks", str(record), "--json", "--overwrite", "--encoder", "x264"]

        def loop_command(loop: str, clip: Path, *more: str) -> list[str]:
            networks = [] if loop == "face_recognition" else ["--detector", str(detectors[loop])]
            networks += ["--embedder", str(edgeface)] if edgeface is not None else []
            words = [sys.executable, "-m", "benchmarks.loops", loop, str(clip), str(Path(folder, "loop.mp4"))]
            return [*words, "--people", str(people), *networks, "--threads", str(threads), *more]

        for turn in range(repeats):
            cost, printed = run(ours)
            count = json.loads(printed)["frames"]
            speeds[OURS].append(count / cost.wall)
            speeds[PLAIN].append(count / run(plain)[0].wall)
            for loop in here:
                done = json.loads(run(loop_command(loop, video, "--frames", str(frames)))[1])
                speeds[loop].append(done["frames"] / done["seconds"])
            click.echo(f"{turn + 1}/{repeats} {', '.join(f'{k} {v[-1]:.1f}' for k, v in speeds.items())}", err=True)
        if montage is not None and truth is not None:
            names[OURS] = judged(montage, truth, gallery, [])["f1"]
            for loop in here:
                given = ("--truth", str(truth), "--step", str(step))
                names[loop] = json.loads(run(loop_command(loop, montage, *given))[1])["names"]["f1"]
    if repeats:
        result["frames_per_second"] = {name: round(statistics.median(taken), 2) for name, taken in speeds.items()}
        # Turn by turn, so that a busy neighbour hurts both sides.
        pairs = {loop: zip(speeds[OURS], speeds[loop], strict=True) for loop in here}
        faster = {loop: round(statistics.median(a / b for a, b in both), 2) for loop, both in pairs.items()}
        result["faster_than"] = faster
    else:
        result |= {
            key: earlier.get(key, {}) for key in ("clip", "settings", "machine", "frames_per_second", "faster_than")
        }
    result["names_f1"] = names
    result["absent"] = absent
    result["versions"] = versions(ffmpeg)
    output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    click.echo(text(result))


def text(result: dict[str, Any]) -> str:
    """The result as a table."""
    columns = (("frames_per_second", "{:.1f}"), ("faster_than", "{:.1f} ×"), ("names_f1", "{:.3f}"))
    rows = [
        (name, *(shown.format(result[key][name]) if name in result[key] else "" for key, shown in columns))
        for name in dict.fromkeys([*result["frames_per_second"], *result["names_f1"]])
    ]
    return table(("", "frames a second", "iznet label is faster", "name F1"), rows)


if __name__ == "__main__":
    main()
