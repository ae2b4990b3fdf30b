"""Stopping a training: between two steps, with everything in the checkpoint; and what an earlier one left."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import OutputError
from train.loop import prepare_folder, run_steps, undisturbed


class Counter:
    """A training whose step is two things that belong together, and a signal may come in between."""

    def __init__(self, stop_at: int, number: signal.Signals) -> None:
        self.step = self.weights = 0
        self.stop_at, self.number = stop_at, number

    def learn(self) -> dict[str, float]:
        self.weights += 1
        if self.weights == self.stop_at:
            signal.raise_signal(self.number)
        self.step += 1
        return {"loss": 1.0}

    def save(self, path: Path, record: dict[str, Any]) -> None:
        path.write_text(json.dumps({"step": self.step, "weights": self.weights, **record}), "utf-8")

    def load(self, path: Path) -> dict[str, Any]:
        raise NotImplementedError


class Stopped(Exception):
    pass


def stop(number: int, _: object) -> None:
    raise Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_step(tmp_path: Path, number: signal.Signals) -> None:
    earlier = signal.signal(number, stop)
    try:
        counter = Counter(5, number)
        with pytest.raises(Stopped):
            run_steps(
                counter,
                9,
                tmp_path,
                counter.learn,
                lambda _: {},
                log_every=100,
                judge_every=100,
                save_every=1e9,
                say=lambda _: None,
            )
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, earlier)
    stored = json.loads((tmp_path / "checkpoint.npz").read_text("utf-8"))
    assert stored["step"] == stored["weights"] == 5


def test_an_error_inside_is_not_covered_by_a_signal() -> None:
    with pytest.raises(ValueError, match="inside"), undisturbed():
        raise ValueError("inside")


def test_an_earlier_training_is_put_aside_and_not_lost(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    prepare_folder(folder, resume=False)
    for name in ("checkpoint.npz", "log.jsonl"):
        (folder / name).write_text("old", "utf-8")
    prepare_folder(folder, resume=True)
    assert {p.name for p in folder.iterdir()} == {"checkpoint.npz", "log.jsonl"}
    prepare_folder(folder, resume=False)
    assert {p.name for p in folder.iterdir()} == {"checkpoint.earlier.npz", "log.earlier.jsonl"}
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OutputError, match=r"file/run.*choose another --out"):
        prepare_folder(tmp_path / "file" / "run", resume=False)
