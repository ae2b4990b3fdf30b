"""The shape of SCRFD-500M with random weights: what it costs can be timed without having it.

After the published configuration (Guo et al., arXiv 2105.04714; `scrfd_500m_bnkps`): MobileNetV1 of planes 16, 16, 40,
72, 152, 288 with 2, 3, 2 and 6 depthwise-separable blocks, a path-aggregation pyramid of 16 channels on strides 8 to
32, and for each stride two depthwise-separable layers of 64 channels under 3×3 convolutions for score, box and points
of two anchors. Batch normalisation is taken to be folded in. It finds nothing: only its time means something.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PLANES = (16, 16, 40, 72, 152, 288)
BLOCKS = (2, 3, 2, 6)
NECK, HEAD, ANCHORS = 16, 64, 2


class _Graph:
    """Collects layers; every call returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        output = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(
        self, x: str, channels: tuple[int, int], kernel: int = 3, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> str:
        shape = (channels[1], channels[0] // groups, kernel, kernel)
        weights = self._rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        y = self.op(
            "Conv",
            x,
            self.constant(weights),
            self.constant(np.zeros(channels[1], np.float32)),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return self.op("Relu", y) if relu else y

    def separable(self, x: str, channels: tuple[int, int], stride: int = 1) -> str:
        y = self.conv(x, (channels[0], channels[0]), 3, stride, channels[0])
        return self.conv(y, channels, 1)

    def larger(self, x: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.op("Resize", x, "", scales, mode="nearest")


def write_scrfd_500m(path: Path) -> Path:
    """Write the network as ONNX: `input` float32 `[1,3,H,W]`, sides multiples of 32; returns `path`."""
    g = _Graph()
    x = g.conv("input", (3, PLANES[0]), stride=2)
    x = g.separable(x, (PLANES[0], PLANES[1]))
    features = []
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            x = g.separable(x, (PLANES[stage + 1 + (block > 0)], PLANES[stage + 2]), 2 if block == 0 else 1)
        features.append(x)
    lateral = [g.conv(f, (c, NECK), 1, relu=False) for f, c in zip(features[1:], PLANES[3:], strict=True)]
    for level in (1, 0):
        lateral[level] = g.op("Add", lateral[level], g.larger(lateral[level + 1]))
    inner = [g.conv(y, (NECK, NECK), relu=False) for y in lateral]
    for level in (1, 2):
        down = g.conv(inner[level - 1], (NECK, NECK), stride=2, relu=False)
        inner[level] = g.op("Add", inner[level], down)
    levels = [inner[0], *(g.conv(y, (NECK, NECK), relu=False) for y in inner[1:])]
    outputs = []
    for stride, y in zip((8, 16, 32), levels, strict=True):
        y = g.separable(g.separable(y, (NECK, HEAD)), (HEAD, HEAD))
        for name, values in (("score", 1), ("box", 4), ("points", 10)):
            z = g.conv(y, (HEAD, ANCHORS * values), relu=False)
            flat = g.op("Transpose", g.op("Sigmoid", z) if name == "score" else z, perm=[0, 2, 3, 1])
            shape = g.constant(np.array([1, -1, values], np.int64))
            outputs.append(g.op("Reshape", flat, shape, name=f"{name}{stride}"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes,
        "scrfd-500m-shape",
        [value("input", TensorProto.FLOAT, [1, 3, "H", "W"])],
        [value(name, TensorProto.FLOAT, [1, None, None]) for name in outputs],
        g.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
