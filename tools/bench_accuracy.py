"""`iznet bench accuracy`: a record, or a video analysed on the spot, against truth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import InputError, UsageError
from tools.copy_options import refuse
from tools.options import FILE, EngineOptions, Number, engine_options
from tools.progress import FrameProgress

if TYPE_CHECKING:
    from stream.accuracy import NameAccuracy, TrackAccuracy

RECORD = ".jsonl"
_OF_VIDEOS = (
    *("gallery", "lookahead", "every_frame"),
    *("device", "backend", "precision", "detector", "embedder", "size", "threads"),
)
"""What has no meaning for a record: it was decided when that was made."""
Judge = Callable[[Path], "dict[str, NameAccuracy] | dict[str, TrackAccuracy]"]
"""What the truth has to say of a record, by kind: `drawn` and `final` names, or `tracks`."""


@click.command("accuracy")
@click.argument("source", type=FILE)
@click.option("--truth", type=FILE, required=True, help="Panels (.json) or boxes (MOT Challenge .txt).")
@click.option("-g", "--gallery", type=FILE, help="Whom to name, when SOURCE is a video.")
@click.option("--lookahead", type=Number(0), default=2.0, show_default=True, help="Seconds, for a video.")
@click.option("--every-frame", is_flag=True, help="Look for faces on every frame of a video.")
@click.option("--minimum", type=Number(0), default=0.0, help="Boxes: leave out found faces under N pixels.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
@engine_options
@click.pass_context
def accuracy(
    context: click.Context,
    source: Path,
    truth: Path,
    gallery: Path | None,
    lookahead: float,
    every_frame: bool,
    minimum: float,
    as_json: bool,
    engine: EngineOptions,
) -> None:
    """Judge SOURCE, a video or a tracks file (.jsonl), against truth.

    Panel truth says who stands where on the screen; it gives name precision, recall and F1 per visible face-frame, for
    the names as drawn and for the final verdicts. Box truth gives IDF1 and HOTA of the tracks.
    """
    if source.suffix == RECORD:
        refuse(context, _OF_VIDEOS, f"for {source}, which is a record already")
    if truth.suffix not in (".json", ".txt"):
        raise UsageError(f"--truth {truth}: give panels as .json or boxes as MOT Challenge .txt")
    if truth.suffix == ".json":
        refuse(context, ("minimum",), "for panels")
    judge = _judge(truth, minimum)
    if source.suffix == RECORD:
        result = judge(source)
    else:
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "run.tracks.jsonl"
            analyse(source, record, gallery, lookahead, engine, every_frame=every_frame, quiet=as_json)
            result = judge(record)
    if as_json:
        click.echo(json.dumps({kind: value.as_json() for kind, value in result.items()}))
        return
    for kind, value in result.items():
        click.echo(_line(kind, value))


def analyse(
    source: Path,
    record: Path,
    gallery: Path | None,
    lookahead: float,
    engine: EngineOptions,
    *,
    every_frame: bool = False,
    quiet: bool,
) -> None:
    """Write the record of a video, and no video."""
    from stream.label import label_video

    with FrameProgress(source.name, quiet=quiet) as progress:
        label_video(
            source,
            gallery=gallery,
            detector=partial(engine.open_detector, video=True),
            embedder=partial(engine.open_embedder, video=True),
            tracks=record,
            video=False,
            progress=progress,
            lookahead=lookahead,
            every_frame=every_frame,
        )


def _judge(truth: Path, minimum: float) -> Judge:
    """Read the truth, which comes before any work: how it judges a record."""
    from stream.accuracy import box_accuracy, name_accuracy, read_mot, read_panels
    from stream.tracks import read

    if truth.suffix == ".txt":
        boxes = read_mot(truth)
        if not boxes:
            raise InputError(f"{truth}: holds no box to judge by")
        return lambda record: {"tracks": box_accuracy(read(record), boxes, minimum)}
    shots = read_panels(truth)
    if not shots:
        raise InputError(f"{truth}: holds no shot to judge by")  # else nothing is wrong, and F1 is 1
    return lambda record: {
        "drawn": name_accuracy(read(record, drawn=True), shots),
        "final": name_accuracy(read(record), shots),
    }


def _line(kind: str, value: Any) -> str:
    figures = value.as_json()
    if kind == "tracks":
        return "tracks: " + " · ".join(f"{name} {number:.3f}" for name, number in figures.items())
    parts = [
        f"{kind} names: F1 {figures['f1']:.4f}",
        f"precision {figures['precision']:.4f}",
        f"recall {figures['recall']:.4f}",
        f"wrong {figures['wrong']}",
        f"strangers named {figures['strangers']}",
        f"outside a panel {figures['stray']}",
        f"switches {figures['switches']}",
        f"tracks over a cut {figures['across_cuts']}",
        f"without a face {figures['unseen']} of {figures['visible']} face-frames",
    ]
    return " · ".join(parts)
