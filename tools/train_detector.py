"""`iznet train detector` and `iznet train eval-detector`."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from engine.errors import InterruptedByUser
from train.models.detector import ARCHITECTURES

PRECISION = 0.95
"""Wanted on the dev part at the default threshold, for faces of 16 px and more."""


@click.command("detector")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Box set: zip or folder with boxes.json.")
@click.option("--unlabelled", type=click.Path(path_type=Path), help="Pictures for pseudo-labels: zip or folder.")
@click.option("--portraits", type=click.Path(path_type=Path), help="Archive of aligned face crops to paste from.")
@click.option(
    "--teachers",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder: yunet_n.onnx, centerface.onnx.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/detector"), show_default=True)
@click.option("--arch", default="small", show_default=True, help=f"One of {', '.join(ARCHITECTURES)}.")
@click.option("--steps", type=click.IntRange(1), default=12_000, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--decay-from", type=click.FloatRange(0, 1, max_open=True), help="Part of the steps at full rate.")
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Folder for the ONNX, when done.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
def detector(
    data: Path,
    unlabelled: Path | None,
    portraits: Path | None,
    teachers: Path,
    out: Path,
    arch: str,
    steps: int,
    seed: int,
    threads: int,
    decay_from: float | None,
    export_to: Path | None,
    resume: bool,
) -> None:
    """Train the face detector; every run resumes from its last checkpoint."""
    import tensorflow as tf

    from train.detector import Recipe, dev_curves, load_data, train_detector
    from train.detector_eval import threshold_for
    from train.detector_export import export_detector

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    recipe = Recipe(arch=arch, steps=steps, seed=seed)
    if decay_from is not None:
        recipe = replace(recipe, decay_from=decay_from)
    pictures = load_data(data, unlabelled, teachers, out / "teachers", recipe, click.echo, portraits)
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    trainer = train_detector(pictures, recipe, out, resume=resume, say=click.echo)
    if export_to is not None:
        curve = dev_curves(trainer.predict, pictures.dev, minimum=(16,))[16]
        threshold = round(threshold_for(curve, PRECISION), 2)
        precision, recall = curve.at(threshold)
        digest = export_detector(trainer.average, export_to, threshold=threshold)
        click.echo(
            f"{export_to / 'detector.onnx'}: {digest[:16]}…, threshold {threshold} "
            f"(dev part: AP {curve.ap:.3f}, precision {precision:.3f}, recall {recall:.3f})"
        )


def _stop(number: int, _: object) -> NoReturn:
    """End at the next instruction; the trainer writes its checkpoint on the way out."""
    raise InterruptedByUser("stopped; the checkpoint is written, go on with --resume")


@click.command("eval-detector")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Box set: zip or folder with boxes.json.")
@click.option("--detector", "model", type=click.Path(path_type=Path), help="ONNX file.  [default: the shipped one]")
@click.option("--teachers", type=click.Path(path_type=Path), help="Folder of rival networks to put beside it.")
@click.option("--size", type=click.IntRange(64), multiple=True, default=(640,), show_default=True)
@click.option("--dev", is_flag=True, help="Only the part that training kept aside; for choices.")
@click.option("--sheet", type=click.Path(path_type=Path), help="PNG of hits and misses.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write the table there.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable result.")
def eval_detector(
    data: Path,
    model: Path | None,
    teachers: Path | None,
    size: tuple[int, ...],
    dev: bool,
    sheet: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Average precision of a detector, by face size, with rivals on the same pictures."""
    import json

    from train.detector_report import evaluate

    report = evaluate(
        data, model, teachers, sizes=size, dev=dev, sheet=sheet, say=lambda text: click.echo(text, err=True)
    )
    if markdown is not None:
        report.write_markdown(markdown)
    click.echo(json.dumps(report.as_json(), indent=1) if as_json else report.as_markdown())
