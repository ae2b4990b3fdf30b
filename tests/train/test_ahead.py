"""Batches from other processes: the same ones, in order, none twice, and never too many at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from train.ahead import DEEP, ahead
from train.data.views import ViewMaker


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
    batches.close()  # type: ignore[attr-defined]
    assert len(list(tmp_path.iterdir())) <= DEEP + 1


def test_views_are_the_same_whoever_makes_them(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8))
    views = ViewMaker(tmp_path / "faces.npy", np.ones(5), batch=3, seed=2)
    for here, there in zip(ahead(views, 4, 7), ahead(views, 4, 7, workers=2), strict=True):
        np.testing.assert_array_equal(here.faces, there.faces)
        np.testing.assert_array_equal(here.scenes, there.scenes)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_goes_wrong_there_is_told_here(tmp_path: Path, workers: int) -> None:
    with pytest.raises(InputError, match=r"none\.npy"):
        next(ahead(ViewMaker(tmp_path / "none.npy", np.ones(5), 3, 2), 0, 5, workers))
