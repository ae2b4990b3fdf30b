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

from train.compiled_step import CompiledStep, compiled_answers  # noqa: E402

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


def test_both_backends_learn_the_same() -> None:
    pytest.importorskip("jax", reason="needs the extra train-gpu")

    def run(backend: str) -> dict[str, Any]:
        there = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-m", "tests.train.backends"]
        done = subprocess.run(command, cwd=ROOT, env=there, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert said.pop("backend") == backend
        return said

    ours, theirs = run("tensorflow"), run("jax")
    for kind in ("detector", "grid", "embedder"):
        assert len(ours[kind]) >= 3
        for number, (a, b) in enumerate(zip(ours[kind], theirs[kind], strict=True)):
            assert a.keys() == b.keys()
            for name, value in a.items():
                assert b[name] == pytest.approx(value, rel=5e-3, abs=1e-4), (kind, number, name)
    assert ours["embedder"][-1]["frozen"] == theirs["embedder"][-1]["frozen"] == 0
