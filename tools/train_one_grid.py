"""`iznet train detector --arch darknet53|mobilenet|shufflenet`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click


def train_one_grid(
    arch: str,
    load: Callable[[], Any],
    out: Path,
    *,
    given: dict[str, Any],
    export_to: Path | None,
    resume: bool,
    workers: int = 0,
) -> None:
    """Train one of the write-up's detectors; `given` are the recipe's fields that were asked for."""
    import keras

    from train.compiled_step import EXPORTED_LATER, on_tensorflow
    from train.grid_detector import GridRecipe, train_grid_detector
    from train.grid_export import export_grid_detector

    recipe = replace(GridRecipe.of(arch), **given)
    click.echo(f"{arch}: {recipe.steps} steps, {recipe.pictures} pictures")
    trainer = train_grid_detector(load(), recipe, out, resume=resume, workers=workers, say=click.echo)
    if export_to is not None and not on_tensorflow():
        click.echo(EXPORTED_LATER.format(keras.backend.backend()))
    elif export_to is not None:
        digest = export_grid_detector(trainer.model, export_to)
        click.echo(f"{export_to / 'detector.onnx'}: {digest[:16]}…")
