"""A training's log as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from engine.errors import InputError
from train.output import replaced


def draw_loss_curve(log: Path, picture: Path, parts: Sequence[str], measure: str | None = None) -> None:
    """Draw the loss, its parts and a measure over the steps.

    Args:
        log: a line of JSON each with `step`, `loss` and `parts`, as the trainings here write it.
        picture: PNG.
        parts: which numbers to draw beside `loss`, on a logarithmic axis.
        measure: another one, 0…1, on an axis of its own, where a line has it.

    Raises:
        InputError: there is no such log, or no line in it.
        OutputError: the picture cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    try:
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise InputError(f"{log}: no training log ({error})") from None
    if not lines:
        raise InputError(f"{log}: an empty training log; train at least a few steps")
    figure, axes = pyplot.subplots(figsize=(9, 5), dpi=110)
    steps = [line["step"] for line in lines]
    axes.plot(steps, [line["loss"] for line in lines], color="black", linewidth=1.6, label="loss")
    for part in parts:
        axes.plot(steps, [line[part] for line in lines], linewidth=1.0, label=part)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=log.parent.name)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=8)
    measured = [line for line in lines if measure in line]
    if measure and measured:
        right = axes.twinx()
        values = [line[measure] for line in measured]
        right.plot([line["step"] for line in measured], values, "o--", color="tab:red", markersize=4)
        right.set(ylabel=measure, ylim=(0, 1))
    figure.tight_layout()
    try:
        with replaced(picture) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
    finally:
        pyplot.close(figure)
