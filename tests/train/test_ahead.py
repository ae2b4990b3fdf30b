"""Batches from other processes: the same ones, in order, none twice, and never too many at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError, MissingError
from train.ahead import DEEP, ahead
from train.data.views import ViewMaker

ROOT = Path(__file__).parents[2]


class Noted:
    """Leaves a file for every step that it was asked for, and says which process it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, step: int) -> tuple[int, int]:
        (self.folder / str(step)).touch()
        return step, os.getpid()


def test_batches_come_in_order_from_several_processes(tmp_path: Path) -> None:
    batches = list(ahead(Noted(tmp_path), 3, 40, workers=2))
    assert [step for step, _ in batches] == list(range(3, 40))
    makers = {process for _, process in batches}
    assert os.getpid() not in makers
    assert len(makers) <= 2
    assert sorted(int(p.name) for p in tmp_path.iterdir()) == list(range(3, 40))


def test_no_more_is_made_than_is_soon_wanted(tmp_path: Path) -> None:
    batches = ahead(Noted(tmp_path), 0, 1000, workers=1)
    next(batches)
    before = -1
    while before != (before := len(list(tmp_path.iterdir()))):
        time.sleep(0.5)
    batches.close()  # type: ignore[attr-defined]
    assert before == DEEP


def test_views_are_the_same_whoever_makes_them(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8))
    views = ViewMaker(tmp_path / "faces.npy", np.ones(5), batch=3, seed=2)
    for here, there in zip(ahead(views, 4, 7), ahead(views, 4, 7, workers=2), strict=True):
        np.testing.assert_array_equal(here.faces, there.faces)
        np.testing.assert_array_equal(here.scenes, there.scenes)


PARENT = """
import sys
from pathlib import Path
from tests.train.test_ahead import Noted
from train.ahead import ahead

if __name__ == "__main__":
    for step, worker in ahead(Noted(Path(sys.argv[1])), 0, 10**9, workers=1):
        print(worker, flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_whom_they_work_for(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "parent.py").write_text(PARENT, "utf-8")
    there = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "steps")]
    with subprocess.Popen(command, env=there, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.send_signal(end)
    until = time.monotonic() + 20
    while time.monotonic() < until and alive(worker):
        time.sleep(0.05)
    assert not alive(worker)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


class Dying:
    def __call__(self, step: int) -> int:
        os._exit(3)


def test_a_worker_that_dies_is_no_riddle() -> None:
    with pytest.raises(MissingError, match="fewer --workers"):
        next(ahead(Dying(), 0, 5, workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_goes_wrong_there_is_told_here(tmp_path: Path, workers: int) -> None:
    with pytest.raises(InputError, match=r"none\.npy"):
        next(ahead(ViewMaker(tmp_path / "none.npy", np.ones(5), 3, 2), 0, 5, workers))
