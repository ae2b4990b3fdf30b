"""Losses that pull a student towards a teacher's answers."""

from __future__ import annotations

import tensorflow as tf

# --- Embeddings -------------------------------------------------------------------------------------------------------


def embedding_loss(
    students: tf.Tensor, targets: tf.Tensor, others: tf.Tensor, relation_weight: float, temperature: float = 0.1
) -> tf.Tensor:
    """How far unit vectors `students` `[N,D]` are from the unit vectors `targets` `[N,D]`: a scalar ≥ 0.

    Two terms: the mean of 1 − cosine, face by face; and `relation_weight` times the Kullback–Leibler divergence between
    two answers to "which of these faces is it most like?", asked about the batch's targets and `others` `[M,D]`: the
    teachers' softmax of cosines / `temperature`, and the student's (contrastive distillation; compare Tian et al., ICLR
    2020, and Park et al., CVPR 2019). Names are decided by such comparisons, not by single distances.

    Example:
        >>> x = tf.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> float(embedding_loss(x, x, -x, 1.0))
        0.0
    """
    single = 1.0 - tf.reduce_mean(tf.reduce_sum(students * targets, axis=-1))
    faces = tf.concat([targets, others], axis=0)
    wanted = tf.nn.log_softmax(tf.matmul(targets, faces, transpose_b=True) / temperature)
    given = tf.nn.log_softmax(tf.matmul(students, faces, transpose_b=True) / temperature)
    divergence = tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - given), axis=-1))
    return single + relation_weight * divergence
