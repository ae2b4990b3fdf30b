"""`iznet train rectangles`."""

from __future__ import annotations

from pathlib import Path

import click

from tools.options import FILE, json_option


@click.command("rectangles")
@click.option("--out", type=FILE, default=Path("runs/rectangles"), show_default=True, help="Folder of the run.")
@click.option("--steps", type=click.IntRange(1), default=None, help="Training steps.  [default: the recipe's]")
@click.option("--plots", type=click.IntRange(1), default=1000, show_default=True, help="Unseen plots to judge by.")
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@json_option
def rectangles(out: Path, steps: int | None, plots: int, seed: int, threads: int, resume: bool, as_json: bool) -> None:
    """Prove the YOLO loss on plots of one to three rectangles.

    Writes figures.json, predictions.png, loss.png, log.jsonl and the checkpoint into --out.
    """
    import json
    from dataclasses import replace

    from train.compiled_step import use_threads
    from train.rectangles import RectanglesRecipe, prove_rectangles

    use_threads(threads)
    recipe = RectanglesRecipe(seed=seed)
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    quiet = (lambda _: None) if as_json else click.echo
    figures = prove_rectangles(recipe, out, plots=plots, resume=resume, say=quiet)
    click.echo(json.dumps(figures.row()) if as_json else str(figures))
