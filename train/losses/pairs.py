"""Same person or not, as a binary classification of pairs (DeepFace: Taigman et al., CVPR 2014, section 4.2).

The weighted absolute difference of two embeddings, Σᵢ αᵢ |f₁[i] − f₂[i]| plus a bias, goes through a sigmoid; weights
and embeddings learn together from the cross entropy.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable(package="iznet")
class PairHead(layers.Layer):  # type: ignore[misc]
    """From two batches of embeddings `[B,D]` to logits `[B]` that the two show one person.

    All weights begin at −`start` / D and the bias at 1: alike means a small difference from the first step on. On unit
    vectors Σ|difference| is at most 2√D, and about √D · 1.1 for two that have nothing to do with each other.

    Example:
        >>> x = keras.ops.ones((2, 128)) / 128**0.5
        >>> PairHead()([x, x]).numpy().tolist()
        [1.0, 1.0]
    """

    def __init__(self, start: float = 20.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.start = start

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Make the weights α and the bias."""
        dimension = input_shape[0][-1]
        assert dimension is not None
        self.alpha = self.add_weight(
            name="alpha", shape=(dimension,), initializer=keras.initializers.Constant(-self.start / dimension)
        )
        self.bias = self.add_weight(name="bias", shape=(), initializer="ones")

    def call(self, inputs: list[Any]) -> Any:
        """Logits `[B]`; their sigmoid is the probability."""
        first, second = inputs
        return tf.linalg.matvec(tf.abs(first - second), self.alpha) + self.bias

    def get_config(self) -> dict[str, Any]:
        """What the constructor was given."""
        return {**super().get_config(), "start": self.start}


def pair_loss(logits: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
    """The mean cross entropy of `logits` `[B]` against `same` (bool or 0/1) `[B]`.

    Example:
        >>> round(float(pair_loss(tf.constant([0.0, 0.0]), tf.constant([True, False]))), 4)
        0.6931
    """
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(same, logits.dtype), logits))
