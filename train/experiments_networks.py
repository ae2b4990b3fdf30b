"""How the networks of the six experiments answer, and those that a run left, to be measured beside others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from engine.errors import InputError
from train import checkpoint
from train.embedder_eval import Embed
from train.experiments_data import scaled
from train.experiments_figures import row_title
from train.experiments_plan import EXPERIMENTS, NetworkName, Plan, build
from train.experiments_stage import architecture

Build = Callable[[NetworkName, Plan, Path | None], keras.Model]


def finished_networks(out: Path, build: Build = build) -> Iterator[tuple[str, Embed]]:
    """Of each experiment that is done in the run in the folder `out`: what it is called, and how its network answers.

    One network is in memory at a time: its answers are to be asked for before the next one is.

    Raises:
        InputError: there is no run, none of its experiments is done, or a network of it is damaged.

    Example:
        >>> [name for name, embed in finished_networks(Path("runs/experiments"))]    # doctest: +SKIP
        ['NN1, triplet', 'NN1, binary', 'NN2, triplet']
    """
    try:
        kept = json.loads((out / "plan.json").read_text("utf-8"))
        plan = Plan(**{field.name: kept[field.name] for field in fields(Plan)})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{out} holds no run of `iznet train experiments`: {error}") from error
    done = [(name, loss) for name, loss in EXPERIMENTS if (out / f"{name}-{loss}" / "result.json").exists()]
    if not done:
        raise InputError(f"{out}: no experiment is done yet; go on with `iznet train experiments --resume`")
    for name, loss in done:
        network = build(name, plan, None)
        state = checkpoint.load(out / f"{name}-{loss}" / "checkpoint.npz", architecture(loss, network, plan))
        checkpoint.assign(network.variables, state.arrays["network"])
        yield row_title(f"{name}-{loss}"), _of_any_face(network, plan.side)
        del network
        keras.utils.clear_session(free_memory=True)


def answering(network: keras.Model, batch: int = 32) -> Embed:
    """How `network` answers now for faces of its own size `[N,S,S,3]`; it is traced once, for `batch` faces."""
    answer = tf.function(lambda x: network(x, training=False), autograph=False)

    def embed(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(faces), batch):
            some = faces[start : start + batch]
            padded = np.zeros((batch, *some.shape[1:]), np.float32)
            padded[: len(some)] = some
            parts.append(np.asarray(answer(tf.constant(padded)))[: len(some)])
        return np.concatenate(parts)

    return embed


def _of_any_face(network: keras.Model, side: int) -> Embed:
    """The answers to faces `[N,112,112,3]` of a network for faces of `side` px."""
    answer = answering(network)
    return lambda faces: answer(scaled(faces, side))
