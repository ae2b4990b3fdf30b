"""Losses that pull a student towards a teacher's answers."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

# --- Embeddings -------------------------------------------------------------------------------------------------------


def embedding_loss(
    students: Tensor, targets: Tensor, others: Tensor, relation_weight: float, temperature: float = 0.1
) -> Tensor:
    """How far unit vectors `students` `[N,D]` are from the unit vectors `targets` `[N,D]`: a scalar ≥ 0.

    Two terms: the mean of 1 − cosine, face by face; and `relation_weight` times the Kullback–Leibler divergence between
    two answers to "which of these faces is it most like?", asked about the batch's targets and `others` `[M,D]`: the
    teachers' softmax of cosines / `temperature`, and the student's (contrastive distillation; compare Tian et al., ICLR
    2020, and Park et al., CVPR 2019). Names are decided by such comparisons, not by single distances.

    Example:
        >>> x = ops.convert_to_tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> float(embedding_loss(x, x, -x, 1.0))
        0.0
    """
    single = 1.0 - ops.mean(ops.sum(students * targets, axis=-1))
    faces = ops.transpose(ops.concatenate([targets, others], axis=0))
    wanted = ops.log_softmax(ops.matmul(targets, faces) / temperature)
    given = ops.log_softmax(ops.matmul(students, faces) / temperature)
    divergence = ops.mean(ops.sum(ops.exp(wanted) * (wanted - given), axis=-1))
    return single + relation_weight * divergence
