"""`iznet train experiments`: three networks, two losses, twelve people, one table."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import click

from tools.options import FILE, Number
from tools.train import SEED

NAMES = [f"{n}-{loss}" for n in ("nn1", "nn2", "inception_v3") for loss in ("triplet", "binary")]


@click.command("experiments")
@click.option("--data", type=FILE, required=True, help="Folder: faces.zip, people12.csv.")
@click.option("--out", type=FILE, default=Path("runs/experiments"), show_default=True, help="States, logs, snapshots.")
@click.option("--table", type=FILE, default=None, metavar="BASE", help="Also write BASE.json and BASE.md.")
@click.option("--only", type=click.Choice(NAMES), multiple=True, help="Of the six, only this one; may be repeated.")
@click.option("--side", type=int, default=96, show_default=True, help="Of the faces, pixels; at least 75.")
@click.option("--pretrain-steps", type=click.IntRange(1), default=960, show_default=True, help="Batches of 32 faces.")
@click.option(
    "--pairs-share",
    type=Number(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Part of all pairs of photos that the binary classification sees; the triplet loss sees as many faces.",
)
@click.option(
    "--normalisation",
    type=click.Choice(["batch", "local"]),
    default="batch",
    show_default=True,
    help="Of NN1 and NN2: batch normalisation, or what the paper's tables print.",
)
@click.option("--imagenet", type=FILE, default=None, help="ImageNet weights (.h5, no top) for InceptionV3.")
@click.option("--embedder", type=FILE, default=None, help="The embedder to pretrain from; by default the shipped one.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--plan", "plan_only", is_flag=True, help="Time a step of each network, say what all take, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def experiments(
    data: Path,
    out: Path,
    table: Path | None,
    only: tuple[str, ...],
    side: int,
    pretrain_steps: int,
    pairs_share: float,
    normalisation: str,
    imagenet: Path | None,
    embedder: Path | None,
    threads: int,
    seed: int,
    resume: bool,
    plan_only: bool,
    as_json: bool,
) -> None:
    """NN1, NN2 and InceptionV3, each with triplet loss and with binary classification, on twelve people.

    Every network is first pretrained, all in the same way, on everybody else of the collection. A run that was killed
    goes on with --resume; the table is written anew after each experiment.
    """
    from engine.checksum import sha256_of
    from engine.embedder import Embedder
    from train.compiled_step import use_threads
    from train.experiments import Setting, measure_cost, run_experiments
    from train.experiments_data import read_experiment_faces
    from train.experiments_figures import markdown
    from train.experiments_plan import EXPERIMENTS, Plan

    use_threads(threads)
    plan = Plan(
        side=side,
        normalisation=normalisation,  # type: ignore[arg-type]
        pretrain_steps=pretrain_steps,
        pairs_share=pairs_share,
        seed=seed,
        imagenet=sha256_of(imagenet, "give InceptionV3's ImageNet weights") if imagenet else "",
    )
    teacher = Embedder.open(embedder, threads=threads)

    def say(line: str) -> None:
        if not as_json:
            click.echo(f"{time.strftime('%H:%M:%S')} {line}", err=True)

    setting = Setting(read_experiment_faces(data), plan, teacher, out, imagenet, say=say)
    wanted = [pair for pair in EXPERIMENTS if not only or f"{pair[0]}-{pair[1]}" in only]
    if plan_only:
        costs = [measure_cost(setting, name) for name in dict.fromkeys(name for name, _ in wanted)]
        if as_json:
            click.echo(json.dumps({"plan": plan.to_dict(), "networks": [dataclasses.asdict(c) for c in costs]}))
        else:
            show(costs)
        return
    record = run_experiments(setting, wanted, resume=resume, table=table)
    click.echo(json.dumps(record) if as_json else markdown(record["rows"], record["how"]))


def show(costs: list[Any]) -> None:
    """Print what each network takes."""
    for c in costs:
        click.echo(
            f"{c.network}: {c.parameters / 1e6:.1f} M parameters; a step takes {c.pretrain_step:.2f} s in the "
            f"pretraining, {c.triplet_step:.2f} s triplet, {c.binary_step:.2f} s binary: {c.minutes:.0f} min for all"
        )
    click.echo(f"together {sum(c.minutes for c in costs):.0f} minutes of CPU time, to be shared by the threads")
