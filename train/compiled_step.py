"""One step of a training, compiled: forward, loss, gradients, optimiser, averaged weights; on TensorFlow or on JAX.

Networks, layers and losses are written in Keras' own operations, which run on either; what differs is how a gradient is
asked for and where variables live. `KERAS_BACKEND=jax` in the environment chooses JAX, which computes on a GPU where
its wheels for one are installed; without it Keras takes TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import keras

Tensor = Any
Loss = Callable[[Any, Mapping[str, Any]], tuple[Tensor, dict[str, Tensor]]]
"""From the network's outputs and the batch to the loss and its parts."""


EXPORTED_LATER = (
    "trained; ONNX files are written by TensorFlow: give the same command with --resume and without KERAS_BACKEND={}"
)


def on_tensorflow() -> bool:
    """Whether Keras computes on TensorFlow, which the export to ONNX needs."""
    return bool(keras.backend.backend() == "tensorflow")


def use_threads(count: int) -> None:
    """Let TensorFlow and OpenCV compute on so many threads; before anything is computed. JAX takes what it wants."""
    cv2.setNumThreads(count)
    if on_tensorflow():
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1)


class CompiledStep:
    """Teaches a network with one batch after the other.

    Args:
        model: takes `images` (any dtype) as float32.
        optimizer: built for the trainable variables of `model`.
        loss: of what the model answers to a batch.
        average: a copy of `model`, which follows its weights slowly; None: there is none.

    Example:
        >>> step = CompiledStep(model, optimizer, loss)                          # doctest: +SKIP
        >>> step({"images": images, "target": target}, rate=1e-3)["loss"]        # doctest: +SKIP
        0.731
    """

    def __init__(
        self, model: keras.Model, optimizer: keras.Optimizer, loss: Loss, average: keras.Model | None = None
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        self._pairs = [
            (slow, fast)
            for slow, fast in zip(average.variables if average else (), model.variables if average else (), strict=True)
            if fast.dtype == "float32"
        ]
        self._run = self._on_tensorflow() if on_tensorflow() else self._on_jax()

    def __call__(
        self, batch: Mapping[str, Any], rate: float, keep: float = 0.0, *, settled: bool = False
    ) -> dict[str, float]:
        """One step; the loss and its parts.

        Args:
            batch: arrays, nested if need be; `images` among them.
            rate: learning rate.
            keep: part of the averaged weights that stays.
            settled: batch normalisation takes its averages instead of the batch's moments.
        """
        self._optimizer.learning_rate.assign(rate)
        parts = self._run(batch, keep, settled)
        return {name: float(value) for name, value in parts.items()}

    def _on_tensorflow(self) -> Callable[[Mapping[str, Any], float, bool], dict[str, Tensor]]:
        import tensorflow as tf

        model, variables = self._model, self._model.trainable_variables

        @partial(tf.function, reduce_retracing=True, autograph=False)
        def step(batch: Any, keep: Tensor, settled: bool) -> dict[str, Tensor]:
            with tf.GradientTape() as tape:
                answers = model(tf.cast(batch["images"], tf.float32), training=not settled)
                loss, parts = self._loss(answers, batch)
            self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            for slow, fast in self._pairs:
                slow.value.assign_sub((1.0 - keep) * (slow.value - fast.value))
            return {"loss": loss, **parts}

        def run(batch: Mapping[str, Any], keep: float, settled: bool) -> dict[str, Tensor]:
            tensors = tf.nest.map_structure(tf.constant, dict(batch))
            result: dict[str, Tensor] = step(tensors, tf.constant(keep, tf.float32), settled)
            return result

        return run

    def _on_jax(self) -> Callable[[Mapping[str, Any], float, bool], dict[str, Tensor]]:
        import jax

        model, optimizer = self._model, self._optimizer
        learnt, rest = model.trainable_variables, model.non_trainable_variables
        groups = [learnt, rest, optimizer.variables, [slow for slow, _ in self._pairs]]
        place = {id(variable): n for n, variable in enumerate([*learnt, *rest])}
        followed = [place[id(fast)] for _, fast in self._pairs]

        def measure(learnt: Any, rest: Any, batch: Any, settled: bool) -> Any:
            answers, rest = model.stateless_call(learnt, rest, batch["images"].astype("float32"), training=not settled)
            loss, parts = self._loss(answers, batch)
            return loss, (parts, rest)

        @partial(jax.jit, donate_argnums=0, static_argnums=3)
        def step(state: Any, batch: Any, keep: Tensor, settled: bool) -> Any:
            learnt, rest, memory, slow = state
            (loss, (parts, rest)), gradients = jax.value_and_grad(measure, has_aux=True)(learnt, rest, batch, settled)
            learnt, memory = optimizer.stateless_apply(memory, gradients, learnt)
            fast = [*learnt, *rest]
            slow = [old - (1.0 - keep) * (old - fast[n]) for old, n in zip(slow, followed, strict=True)]
            return (learnt, rest, memory, slow), {"loss": loss, **parts}

        def run(batch: Mapping[str, Any], keep: float, settled: bool) -> dict[str, Tensor]:
            state = [[variable.value for variable in group] for group in groups]
            state, parts = step(state, dict(batch), keep, settled)
            for group, values in zip(groups, state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
            result: dict[str, Tensor] = parts
            return result

        return run


def compiled_answers(model: keras.Model) -> Callable[[Any], Any]:
    """From pictures (any dtype) to what `model` answers with the weights it then has, compiled for every shape anew."""
    if on_tensorflow():
        import tensorflow as tf

        answer = tf.function(
            lambda images: model(tf.cast(images, tf.float32), training=False), reduce_retracing=True, autograph=False
        )
        return lambda images: answer(tf.constant(images))
    import jax

    learnt, rest = model.trainable_variables, model.non_trainable_variables
    run = jax.jit(lambda *state: model.stateless_call(*state[:2], state[2].astype("float32"), training=False)[0])
    return lambda images: run([v.value for v in learnt], [v.value for v in rest], images)
