"""Semi-hard triplets of a batch, from one matrix of distances (FaceNet: Schroff et al., CVPR 2015, section 3.2)."""

from __future__ import annotations

import tensorflow as tf


def semi_hard_triplets(embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """For every anchor and positive of the batch the negative that teaches most without being closer than the positive.

    That is the nearest of the negatives that are farther from the anchor than the positive is. Where there is none the
    farthest negative is taken, the least wrong of those that are too close. Of equal ones the first. Every face is
    embedded once, whatever number of triplets it takes part in.

    Args:
        embeddings: float `[B,D]`, B ≥ 1. No gradient flows through the choice.
        labels: int `[B]`, who each one shows.

    Returns:
        int32 `[T,3]` rows (anchor, positive, negative), in order of anchor and positive; none for a batch without
        positives or without negatives.

    Example:
        >>> x = tf.constant([[0.0], [1.0], [1.5], [0.5]])
        >>> semi_hard_triplets(x, tf.constant([0, 0, 1, 1]))[:2].numpy().tolist()
        [[0, 1, 2], [1, 0, 2]]
    """
    points = tf.stop_gradient(embeddings)
    squares = tf.reduce_sum(tf.square(points[:, None] - points[None]), axis=-1)
    alike = labels[:, None] == labels[None]
    other = tf.logical_not(alike)
    pairs = tf.logical_and(alike, tf.logical_not(tf.eye(tf.shape(labels)[0], dtype=tf.bool)))
    pairs = tf.cast(tf.where(tf.logical_and(pairs, tf.reduce_any(other, axis=1)[:, None])), tf.int32)
    anchors, positives = pairs[:, 0], pairs[:, 1]
    from_anchor = tf.gather(squares, anchors)
    to_positive = tf.gather_nd(squares, pairs)[:, None]
    negative = tf.gather(other, anchors)
    farther = tf.logical_and(negative, from_anchor > to_positive)
    nearest = tf.argmin(tf.where(farther, from_anchor, float("inf")), axis=1, output_type=tf.int32)
    farthest = tf.argmax(tf.where(negative, from_anchor, -1.0), axis=1, output_type=tf.int32)
    return tf.stack([anchors, positives, tf.where(tf.reduce_any(farther, axis=1), nearest, farthest)], axis=1)
