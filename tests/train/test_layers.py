"""The fused normalisation computes what Keras' own layer computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from train.models.layers import FusedBatchNormalization, measure_averages


def pair() -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Keras' layer and ours with the same, uneven weights."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(1, 0.3, 5), rng.normal(0, 1, 5), rng.normal(0, 1, 5), rng.uniform(0.5, 2, 5)]
    layers = []
    for kind in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = kind(momentum=0.9, epsilon=1e-3)
        layer.build((None, 4, 6, 5))
        layer.set_weights([w.astype(np.float32) for w in weights])
        layers.append(layer)
    return layers[0], layers[1]


@pytest.mark.parametrize("training", [False, True])
def test_answers_gradients_and_averages_are_those_of_keras(training: bool) -> None:
    own, fused = pair()
    x = tf.constant(np.random.default_rng(1).normal(2, 3, (3, 4, 6, 5)), tf.float32)
    weight = tf.constant(np.random.default_rng(2).normal(0, 1, x.shape), tf.float32)
    answers, gradients = [], []
    for layer in (own, fused):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(weight * y)
        answers.append(y.numpy())
        gradients.append([g.numpy() for g in tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
    np.testing.assert_allclose(answers[1], answers[0], atol=2e-5)
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    count = x.shape[0] * x.shape[1] * x.shape[2]
    np.testing.assert_allclose(fused.moving_mean.numpy(), own.moving_mean.numpy(), atol=1e-5)
    # The fused kernel averages the unbiased variance, n/(n-1) of Keras' own: the same to within a batch's size.
    moved = np.abs(fused.moving_variance.numpy() - own.moving_variance.numpy())
    assert (moved <= 0.1 * 15 / (count - 1) + 1e-5).all()


def test_a_frozen_layer_keeps_its_averages() -> None:
    _, fused = pair()
    fused.trainable = False
    before = fused.moving_mean.numpy()
    answer = fused(tf.random.normal((2, 4, 4, 5)), training=True)
    assert answer.shape == (2, 4, 4, 5)
    np.testing.assert_array_equal(fused.moving_mean.numpy(), before)


def test_measured_averages_are_those_of_the_batches_whatever_the_training_left() -> None:
    images = keras.Input((None, None, 3))
    inner = FusedBatchNormalization(momentum=0.97, name="inner")
    model = keras.Model(images, FusedBatchNormalization(momentum=0.9, name="outer")(2 * inner(images)))
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(0.5, 2, w.shape) for w in model.get_weights()])
    scale = [layer.get_weights()[:2] for layer in model.layers if isinstance(layer, FusedBatchNormalization)]
    batches = [rng.normal(k, k + 1, (2, 4, 5, 3)) for k in range(5)]
    measure_averages(model, iter(batches))
    np.testing.assert_allclose(inner.moving_mean, np.mean([b.mean((0, 1, 2)) for b in batches], 0), atol=1e-5)
    variances = [b.var((0, 1, 2), ddof=1) for b in batches]  # TensorFlow's kernel estimates the population's
    np.testing.assert_allclose(inner.moving_variance, np.mean(variances, 0), rtol=1e-5)
    outer = model.get_layer("outer")
    np.testing.assert_allclose(outer.moving_mean, 2 * scale[0][1], atol=1e-5)  # each batch came in normalised
    assert (inner.momentum, outer.momentum) == (0.97, 0.9)
    for (gamma, beta), layer in zip(scale, (inner, outer), strict=True):
        np.testing.assert_array_equal(layer.gamma, gamma)
        np.testing.assert_array_equal(layer.beta, beta)
