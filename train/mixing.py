"""Between a network and the one that its training began with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray


def mixed(trained: Sequence[NDArray[Any]], earlier: Sequence[NDArray[Any]], share: float) -> list[NDArray[Any]]:
    """Weights between two networks, one trained on from the other, where better ones than both may lie: what
    was learned is there, and less of what was known is forgotten (WiSE-FT; Wortsman et al., arXiv 2109.01903).

    Args:
        trained: the weights of one.
        earlier: of the one that it began with, in the same order and of the same shapes.
        share: what of `trained` stays, 0…1.

    Example:
        >>> import numpy as np
        >>> mixed([np.array([4.0])], [np.array([0.0])], 0.25)[0].tolist()
        [1.0]
    """
    return [share * new + (1 - share) * old for new, old in zip(trained, earlier, strict=True)]
