"""What goes wrong around a training run: a full disk, another architecture, data of no use. Nothing good is lost."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

tf = pytest.importorskip("tensorflow")

from engine.errors import InputError, OutputError, UsageError  # noqa: E402
from engine.output_file import is_temporary  # noqa: E402
from tests.train.faces import blank  # noqa: E402
from tools import cli  # noqa: E402
from tools.train_detector import detector  # noqa: E402
from train import checkpoint  # noqa: E402
from train.data.boxes import LoadReport  # noqa: E402
from train.detector import ROUGH, DetectionData, Phase, Recipe, train_detector  # noqa: E402
from train.models import detector as networks  # noqa: E402

TINY = networks.Width(stem=(4, 4), stages=(8, 8, 8, 8), blocks=(0, 0, 0, 0), neck=8)
RECIPE = Recipe(arch="tiny", steps=2, phases=(Phase(0.0, ((1, 64, 1.0),), ROUGH.augment),), warmup=1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that is built in no time, and steps that run without being compiled first."""
    monkeypatch.setitem(networks.ARCHITECTURES, "tiny", TINY)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def some_data() -> DetectionData:
    pictures = [blank(str(k), 128, 96, [[30 + k, 20, 70 + k, 70]]) for k in range(3)]
    return DetectionData(pictures, [], [], pictures[:1], LoadReport())


def quiet(_: str) -> None:
    pass


def test_a_full_disk_ends_the_run_and_the_last_good_checkpoint_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_detector(some_data(), RECIPE, tmp_path, say=quiet)
    path = tmp_path / "checkpoint.npz"
    good = path.read_bytes()

    rename = Path.replace

    def full(temporary: Path, target: Path) -> Path:
        if target == path:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(temporary, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match=r"checkpoint\.npz: the disk is full.*older.*untouched"):
            train_detector(some_data(), replace(RECIPE, steps=3), tmp_path, resume=True, say=quiet)
    assert path.read_bytes() == good
    assert not any(is_temporary(path) for path in tmp_path.iterdir())
    assert checkpoint.load(path, "detector-tiny").record["step"] == 2
    assert train_detector(some_data(), replace(RECIPE, steps=3), tmp_path, resume=True, say=quiet).step == 3


def test_another_architecture_leaves_the_checkpoint_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_detector(some_data(), replace(RECIPE, steps=1), tmp_path, say=quiet)
    good = (tmp_path / "checkpoint.npz").read_bytes()
    monkeypatch.setitem(networks.ARCHITECTURES, "other", TINY)
    with pytest.raises(InputError, match=r"'detector-tiny'.*'detector-other'"):
        train_detector(some_data(), replace(RECIPE, arch="other"), tmp_path, resume=True, say=quiet)
    assert (tmp_path / "checkpoint.npz").read_bytes() == good


def test_a_wrong_architecture_is_told_before_anything_is_read(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "none.zip"), "--teachers", str(tmp_path), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(detector, [*options, "--arch", "huge"])
    assert isinstance(result.exception, UsageError)
    assert "--arch huge" in str(result.exception)
    assert "small" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_data_of_no_use_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, the file and what was wrong with its entries on one line, no traceback."""
    folder = tmp_path / "set"
    folder.mkdir()
    cv2.imwrite(str(folder / "flat.png"), np.zeros((48, 64, 3), np.uint8))
    (folder / "broken.png").write_bytes(b"not a picture")
    entries = [
        {"image": "flat.png", "boxes": [[5, 5, 5, 20]], "ignore": [False]},
        {"image": "broken.png", "boxes": [[5, 5, 15, 20]], "ignore": [False]},
        {"image": "gone.png", "boxes": [[5, 5, 15, 20]], "ignore": [False]},
    ]
    (folder / "boxes.json").write_text(json.dumps(entries), "utf-8")
    code = cli.run(["train", "eval-detector", "--data", str(folder)])
    told = capsys.readouterr().err
    assert code == 3
    assert "Traceback" not in told
    for words in ("set: no usable face", "zero-area box: 1 (flat.png)", "unreadable image: 1 (broken.png)", "gone.png"):
        assert words in told
