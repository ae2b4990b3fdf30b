"""How many names are right on a video whose panels are known, as it is labelled by default and in the surest way.

    python -m benchmarks.names montage.mp4 --truth truth.json -g people.gallery

Names are judged as drawn, by the panels their faces lie in (see `stream.accuracy`). The result goes to `names.json`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.help_text import shown
from stream.accuracy import name_accuracy, read_panels
from stream.bench.costs import machine, run, versions
from stream.tracks import read

RESULT = Path(__file__).with_suffix(".json")
WAYS = {"iznet label": [], "iznet label --every-frame --two-pass": ["--every-frame", "--two-pass"]}


def judged(video: Path, truth: Path, gallery: Path, more: list[str]) -> dict[str, Any]:
    """Label the video and judge the names that were drawn."""
    with tempfile.TemporaryDirectory(prefix="iznet-names-") as folder:
        record, out = Path(folder, "out.tracks.jsonl"), Path(folder, f"out{video.suffix}")
        files = ["-o", str(out), "--tracks", str(record)]
        words = [str(video), "-g", str(gallery), "--json", "--preset", "ultrafast"]
        printed = json.loads(run([sys.executable, "-m", "tools", "label", *words, *files, *more])[1])
        shown = name_accuracy(read(record, drawn=True), read_panels(truth)).as_json()
    looks = printed["networks"]["detector"]["inferences"] / printed["frames"]
    return {**shown, "frames": printed["frames"], "detector_inferences_per_frame": round(looks, 3)}


@click.command(help=shown(__doc__))
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--truth", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("-g", "--gallery", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(video: Path, truth: Path, gallery: Path, output: Path) -> None:
    result: dict[str, Any] = {"video": video.name, "machine": machine(), "versions": versions()}
    for way, more in WAYS.items():
        result[way] = judged(video, truth, gallery, more)
        click.echo(f"{way}: F1 {result[way]['f1']:.4f}")
    output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
