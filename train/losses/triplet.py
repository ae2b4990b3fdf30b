"""The triplet loss of FaceNet (Schroff et al., CVPR 2015, equation 1)."""

from __future__ import annotations

import tensorflow as tf

MARGIN = 0.2
"""α of the paper, in squared Euclidean distance."""


def triplet_terms(anchors: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor, margin: float = MARGIN) -> tf.Tensor:
    """`[T]`: for each triplet of embeddings `[T,D]`, max(0, ‖a − p‖² − ‖a − n‖² + margin).

    Distances are squared Euclidean, as in the equation.

    Example:
        >>> a, p, n = (tf.constant([[x, 0.0]]) for x in (0.0, 0.5, 0.6))
        >>> round(float(triplet_terms(a, p, n)[0]), 2)
        0.09
    """
    near = tf.reduce_sum(tf.square(anchors - positives), axis=-1)
    far = tf.reduce_sum(tf.square(anchors - negatives), axis=-1)
    return tf.nn.relu(near - far + margin)


def triplet_loss(embeddings: tf.Tensor, triplets: tf.Tensor, margin: float = MARGIN) -> tf.Tensor:
    """The mean of `triplet_terms` over `triplets` int `[T,3]` (anchor, positive, negative: rows of `embeddings`).

    The equation is the sum; the mean keeps the step's size the same whatever number of triplets a batch yields. 0 for
    none.
    """
    anchors, positives, negatives = (tf.gather(embeddings, triplets[:, k]) for k in range(3))
    terms = triplet_terms(anchors, positives, negatives, margin)
    return tf.reduce_sum(terms) / tf.cast(tf.maximum(tf.shape(terms)[0], 1), terms.dtype)
