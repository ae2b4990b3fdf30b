"""Stopping a training: between two steps, with everything in the checkpoint; and what an earlier one left."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError, InterruptedByUser, OutputError
from train.loop import check_begin, go_on, prepare_folder, run_steps, write_recipe


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


@pytest.mark.parametrize(("steps", "raised"), [(0, KeyboardInterrupt), (3, InterruptedByUser)])
def test_who_stops_it_is_told_how_to_go_on(tmp_path: Path, steps: int, raised: type[BaseException]) -> None:
    """Before the first step there is nothing to go on from."""
    counter = Counter(-1, signal.SIGINT)

    def learn() -> dict[str, float]:
        if counter.step == steps:
            raise KeyboardInterrupt
        return counter.learn()

    with pytest.raises(raised) as caught:
        run_steps(counter, 9, tmp_path, learn, lambda _: {}, log_every=9, judge_every=9, save_every=9)
    assert ("go on with --resume" in str(caught.value)) == (tmp_path / "checkpoint.npz").exists() == bool(steps)


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


class Restored:
    """A training whose checkpoint is of step 4."""

    step = 0

    def save(self, path: Path, record: dict[str, Any]) -> None:
        raise AssertionError("nothing is saved here")

    def load(self, path: Path) -> dict[str, Any]:
        self.step = 4
        return {"seconds": 9.0}


def test_the_log_goes_on_where_the_checkpoint_does(tmp_path: Path) -> None:
    """A kill leaves lines of steps that are made again, a full disk half a line, which no curve could be drawn from."""
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 2, "loss": 3.0}\n{"step": 4, "lo\n{"step": 4, "loss": 2.0}\n{"step": 6, "loss": 1.0}\n{"st'
    )
    said: list[str] = []
    assert go_on(Restored(), tmp_path, said.append) == 9.0
    assert log.read_text("utf-8") == '{"step": 2, "loss": 3.0}\n{"step": 4, "loss": 2.0}\n'
    log.unlink()
    go_on(Restored(), tmp_path, said.append)
    assert said == ["resumed at step 4"] * 2


def test_what_is_another_than_before_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    first = {"seed": 7, "rate": 0.1, "phases": (1, 2)}
    write_recipe(tmp_path, first, resume=True, say=said.append)
    write_recipe(tmp_path, first, resume=True, say=said.append)
    assert not said
    write_recipe(tmp_path, {**first, "seed": 9, "rate": 0.2, "new": True}, resume=True, say=said.append)
    assert said == ["from here on: seed 9 (was 7), rate 0.2 (was 0.1)"]
    assert json.loads((tmp_path / "recipe.json").read_text("utf-8"))["seed"] == 9
    write_recipe(tmp_path, first, resume=False, say=said.append)
    (tmp_path / "recipe.json").write_text("{", "utf-8")
    write_recipe(tmp_path, first, resume=True, say=said.append)
    assert len(said) == 1, "another training, or one whose recipe is lost, goes on from nothing"


def test_what_cannot_begin_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    run = tmp_path / "run"
    check_begin(run, resume=False, export_to=tmp_path)
    with pytest.raises(InputError, match=r"no checkpoint .*run/checkpoint\.npz; start without --resume"):
        check_begin(run, resume=True)
    with pytest.raises(InputError, match=r"--warm-start .*no\.keras: no such file"):
        check_begin(run, resume=False, warm_start=tmp_path / "no.keras")
    for folder, export_to in ((tmp_path / "file", None), (run, tmp_path / "file")):
        with pytest.raises(OutputError, match="file: is a file; name a folder"):
            check_begin(folder, resume=False, export_to=export_to)
