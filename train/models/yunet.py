"""YuNet's form with one level more, as a Keras network that can start from published weights.

Every layer is a 1×1 convolution and a depthwise 3×3 one without an activation between them (Wu, Peng and Yu, "YuNet: a
tiny millisecond-level face detector", Machine Intelligence Research 20, 2023); maxima halve the picture. Channels are
those of the smaller of its two sizes. Here there is a level of stride 64 besides, for faces that fill the picture, and
the heads answer as those of `train.models.detector` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from train.models.layers import EXACT, FusedBatchNormalization

EPSILON = 1e-3
BEFORE = {"s2_unit": 16, "s4_unit1": 16, "s4_unit2": 32, "s4_unit3": 32, "s4_unit4": 64}
"""Channels of the units below stride 8, in their order."""
WIDTH = 64
"""Channels of all others."""
NARROW = 32
"""Channels inside the blocks."""
LEVELS = (8, 16, 32)
"""Strides that the source has levels of."""
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""Channels of a head in the source, a branch each: a face, a box, its centre and log-size, five (x, y)."""
FARTHEST = 6.0
"""The largest logarithm of half a box's side, in strides."""

_SOURCES = {
    "s2_unit": "backbone__model0_dp",
    "s4_unit1": "backbone__model1_dp1",
    "s4_unit2": "backbone__model1_dp2",
    "s4_unit3": "backbone__model2_dp1",
    "s4_unit4": "backbone__model2_dp2",
}
_STEM = "backbone__model0"


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = FusedBatchNormalization(momentum=0.97, epsilon=EPSILON, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _separable(x: keras.KerasTensor, channels: int, name: str, **options: Any) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 1, name=f"{name}_pointwise", **options)(x)
    return layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise", **options)(x)


def _unit(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    return _normalised(_separable(x, channels, name), name)


def _block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """What the source has no room for: a bottleneck added to `x`, ≥ 0, which changes nothing before it learns."""
    y = layers.Conv2D(NARROW, 1, use_bias=False, name=f"{name}_a_conv")(x)
    y = _normalised(y, f"{name}_a")
    y = layers.Conv2D(WIDTH, 3, padding="same", use_bias=False, name=f"{name}_b_conv")(y)
    y = FusedBatchNormalization(momentum=0.97, epsilon=EPSILON, gamma_initializer="zeros", name=f"{name}_b_norm")(y)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _head(x: keras.KerasTensor, stride: int) -> keras.KerasTensor:
    """`[N,H/s,W/s,15]`: score (logit), left, top, right, bottom, five (dx, dy)."""
    x = _separable(x, sum(PARTS.values()), f"s{stride}_head", dtype=EXACT)
    x = layers.Conv2D(15, 1, name=f"s{stride}_answer", dtype=EXACT)(x)
    middle, half = x[..., 1:3], ops.exp(ops.minimum(x[..., 3:5], FARTHEST))
    parts = [x[..., :1], half - middle, half + middle, x[..., 5:]]
    return layers.Concatenate(dtype=EXACT, name=f"head{stride}")(parts)


def build_yunet(strides: Sequence[int], name: str = "yunet") -> keras.Model:
    """The network to train: `images` `[N,H,W,3]` RGB 0…255 → dict `head{s}` `[N,H/s,W/s,15]`.

    Args:
        strides: of the levels, each twice the one before, from 8 on.
        name: of the network.
    """
    images = keras.Input((None, None, 3), name="images")
    x = layers.Rescaling(1 / 64, dtype=EXACT, name="normalise")(images)  # black is 0, like what pads
    x = _normalised(layers.Conv2D(16, 3, 2, padding="same", use_bias=False, name="stem1_conv")(x), "stem1")
    for unit, channels in BEFORE.items():
        if unit == "s4_unit1":
            x = layers.MaxPooling2D(name="s4_down")(x)
        x = _unit(x, channels, unit)
    features = {}
    for stride in strides:
        x = layers.MaxPooling2D(name=f"s{stride}_down")(x)
        for number in (1, 2):
            x = _unit(x, WIDTH, f"s{stride}_unit{number}")
        for number in range(1 if stride == strides[0] else 2):
            x = _block(x, f"s{stride}_block{number + 1}")
        features[stride] = x
    heads, above = {}, None
    for stride in reversed(strides):
        x = features[stride]
        if above is not None:
            up = layers.UpSampling2D(2, interpolation="nearest", name=f"s{stride}_up")(above)
            x = layers.Add(name=f"s{stride}_merge")([x, up])
        x = _unit(x, WIDTH, f"s{stride}_lateral")
        above = x if stride in LEVELS else None  # what stands above the source's levels does not come down to them
        heads[f"head{stride}"] = _head(x, stride)
    return keras.Model(images, {f"head{stride}": heads[f"head{stride}"] for stride in strides}, name=name)


def _separables(strides: Sequence[int]) -> Iterator[tuple[str, list[str]]]:
    """The separable layers of a network, and the tensors in the source that belong to each, one behind the other. A
    level that the source lacks goes by its highest."""
    for ours, theirs in _SOURCES.items():
        yield ours, [theirs]
    for stride in strides:
        level = LEVELS.index(min(stride, LEVELS[-1]))
        for number in (1, 2):
            yield f"s{stride}_unit{number}", [f"backbone__model{level + 3}_dp{number}"]
        yield f"s{stride}_lateral", [f"neck__lateral_convs__{level}"]
        yield f"s{stride}_head", [f"bbox_head__multi_level_{part}__{level}" for part in PARTS]


def source_shapes() -> dict[str, tuple[int, ...]]:
    """Of the tensors that `load_yunet` takes, by the names that they have in libfacedetection."""
    shapes: dict[str, tuple[int, ...]] = {f"{_STEM}_pw_weight": (16, 32), f"{_STEM}_pw_bias": (16,)}
    network = build_yunet(LEVELS)
    for ours, sources in _separables(LEVELS):
        inputs = network.get_layer(f"{ours}_pointwise").kernel.shape[2]
        width = network.get_layer(f"{ours}_depthwise").kernel.shape[2]
        for source, channels in zip(sources, PARTS.values() if len(sources) > 1 else [width], strict=True):
            shapes |= {f"{source}_pw_weight": (channels, inputs), f"{source}_dw_weight": (9, channels)}
            shapes |= {f"{source}_pw_bias": (channels,), f"{source}_dw_bias": (channels,)}
    return shapes


def load_yunet(network: keras.Model, source: Mapping[str, NDArray[np.float32]]) -> None:
    """Put libfacedetection's weights into a network of `build_yunet`, in place: it computes the same then, on the
    levels that both have, but at the borders. Averages of normalisations say "mean 0, variance 1".

    Args:
        network: as built.
        source: its tensors by name, of the `source_shapes`.
    """
    # A filter's weights go by row, column, and blue, green, red; zeros fill its 27 up to 32.
    kernel = source[f"{_STEM}_pw_weight"][:, :27].reshape(16, 3, 3, 3)[..., ::-1].transpose(1, 2, 3, 0)
    network.get_layer("stem1_conv").set_weights([kernel * 64])
    _begin(network.get_layer("stem1_norm"), source[f"{_STEM}_pw_bias"])
    strides = sorted(int(name.removeprefix("head")) for name in network.output)
    for ours, sources in _separables(strides):
        pointwise, bias, depthwise, offset = (
            np.concatenate([source[f"{name}_{kind}"] for name in sources], axis=axis)
            for kind, axis in (("pw_weight", 0), ("pw_bias", 0), ("dw_weight", 1), ("dw_bias", 0))
        )
        network.get_layer(f"{ours}_pointwise").set_weights([pointwise.T[None, None], bias])
        network.get_layer(f"{ours}_depthwise").set_weights([depthwise.reshape(3, 3, -1, 1), offset])
        if ours.endswith("_head"):
            stride = ours.removesuffix("_head")
            network.get_layer(f"{stride}_answer").set_weights(_answers(int(stride[1:])))
        else:
            _begin(network.get_layer(f"{ours}_norm"), 0 * offset)


def _begin(norm: FusedBatchNormalization, centre: NDArray[np.float32]) -> None:
    one = np.ones_like(centre)
    norm.set_weights([one, centre, 0 * one, one * np.float32(1 - EPSILON)])


def _answers(stride: int) -> list[NDArray[np.float32]]:
    """Kernel and offset that make of a head's 16 numbers in the source (`PARTS`: face and box as logits, the centre
    from the cell's corner, log-sizes, points from the corner) the 15 of an answer: score, the centre from the cell's
    middle, logarithms of half the size, points from the middle. √(σ(a)·σ(b)), the source's score, is about
    σ((a + b) / 2).

    The source pads pictures by a pixel at left and top; here "same" pads them at right and bottom, so all that is seen
    lies a pixel further left and up.
    """
    kernel, offset = np.zeros((16, 15), np.float32), np.zeros(15, np.float32)
    kernel[:2, 0] = 0.5
    kernel[2:, 1:] = np.eye(14, dtype=np.float32)
    offset[[1, 2]] = offset[5:] = 1 / stride - 0.5
    offset[[3, 4]] = -np.log(2.0)
    return [kernel[None, None], offset]
