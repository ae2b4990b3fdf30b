"""Small networks that follow the shipped ones' conventions and need no training.

A "face" is a solid, upright rectangle whose red is bright on a darker-red ground; whose face it is is told by its
green and blue. The detector measures mass and moments of the bright pixels in a window around each cell, which gives a
rectangle's centre and sides exactly; the embedder turns the mean green and blue into angles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.embedder import Embedder
from engine.gallery import Gallery

STRIDES = (8, 16, 32)
POOL = 4
"""Pixels that the detector averages before it looks."""
REACH = 6
"""Half the window, in strides: a stride finds faces up to twice this."""
POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]], np.float32)
"""Landmarks, as parts of the box."""
PEOPLE = {"ann": (230, 20, 20), "ben": (230, 20, 235), "cho": (230, 235, 20), "대현": (230, 235, 235)}
"""Colours that the embedder tells apart: cosine 0 or less between any two."""
GROUND = (40, 90, 90)


def gallery_of(embedder: Embedder, *names: str) -> Gallery:
    """A gallery of some of the people; without names, of all."""
    people = {}
    for name in names or PEOPLE:
        crop = np.empty((1, 112, 112, 3), np.uint8)
        crop[...] = PEOPLE[name]
        people[name] = embedder.embed(crop)
    return Gallery.build(people, embedder.sha256, threshold=embedder.threshold)


def paint(rgb: NDArray[np.uint8], box: Sequence[float], colour: Sequence[int]) -> None:
    """Draw a face for the synthetic detector, whole pixels."""
    x1, y1, x2, y2 = (round(v) for v in box)
    rgb[max(0, y1) : y2, max(0, x1) : x2] = colour


def scene(width: int, height: int, faces: Sequence[tuple[Sequence[float], Sequence[int]]] = ()) -> NDArray[np.uint8]:
    """uint8 `[height,width,3]` RGB: a dark ground and faces (box, colour)."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[...] = GROUND
    for box, colour in faces:
        paint(rgb, box, colour)
    return rgb


class _Graph:
    """Collects nodes; every call returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        output = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def save(self, path: Path, inputs: list[Any], outputs: list[Any], metadata: dict[str, str]) -> Path:
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        path.with_suffix(".sha256").write_text(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n", "utf-8"
        )
        return path


def write_detector(path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """A detector of coloured rectangles, with `NAME.sha256` beside it; `metadata` adds to or replaces its own."""
    g = _Graph()
    planes = g("Transpose", g("Cast", "images", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    axes = g.constant([1], np.int64)
    red = g("Slice", planes, g.constant([0], np.int64), g.constant([1], np.int64), axes)
    bright = g("Cast", g("Greater", red, g.constant(140)), to=TensorProto.FLOAT)
    pooled = g("AveragePool", bright, kernel_shape=[POOL, POOL], strides=[POOL, POOL])
    for stride in STRIDES:
        _head(g, pooled, stride)
    value = helper.make_tensor_value_info
    props = {
        "iznet.kind": "detector",
        "iznet.name": "rectangles",
        "iznet.strides": ",".join(map(str, STRIDES)),
        "iznet.threshold": "0.5",
    }
    return g.save(
        path,
        [value("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        [value(f"head{s}", TensorProto.FLOAT, ["N", f"H{s}", f"W{s}", 15]) for s in STRIDES],
        props | dict(metadata or {}),
    )


def _head(g: _Graph, pooled: str, stride: int) -> None:
    """Moments of the bright pixels in the window around each cell, in strides from its centre, to a box."""
    size, step = 2 * REACH * stride // POOL, stride // POOL
    pad = (size - step) // 2
    at = (np.arange(size) + 0.5) * POOL / stride - REACH
    x, y = np.meshgrid(at, at)
    one, within = np.ones_like(x), (POOL / stride) ** 2 / 12
    edge = np.maximum(abs(x), abs(y)) > REACH - POOL / stride
    kernels = np.stack([one, x, y, x * x + within, y * y + within, edge])[:, None] * (POOL / stride) ** 2
    moments = g("Conv", pooled, g.constant(kernels), kernel_shape=[size] * 2, strides=[step] * 2, pads=[pad] * 4)
    parts = [f"{name}{stride}" for name in ("mass", "x", "y", "xx", "yy", "edge")]
    g.nodes.append(helper.make_node("Split", [moments, g.constant([1] * 6, np.int64)], parts, axis=1))
    mass = g("Max", parts[0], g.constant(1e-3))
    dx, dy, xx, yy = (g("Div", part, mass) for part in parts[1:5])
    width, height = (
        g("Sqrt", g("Mul", g("Max", g("Sub", square, g("Mul", mean, mean)), g.constant(1e-6)), g.constant(12)))
        for mean, square in ((dx, xx), (dy, yy))
    )
    fill = g("Div", mass, g("Mul", width, height))
    half = g.constant(0.5)
    gates = [
        g("Less", parts[5], g.constant(0.01)),
        g("LessOrEqual", g("Abs", dx), half),
        g("LessOrEqual", g("Abs", dy), half),
        g("Greater", mass, g.constant(0.5)),
        g("Greater", fill, g.constant(0.85)),
    ]
    score = g("Min", g("Mul", fill, g.constant(0.9)), g.constant(0.99))
    for gate in gates:
        score = g("Mul", score, g("Cast", gate, to=TensorProto.FLOAT))
    columns = [score]
    for sign in ("Sub", "Add"):
        columns += [g(sign, g("Mul", side, half), middle) for side, middle in ((width, dx), (height, dy))]
    for px, py in POINTS - 0.5:
        columns += [g("Add", dx, g("Mul", width, g.constant(px))), g("Add", dy, g("Mul", height, g.constant(py)))]
    # Nothing there: distances of nothing, which no threshold lets through.
    g("Transpose", g("Concat", *columns, axis=1), name=f"head{stride}", perm=[0, 2, 3, 1])


def write_embedder(path: Path, dimension: int = 128, metadata: Mapping[str, str] | None = None) -> Path:
    """An embedder of colours, with `NAME.sha256` beside it; `metadata` adds to or replaces its own."""
    g = _Graph()
    middle = g(
        "Slice",
        g("Cast", "faces", to=TensorProto.FLOAT),
        g.constant([40, 40, 1], np.int64),
        g.constant([72, 72, 3], np.int64),
        g.constant([1, 2, 3], np.int64),
    )
    mean = g("ReduceMean", middle, axes=[1, 2], keepdims=0)
    angle = g("Mul", mean, g.constant(np.pi / 255))
    four = g("Mul", g("Concat", g("Cos", angle), g("Sin", angle), axis=1), g.constant(np.sqrt(0.5)))
    g("Pad", four, g.constant([0, 0, 0, dimension - 4], np.int64), name="embeddings")
    value = helper.make_tensor_value_info
    props = {"iznet.kind": "embedder", "iznet.name": "colours", "iznet.threshold": "0.9"}
    return g.save(
        path,
        [value("faces", TensorProto.UINT8, ["N", 112, 112, 3])],
        [value("embeddings", TensorProto.FLOAT, ["N", dimension])],
        props | dict(metadata or {}),
    )
