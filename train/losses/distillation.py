"""Losses that pull a student towards a teacher's answers."""

from __future__ import annotations

import tensorflow as tf

# --- Embeddings -------------------------------------------------------------------------------------------------------


def embedding_loss(students: tf.Tensor, targets: tf.Tensor, relation_weight: float) -> tf.Tensor:
    """How far unit vectors `students` `[N,D]` are from the unit vectors `targets` `[N,D]`: a scalar ≥ 0.

    Two terms: the mean of 1 − cosine, face by face; and `relation_weight` times the mean squared difference between
    the cosines among all faces of the batch and the same cosines in the teachers' space (Park et al., "Relational
    knowledge distillation", CVPR 2019, with cosines as the relation), because names are decided by relations.

    Example:
        >>> x = tf.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> float(embedding_loss(x, x, 10.0))
        0.0
    """
    single = 1.0 - tf.reduce_mean(tf.reduce_sum(students * targets, axis=-1))
    wrong = tf.square(
        tf.matmul(students, students, transpose_b=True) - tf.matmul(targets, targets, transpose_b=True)
    )
    count = tf.cast(tf.shape(students)[0], students.dtype)
    relations = tf.reduce_sum(tf.linalg.set_diag(wrong, tf.zeros_like(students[:, 0]))) / (count * (count - 1.0))
    return single + relation_weight * relations
