"""What a network knew before it learned anything here, and is to go on knowing.

A network that learns new answers forgets old ones, and a short training does not make up for that. So the student
answers in two halves: what the teachers say, and what the network with its first weights said (learning without
forgetting, Li and Hoiem, arXiv 1606.09282).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.embedder import unit
from train.compiled_step import compiled_answers
from train.data.faces import FACE
from train.embedder import embed
from train.embedder_eval import Embed
from train.models.layers import HEAD
from train.models.mobilefacenet import MobileFaceNetDesign, load_mobilefacenet_weights, read_head

WEIGHT = 0.5
"""Length of the second half of an answer, the first one being 1."""
MEAN_OFF = 0.85
"""Share of the mean of embeddings that is taken off them, so that strangers' cosines are about 0."""


class Memory:
    """What a network that does not learn answers, less most of the mean of its answers, as unit vectors.

    Args:
        answers: from faces `[N,112,112,3]` to embeddings `[N,D]`.
        mean: `[D]`, of its answers to all training faces.

    Example:
        >>> answers = first_answers(read_mobilefacenet(Path("mobilefacenet.json")))  # doctest: +SKIP
        >>> Memory(answers, answers(faces).mean(axis=0))(faces).shape               # doctest: +SKIP
        (2048, 192)
    """

    def __init__(self, answers: Embed, mean: NDArray[np.float32]) -> None:
        self._answers, self.mean = answers, mean

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors `[N,D]`."""
        return self.centred(self._answers(faces))

    def probe(self) -> NDArray[np.float32]:
        """`[1,D]`: the answer to a picture of nothing, by which another network is known."""
        return self._answers(np.full((1, FACE, FACE, 3), 128, np.uint8))

    def centred(self, answers: NDArray[np.float32]) -> NDArray[np.float32]:
        """The unit vectors for what the network answered."""
        return unit(answers - np.float32(MEAN_OFF) * self.mean)


def first_answers(source: Mapping[str, NDArray[np.float32]]) -> Embed:
    """What MobileFaceNet_TF answers with the weights and the head it came with (`read_mobilefacenet`): `[N,192]`."""
    kernel, bias = read_head(source)
    network = MobileFaceNetDesign(len(bias)).build()
    load_mobilefacenet_weights(network, source)
    network.get_layer(HEAD).set_weights([kernel, bias])
    answers = compiled_answers(network)
    return lambda faces: embed(answers, faces)


def both_halves(taught: NDArray[np.float32], remembered: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors `[N,D₁+D₂]` of unit vectors `[N,D₁]` and `[N,D₂]`, the second ones `WEIGHT` long.

    Example:
        >>> both_halves(np.eye(2, dtype=np.float32), np.ones((2, 1), np.float32)).astype(float).round(2).tolist()
        [[0.89, 0.0, 0.45], [0.0, 0.89, 0.45]]
    """
    joined = np.concatenate([taught, WEIGHT * remembered], axis=1)
    return np.asarray(joined / np.float32(np.hypot(1.0, WEIGHT)), np.float32)
