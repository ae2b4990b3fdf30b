"""The loop of a training: step after step, with a log and checkpoints, so that a killed run loses minutes at most."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import InputError, InterruptedByUser, OutputError
from engine.output_file import writing
from engine.signals import undisturbed
from train.checkpoint import no_checkpoint
from train.output import write_whole

Say = Callable[[str], None]

CHECKPOINT = "checkpoint.npz"


class Steps(Protocol):
    """What is trained: it counts its steps and can write itself down."""

    step: int
    """Steps done."""

    def save(self, path: Path, record: dict[str, Any]) -> None:
        """Write a checkpoint (`train.checkpoint.save`)."""

    def load(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint; gives back its record."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the log that is due."""

    judge: bool
    """Whether the time has come for figures that cost something."""
    seconds: float
    """Spent on the training, earlier runs included."""


def prepare_folder(folder: Path, *, resume: bool) -> None:
    """Make the folder of a training. What an earlier one left there is put aside as `….earlier.…`, unless it goes on.

    Raises:
        OutputError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (CHECKPOINT, "log.jsonl"):
            if not resume and (old := folder / name).exists():
                os.replace(old, old.with_suffix(f".earlier{old.suffix}"))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error


def check_begin(
    folder: Path,
    *,
    resume: bool,
    warm_start: Path | None = None,
    remember: Sequence[Path] = (),
    export_to: Path | None = None,
) -> None:
    """Refuse what cannot come to anything before pictures are read and teachers asked, which may take hours.

    Args:
        folder: of the training.
        resume: whether it is to go on from its checkpoint.
        warm_start: the network that it is to begin with.
        remember: the networks that it is to keep to.
        export_to: the folder for what comes out.

    Raises:
        InputError: there is no checkpoint to go on from, or no network to begin with or to keep to.
        OutputError: a file stands where a folder is to be.
    """
    for place in (folder, export_to):
        if place is not None and place.exists() and not place.is_dir():
            raise OutputError(f"{place}: is a file; name a folder")
    if resume and not (folder / CHECKPOINT).is_file():
        raise no_checkpoint(folder / CHECKPOINT)
    for option, network in (("--warm-start", warm_start), *(("--remember", path) for path in remember)):
        if network is not None and not network.is_file():
            raise InputError(f"{option} {network}: no such file")


def go_on(trainer: Steps, folder: Path, say: Say) -> float:
    """Have `trainer` go on from the checkpoint in `folder`: the seconds that were spent on it so far.

    What the log says of later steps, which a kill has made undone, goes out of it, and so do lines that are not whole.

    Raises:
        InputError: there is no checkpoint, or one of another network.
    """
    spent = float(trainer.load(folder / CHECKPOINT).get("seconds", 0.0))
    _shorten(folder / "log.jsonl", trainer.step)
    say(f"resumed at step {trainer.step}")
    return spent


def write_recipe(folder: Path, recipe: Mapping[str, Any], *, resume: bool, say: Say) -> None:
    """Keep what a training is done with in `recipe.json`, and say what is another than before where it goes on.

    Args:
        folder: of the training.
        recipe: plain values for JSON.
        resume: whether it goes on.
        say: where a line goes, such as `from here on: seed 9 (was 7)`.

    Raises:
        OutputError: it cannot be written.
    """
    file, now = folder / "recipe.json", json.loads(json.dumps(recipe))
    before = _kept(file) if resume else {}
    changed = [f"{name} {now[name]} (was {was})" for name, was in before.items() if now.get(name, was) != was]
    if changed:
        say(f"from here on: {', '.join(changed)}")
    write_whole(file, json.dumps(now, indent=1))


def _kept(recipe: Path) -> dict[str, Any]:
    """What a recipe was; nothing where it is not there, or cannot be read any more."""
    try:
        values = json.loads(recipe.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _shorten(log: Path, step: int) -> None:
    """Leave the whole lines of a log up to `step`."""
    if not log.is_file():
        return
    with writing(log):
        lines = log.read_text("utf-8", "replace").splitlines()
    kept = [line for line in lines if 0 < _step_of(line) <= step]
    if kept != lines:
        write_whole(log, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> int:
    """Which step a line of a log is of; 0 where it is not whole."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return 0


def run_steps(
    trainer: Steps,
    steps: int,
    folder: Path,
    learn: Callable[[], dict[str, float]],
    rest: Callable[[Logged], dict[str, Any]],
    *,
    log_every: int,
    judge_every: int,
    save_every: float,
    spent: float = 0.0,
    digits: int = 4,
    say: Say = print,
) -> None:
    """Call `learn` until `trainer.step` is `steps`; the checkpoint is written in the end, whatever ends it.

    Who stops it with Ctrl-C or SIGTERM stops it between two steps.

    Args:
        trainer: `learn` moves its `step` on by one.
        steps: how many there are to be.
        folder: of `checkpoint.npz` and `log.jsonl`, a line of JSON each: the step, the means of what `learn` gave since
            the line before, and `rest`.
        learn: takes one step and gives its losses.
        rest: what else a line says.
        log_every: steps between two lines.
        judge_every: steps between two lines with figures; the last line has some too.
        save_every: seconds between two checkpoints.
        spent: seconds of earlier runs.
        digits: of the means.
        say: is told every line.

    Raises:
        InterruptedByUser: Ctrl-C or SIGTERM came after the first step.
        OutputError: a checkpoint cannot be written; the last good one is intact.
    """
    path, log = folder / CHECKPOINT, folder / "log.jsonl"
    started = saved = time.monotonic()
    sums: dict[str, float] = {}
    since = 0
    try:
        while trainer.step < steps:
            with undisturbed():  # half a step would be neither learnt nor forgotten
                parts = learn()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
            since += 1
            now = time.monotonic()
            judge = trainer.step % judge_every == 0 or trainer.step == steps
            if trainer.step % log_every == 0 or judge:
                means = {name: round(value / since, digits) for name, value in sums.items()}
                text = json.dumps({"step": trainer.step, **means, **rest(Logged(judge, spent + now - started))})
                with log.open("a") as file:
                    file.write(text + "\n")
                say(text)
                sums, since = {}, 0
            if now - saved > save_every:
                trainer.save(path, {"seconds": spent + now - started})
                saved = time.monotonic()
    except KeyboardInterrupt:
        if not trainer.step:
            raise
        raise InterruptedByUser("stopped; every step made is in the checkpoint, go on with --resume") from None
    finally:
        if trainer.step:
            trainer.save(path, {"seconds": spent + time.monotonic() - started})
