"""`iznet train rectangles`."""

from __future__ import annotations

from pathlib import Path

import click

from tools.options import FILE, bfloat16_option, json_option
from tools.train import SEED


@click.command("rectangles")
@click.option("--out", type=FILE, default=Path("runs/rectangles"), show_default=True, help="Folder of the run.")
@click.option("--steps", type=click.IntRange(1), default=None, help="Training steps.  [default: the recipe's]")
@click.option("--plots", type=click.IntRange(1), default=1000, show_default=True, help="Unseen plots to judge by.")
@click.option("--batch", type=click.IntRange(1), default=None, help="Plots a step.  [default: the recipe's]")
@click.option("--seed", type=SEED, default=7, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@bfloat16_option
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@json_option
def rectangles(
    out: Path,
    steps: int | None,
    plots: int,
    batch: int | None,
    seed: int,
    threads: int,
    bfloat16: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Prove the YOLO loss on plots of one to three rectangles.

    Writes figures.json, predictions.png, loss.png, log.jsonl and the checkpoint into --out.
    """
    import json
    from dataclasses import replace

    from train.compiled_step import use_threads
    from train.rectangles import RectanglesRecipe, prove_rectangles

    use_threads(threads)
    recipe = RectanglesRecipe(seed=seed, bfloat16=bfloat16)
    recipe = replace(recipe, steps=steps or recipe.steps, plots=batch or recipe.plots)
    quiet = (lambda _: None) if as_json else click.echo
    figures = prove_rectangles(recipe, out, plots=plots, resume=resume, say=quiet)
    click.echo(json.dumps(figures.row()) if as_json else str(figures))
