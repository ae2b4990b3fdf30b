"""Beginning the training of a network with a smaller one of the same family, so that nothing learned is learned again.

After Net2Net (Chen et al., arXiv 1511.05641), with layers matched by their names. A layer that has become wider gives
at first what it gave: what is new in it feeds on what there was, and nobody listens to it yet. A layer that is new
begins as it was built; as the end of a residual branch it begins as a whisper.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

WHISPER = 0.1
"""Scale of the last normalisation of a new residual branch; with 0 no gradient would pass the ReLU behind it."""
BRANCH_END = "_b_bn"
"""How the names of those layers end."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Names of layers with weights, by what became of them."""

    same: tuple[str, ...]
    wider: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]
    """Of the earlier network, without a place in this one."""

    def __str__(self) -> str:
        """For progress, in a line."""
        return (
            f"{len(self.same)} layers taken over, {len(self.wider)} widened, {len(self.new)} new, "
            f"{len(self.left_out)} left out"
        )


def grow(network: keras.Model, earlier: keras.Model) -> Growth:
    """Change `network` in place to what `earlier` has learned, as far as layers of the same name go.

    Raises:
        ValueError: no name is shared, or a layer of `earlier` is larger than the one here or of another kind.

    Example:
        >>> def dense(units):
        ...     x = keras.Input((4,))
        ...     y = keras.layers.Dense(units, name="hidden")(x)
        ...     return keras.Model(x, keras.layers.Dense(2, name="out")(y))
        >>> small, large = dense(3), dense(5)
        >>> print(grow(large, small))
        0 layers taken over, 2 widened, 0 new, 0 left out
        >>> x = np.ones((1, 4))
        >>> bool(np.allclose(small(x), large(x), atol=1e-6))
        True
    """
    known = {layer.name: layer for layer in earlier.layers if layer.weights}
    same: list[str] = []
    wider: list[str] = []
    new: list[str] = []
    for layer in (each for each in network.layers if each.weights):
        if layer.name not in known:
            new.append(layer.name)
            if layer.name.endswith(BRANCH_END):
                layer.gamma.assign(layer.gamma * WHISPER)
            continue
        before = known[layer.name].get_weights()
        now = layer.get_weights()
        (same if [w.shape for w in now] == [w.shape for w in before] else wider).append(layer.name)
        layer.set_weights([_widened(n, b, layer.name) for n, b in zip(now, before, strict=True)])
    if not same and not wider:
        raise ValueError("no layer has the name of one here")
    here = {*same, *wider}
    return Growth(tuple(same), tuple(wider), tuple(new), tuple(name for name in known if name not in here))


def _widened(now: NDArray[np.float32], before: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """`before` in the first places of `now`; new outputs (last axis) as they are, new inputs of old outputs unheard."""
    if now.ndim != before.ndim or any(n < b for n, b in zip(now.shape, before.shape, strict=True)):
        raise ValueError(f"its layer {name} is {before.shape}, here {now.shape}")
    grown = now.copy()
    if now.ndim > 1:
        grown[..., before.shape[-2] :, : before.shape[-1]] = 0.0
    grown[tuple(slice(size) for size in before.shape)] = before
    return grown
