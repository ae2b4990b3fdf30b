"""Layers that several networks share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from train.compiled_step import on_tensorflow

EXACT = "float32"
"""What the layers at a network's ends compute in, whatever those between do: pixels, and what losses are made of."""
HEAD = "head_dense"
"""An embedder's last layer with weights."""


@contextlib.contextmanager
def arithmetic(bfloat16: bool) -> Iterator[None]:
    """Layers built inside compute in bfloat16, or else in float32; weights, and layers that are `EXACT`, are float32.

    Mixed precision (arXiv 1710.03740) needs no scaling of the loss here: bfloat16 has the exponents of float32. Where
    the processor multiplies matrices of it (AMX), dense convolutions train in less than half the time; elsewhere it
    is slower.

    Example:
        >>> with arithmetic(bfloat16=True):
        ...     layer = keras.layers.ReLU()
        >>> layer.compute_dtype, layer.variable_dtype
        ('bfloat16', 'float32')
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if bfloat16 else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable(package="iznet")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over the last axis of `[B,H,W,C]`, through TensorFlow's fused kernel where Keras runs on it.

    The same variables and arithmetic as Keras' own layer (arXiv 1502.03167), which writes every intermediate to
    memory: on a processor that costs as much as the convolutions between them. A step of the detector takes 0.6 times
    as long with this one, whose averaged variance has n − 1 below instead of n. JAX's compiler fuses the plain form by
    itself. No masks, and scale and centre are always
    learnt.

    Example:
        >>> layer = FusedBatchNormalization(momentum=0.97, epsilon=1e-3)
        >>> tuple(layer(keras.ops.ones((2, 4, 4, 8)), training=True).shape)
        (2, 4, 4, 8)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch's moments in training (and move the averages), by the averages else."""
        if not on_tensorflow():
            return super().call(inputs, training=training, mask=mask)
        from tensorflow.compat.v1.nn import fused_batch_norm

        if training and self.trainable:
            normal, mean, variance = fused_batch_norm(
                inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
            )
            for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.momentum + now * (1.0 - self.momentum))
            return normal
        return fused_batch_norm(
            inputs,
            self.gamma,
            self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=False,
        )[0]


def measure_averages(model: keras.Model, batches: Iterable[np.ndarray[Any, Any]]) -> None:
    """Set the averages of all `FusedBatchNormalization` layers to those of `batches`, all weighing the same.

    Averages that moved along with the training belong to the canvases it used and to weights that have changed
    since; these belong to the given pictures and the weights as they are (precise batch normalisation,
    arXiv 2105.07576, section 3). No weight is changed.

    Args:
        model: any network.
        batches: its inputs, of the kind that it will be used on; a few hundred pictures are enough.

    Example:
        >>> images = keras.Input((None, None, 3))
        >>> model = keras.Model(images, FusedBatchNormalization()(images))
        >>> measure_averages(model, [np.full((1, 2, 2, 3), 4.0), np.full((1, 2, 2, 3), 6.0)])
        >>> model.layers[-1].moving_mean.numpy().tolist()
        [5.0, 5.0, 5.0]
    """
    normal = [layer for layer in model.layers if isinstance(layer, FusedBatchNormalization)]
    momenta = [layer.momentum for layer in normal]
    try:
        for number, images in enumerate(batches):
            for layer in normal:
                layer.momentum = number / (number + 1)
            model(keras.ops.convert_to_tensor(images, "float32"), training=True)
    finally:
        for layer, momentum in zip(normal, momenta, strict=True):
            layer.momentum = momentum


def measure_statistics(model: keras.Model, batches: Iterable[np.ndarray[Any, Any]]) -> None:
    """Give every `FusedBatchNormalization` the moments of its inputs for `batches` as averages, in place.

    Scale and centre change with them, so the network computes the same as before: whoever begins with weights that have
    their normalisations folded in can go on from them.

    Args:
        model: any network.
        batches: its inputs, `[N,H,W,3]` each.

    Example:
        >>> images = keras.Input((None, None, 1))
        >>> model = keras.Model(images, FusedBatchNormalization(epsilon=0.0)(images))
        >>> pictures = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
        >>> measure_statistics(model, [pictures])
        >>> model.layers[-1].moving_mean.numpy().tolist(), model.layers[-1].moving_variance.numpy().tolist()
        ([2.0], [4.0])
        >>> model(pictures).numpy().ravel().tolist()
        [0.0, 4.0]
    """
    norms = [layer for layer in model.layers if isinstance(layer, FusedBatchNormalization)]
    inputs = keras.Model(model.input, [layer.input for layer in norms])
    sums = [np.zeros((2, layer.gamma.shape[0])) for layer in norms]
    counts = [0] * len(norms)
    for images in batches:
        values = inputs(keras.ops.convert_to_tensor(images, "float32"), training=False)
        for i, value in enumerate(values if isinstance(values, list) else [values]):
            rows = np.asarray(value, np.float64).reshape(-1, value.shape[-1])
            sums[i] += np.stack([rows.sum(0), (rows * rows).sum(0)])
            counts[i] += len(rows)
    for layer, total, count in zip(norms, sums, counts, strict=True):
        mean = total[0] / count
        variance = np.maximum(total[1] / count - mean * mean, 1e-8)
        gain, centre, old_mean, old_variance = (np.asarray(w, np.float64) for w in layer.get_weights())
        slope = gain / np.sqrt(old_variance + layer.epsilon)
        layer.set_weights(
            [slope * np.sqrt(variance + layer.epsilon), centre + slope * (mean - old_mean), mean, variance]
        )
