"""`iznet train detector`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from engine.errors import UsageError
from tools.options import Number, bfloat16_option, check_mix, mix_option, workers_option
from tools.train import SEED
from tools.train_one_grid import train_one_grid
from train.architectures import DETECTORS, ONE_GRID

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
@click.option("--arch", default="small", show_default=True, help=f"One of {', '.join(DETECTORS)}.")
@click.option("--steps", type=click.IntRange(1), help="Training steps.  [default: the architecture's recipe]")
@click.option("--seed", type=SEED, default=7, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@bfloat16_option
@workers_option
@click.option("--decay-from", type=Number(0, 1, max_open=True), help="Part of the steps at full rate.")
@click.option("--learning-rate", type=Number(0, min_open=True), help="The highest.")
@click.option(
    "--gentle-from",
    type=Number(0, 1),
    help="Part of the steps after which pictures are changed but little; 0: all, to go on from --warm-start.  "
    "[default: the architecture's recipe]",
)
@click.option(
    "--warm-start",
    type=click.Path(path_type=Path),
    help="A detector.keras of --arch to begin with; for yunet also the libfacedetection.so of the package yuface.",
)
@mix_option
@click.option(
    "--remember",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A detector.keras of any multi-scale --arch, or that libfacedetection.so, whose answers are kept to on all "
    "that is not told better. May be given more than once; YuNet-n is then not asked about canvases.",
)
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Folder for the ONNX, when done.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--show-batch", type=click.Path(path_type=Path), help="Only draw training canvases there (PNG), and end.")
def detector(
    data: Path,
    unlabelled: Path | None,
    portraits: Path | None,
    teachers: Path,
    out: Path,
    arch: str,
    steps: int | None,
    seed: int,
    threads: int,
    bfloat16: bool,
    workers: int,
    decay_from: float | None,
    learning_rate: float | None,
    gentle_from: float | None,
    warm_start: Path | None,
    mixed: float,
    remember: tuple[Path, ...],
    export_to: Path | None,
    resume: bool,
    show_batch: Path | None,
) -> None:
    """Train a face detector; one that was stopped goes on with --resume.

    The box set's boxes.json is a list of its pictures, with the corners of their boxes in pixels; "ignore" may be left
    out. Sixty pictures are kept aside to measure on, so there have to be more.

    \b
        [{"image": "a.jpg", "boxes": [[x1, y1, x2, y2], …], "ignore": [false, …]}, …]

    Without a boxes.json, label files beside the pictures are taken: YOLO's NAME.txt, Pascal VOC's NAME.xml. What cannot
    be used is left out and said.
    """
    if arch not in DETECTORS:
        raise UsageError(f"--arch {arch}: no such detector; one of {', '.join(DETECTORS)}")
    if arch in ONE_GRID:
        if show_batch is not None:
            raise UsageError(f"--show-batch: not for --arch {arch}, which learns from other canvases")
        if warm_start is not None:
            raise UsageError(f"--warm-start: not for --arch {arch}, which learns from nothing")
        if remember:
            raise UsageError(f"--remember: not for --arch {arch}, which learns from nothing")
        if bfloat16:
            raise UsageError(f"--bfloat16: not for --arch {arch}, which learns in 32-bit floats")
        if gentle_from is not None:
            raise UsageError(f"--gentle-from: not for --arch {arch}, which has phases of its own")
    check_mix(mixed, warm_start, "detector.keras")
    if show_batch is not None and show_batch.suffix.lower() != ".png":
        raise UsageError(f"--show-batch {show_batch}: canvases are drawn as .png; choose this ending")
    import keras

    from train.compiled_step import EXPORTED_LATER, on_tensorflow, use_threads
    from train.data.canvas_sheet import canvas_sheet
    from train.data.dense_teacher import DenseTeacher
    from train.detections import padded
    from train.detector import Recipe, check_networks, dev_curves, load_data, train_detector
    from train.detector_eval import threshold_for
    from train.detector_export import export_detector
    from train.detector_sheets import write_png
    from train.equalization import equalize_pairs
    from train.loop import check_begin
    from train.models.detector import STRIDES

    if show_batch is None:
        check_begin(out, resume=resume, warm_start=warm_start, remember=remember, export_to=export_to)
    use_threads(threads)
    chosen: dict[str, Any] = {"seed": seed, "steps": steps, "decay_from": decay_from, "learning_rate": learning_rate}
    given = {name: value for name, value in chosen.items() if value is not None}
    if arch in ONE_GRID:
        load = partial(
            load_data, data, unlabelled, teachers, out / "teachers", Recipe(seed=seed), click.echo, portraits
        )
        train_one_grid(arch, load, out, given=given, export_to=export_to, resume=resume, workers=workers)
        return
    recipe = replace(Recipe(arch=arch), bfloat16=bfloat16, **given)
    if gentle_from is not None:
        recipe = recipe.gentle_from(gentle_from)
    if show_batch is None:
        check_networks(recipe, warm_start, remember)
    pictures = load_data(data, unlabelled, teachers, out / "teachers", recipe, click.echo, portraits)
    pictures.report.write(out / "data.json")
    if show_batch is not None:
        write_png(show_batch, canvas_sheet(pictures.pool(recipe), recipe.phase(0).augment, seed=seed))
        click.echo(f"{show_batch}: faces green, ignored ones grey")
        return
    asked = recipe.weights.teacher and not remember
    teacher = DenseTeacher(teachers / "yunet_n.onnx", threads) if asked else None
    trainer = train_detector(
        pictures,
        recipe,
        out,
        resume=resume,
        warm_start=warm_start,
        share=mixed,
        remember=remember,
        teacher=teacher,
        workers=workers,
        say=click.echo,
    )
    if export_to is not None and not on_tensorflow():
        click.echo(EXPORTED_LATER.format(keras.backend.backend()))
    elif export_to is not None:
        curve = dev_curves(trainer.predict, pictures.dev, minimum=(16,))[16]
        threshold = round(threshold_for(curve, PRECISION), 2)
        precision, recall = curve.at(threshold)
        # Channels of one size lose less in integers, should somebody quantise it; some thirty pictures tell sizes.
        some = pictures.true[:: max(1, len(pictures.true) // 30)]
        equalize_pairs(trainer.average, (padded(picture.rgb, 640, max(STRIDES))[0][None] for picture in some))
        digest = export_detector(trainer.average, export_to, threshold=threshold)
        click.echo(
            f"{export_to / 'detector.onnx'}: {digest[:16]}…, threshold {threshold} "
            f"(dev part: AP {curve.ap:.3f}, precision {precision:.3f}, recall {recall:.3f})"
        )
