"""InceptionV3 as Keras has it (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016), as an embedder.

The convolutional part ends in the mean over places, 2,048 numbers; one affine map makes 128 of them, of unit length.

Parameters: 21,802,784 up to the mean, as Keras documents for `include_top=False` (23,851,784 with its 1,000 classes:
2,049,000 more), and 262,272 of the map. The paper says "less than 25 million", counting the side classifier that it
trains with, which Keras leaves out. 17,216 of Keras' are moving means and as many moving variances, which are not
learnt; there are no scales, since a rectifier and another convolution follow every normalisation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from engine.errors import InputError
from train.models.layers import FusedBatchNormalization

SIDE = 299
"""The input's side in the paper, pixels."""
SMALLEST = 75
"""The smallest side that leaves a place for every layer."""
DIMENSION = 128


@keras.saving.register_keras_serializable(package="iznet")
class _Unscaled(FusedBatchNormalization):
    """The same normalisation where Keras' layer learns no scale."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.gamma = tf.ones(input_shape[-1])


def _fused(layer: Any) -> Any:
    if type(layer) is layers.BatchNormalization:
        return _Unscaled.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config())


def build_inception_v3(side: int = SIDE, weights: Path | None = None, dimension: int = DIMENSION) -> keras.Model:
    """InceptionV3: float RGB 0…255 `[N,side,side,3]` in, unit vectors `[N,dimension]` out.

    Args:
        side: pixels, at least 75; 299 in the paper.
        weights: a file of ImageNet weights without top, as Keras publishes for its `InceptionV3`
            (`inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5`); None: from scratch. Nothing is downloaded.
        dimension: of the embedding.

    Raises:
        InputError: the file is missing, damaged, or holds another network's weights.
        ValueError: `side` is too small.
    """
    if side < SMALLEST:
        raise ValueError(f"InceptionV3 needs at least {SMALLEST} px, got {side = }")
    body = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(side, side, 3))
    if weights is not None:
        load_imagenet(body, weights)
    fused = keras.models.clone_model(body, clone_function=_fused)
    fused.set_weights(body.get_weights())
    faces = keras.Input((side, side, 3), name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(faces)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(fused(x))
    x = layers.Dense(dimension, name="fully_connected")(x)
    return keras.Model(faces, layers.UnitNormalization(name="embeddings")(x), name="inception_v3")


def load_imagenet(body: keras.Model, weights: Path) -> None:
    """Read `weights` into `body`, Keras' own InceptionV3 without top.

    Raises:
        InputError: as `build_inception_v3`.
    """
    try:
        body.load_weights(weights)
    except FileNotFoundError:
        raise InputError(f"{weights}: no such file; give InceptionV3's ImageNet weights, or train without") from None
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{weights}: not the weights of Keras' InceptionV3 without top ({str(error).splitlines()[0]}); "
            "the file is called inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
        ) from error
