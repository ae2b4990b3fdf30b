"""One step of a training by hand, and the same steps on TensorFlow and on JAX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from tests.train.backends import FACES, RECIPE, TARGETS  # noqa: E402
from train.compiled_step import CompiledStep, compiled_answers  # noqa: E402
from train.data.views import Views  # noqa: E402
from train.embedder import Trainer, embed  # noqa: E402

ROOT = Path(__file__).parents[2]


def line() -> Any:
    """y = w · x, w = 2."""
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False)(x))
    model.set_weights([np.array([[2.0]])])
    return model


def test_a_step_of_gradient_descent_by_hand() -> None:
    model, average = line(), line()
    descent = keras.optimizers.SGD(0.5)
    descent.build(model.trainable_variables)
    step = CompiledStep(model, descent, lambda y, batch: (keras.ops.mean(y), {"twice": 2 * keras.ops.sum(y)}), average)
    parts = step({"images": np.array([[3], [5]], np.uint8)}, rate=0.1, keep=0.75)
    assert parts == {"loss": 8.0, "twice": 32.0}
    assert model.get_weights()[0].item() == pytest.approx(2 - 0.1 * 4)
    assert average.get_weights()[0].item() == pytest.approx(0.75 * 2 + 0.25 * 1.6)


def test_answers_are_those_of_the_weights_of_now() -> None:
    model = line()
    ask = compiled_answers(model)
    assert np.asarray(ask(np.array([[3]], np.uint8))).item() == 6
    model.set_weights([np.array([[4.0]])])
    assert np.asarray(ask(np.array([[3], [1]], np.uint8))).tolist() == [[12.0], [4.0]]


def run(backend: str, *words: str) -> Any:
    """What `tests.train.backends` says on that backend."""
    pytest.importorskip("jax", reason="needs the extra train-gpu")
    there = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.train.backends", *words]
    done = subprocess.run(command, cwd=ROOT, env=there, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_both_backends_learn_the_same_and_what_jax_began_goes_on_on_tensorflow(tmp_path: Path) -> None:
    ours, theirs = run("tensorflow"), run("jax", str(tmp_path / "checkpoint.npz"))
    assert (ours.pop("backend"), theirs.pop("backend")) == ("tensorflow", "jax")
    for kind in ("detector", "grid", "embedder"):
        assert len(ours[kind]) >= 3
        for number, (a, b) in enumerate(zip(ours[kind], theirs[kind], strict=True)):
            assert a.keys() == b.keys()
            for name, value in a.items():
                assert b[name] == pytest.approx(value, rel=5e-3, abs=1e-4), (kind, number, name)
    assert ours["embedder"][-1]["frozen"] == theirs["embedder"][-1]["frozen"] == 0

    trainer = Trainer(RECIPE, lambda scenes: TARGETS, TARGETS)
    trainer.load(tmp_path / "checkpoint.npz")
    assert trainer.step == 1
    np.testing.assert_allclose(embed(trainer.average, FACES), theirs["trained"], atol=1e-5)
    trainer.train_step(Views(FACES, FACES))
    assert trainer.optimizer.iterations.numpy() == trainer.step == 2
