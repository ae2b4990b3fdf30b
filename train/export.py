"""Keras → ONNX: stable names, dynamic sizes, the network's own facts inside, and proof that nothing changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from engine.errors import InputError
from train.onnx_file import write_onnx

OPSET = 17


def export_onnx(
    network: keras.Model | Callable[[tf.Tensor], Any],
    path: Path,
    *,
    input_name: str,
    input_shape: Sequence[int | None],
    output_names: Sequence[str],
    metadata: Mapping[str, str],
    example: NDArray[np.uint8],
    tolerance: float = 1e-3,
    opset: int = OPSET,
) -> str:
    """Write `network` as ONNX to `path` and `NAME.sha256` beside it; returns the checksum.

    Args:
        network: takes float32 pixels 0…255 `[N,H,W,3]`, returns one tensor or several in the order of `output_names`.
        path: the file, replaced only when the export has proved itself.
        input_name: of the one input, uint8; the cast to float is part of the graph.
        input_shape: of the input, `None` where any size goes, for example `(None, 112, 112, 3)`.
        output_names: of the outputs.
        metadata: stored as `metadata_props`, for example `iznet.kind`.
        example: a uint8 batch on which ONNX Runtime must agree with `network`.
        tolerance: largest absolute difference that still passes.
        opset: 18 at most (the converter's limit).

    The same weights give the same bytes: names, order and producer do not depend on what the process did before.

    Raises:
        InputError: the exported network answers otherwise than the original.
        OutputError: `path` cannot be written.
    """

    def call(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = network(tf.cast(pixels, tf.float32))
        answers = list(answer) if isinstance(answer, list | tuple) else [answer]
        return {name: tf.identity(a, name=name) for name, a in zip(output_names, answers, strict=True)}

    signature = [tf.TensorSpec(tuple(input_shape), tf.uint8, name=input_name)]
    with _quiet():
        model, _ = tf2onnx.convert.from_function(tf.function(call), input_signature=signature, opset=opset)
    _rename(model, input_name, input_shape, output_names)

    def check(exported: Path) -> None:
        difference = _difference(exported, network, example, input_name, output_names)
        if not difference <= tolerance:
            raise InputError(
                f"the network exported for {path} differs from the original by {difference:.3g} (limit "
                f"{tolerance:.3g}); nothing was written"
            )

    return write_onnx(model, path, metadata, check)


def _rename(model: Any, input_name: str, input_shape: Sequence[int | None], output_names: Sequence[str]) -> None:
    """Stable names for inputs, outputs, dimensions and every node and tensor between them.

    The converter derives names, and from them an order, from counters of the process; with an order of its own and
    numbers in that order the bytes depend on the network alone.
    """
    graph = model.graph
    _order(graph, output_names)
    fixed: dict[str, str] = {graph.input[0].name: input_name}
    fixed |= dict(zip((o.name for o in graph.output), _matched(graph, output_names), strict=True))
    weights = {tensor.name for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        node.doc_string = ""
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                if name:
                    fixed.setdefault(name, f"{'w' if name in weights else 't'}{len(fixed):04d}")
                    names[k] = fixed[name]
    ordered = sorted((t for t in graph.initializer if t.name in fixed), key=lambda t: fixed[t.name])
    for tensor in ordered:
        tensor.name = fixed[tensor.name]
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in ordered]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for value in (*graph.input, *graph.output):
        value.name = fixed[value.name]
    del graph.value_info[:]
    letters = dict(enumerate(("N", "H", "W", "C")))
    for axis, size in enumerate(input_shape):
        if size is None:
            graph.input[0].type.tensor_type.shape.dim[axis].dim_param = letters[axis]
    for output in graph.output:
        for axis, dim in enumerate(output.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = "N" if axis == 0 else f"{output.name}_{letters.get(axis, axis)}"


def _order(graph: Any, output_names: Sequence[str]) -> None:
    """Put every node after those that it needs, in the order in which the outputs ask for them."""
    maker = {name: node for node in graph.node for name in node.output}
    wanted = dict(zip(_matched(graph, output_names), (o.name for o in graph.output), strict=True))
    ordered: list[Any] = []
    done: set[str] = set()
    stack = [(maker[wanted[name]], False) for name in reversed(output_names)]
    while stack:
        node, ready = stack.pop()
        if node.output[0] in done:
            continue
        if ready:
            done.update(node.output)
            ordered.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        stack.append((node, True))
        stack += [(maker[name], False) for name in reversed(node.input) if name in maker and name not in done]
    del graph.node[:]
    graph.node.extend(ordered)


def _matched(graph: Any, output_names: Sequence[str]) -> list[str]:
    """The wanted name of each output of `graph`; the converter keeps them up to a suffix such as `:0`."""
    found = [o.name.split(":")[0] for o in graph.output]
    if sorted(found) == sorted(output_names):
        return found
    return list(output_names)


def _difference(
    exported: Path, network: Any, example: NDArray[np.uint8], input_name: str, output_names: Sequence[str]
) -> float:
    """Largest absolute difference between ONNX Runtime and the original on `example`; infinite where shapes differ."""
    session = ort.InferenceSession(exported, providers=["CPUExecutionProvider"])
    answers = session.run(list(output_names), {input_name: example})
    answer = network(tf.constant(example, tf.float32))
    original = [np.asarray(a) for a in (answer if isinstance(answer, list | tuple) else [answer])]
    worst = 0.0
    for a, b in zip(answers, original, strict=True):
        if a.shape != b.shape or not np.isfinite(a).all():
            return float("inf")
        worst = max(worst, float(np.max(np.abs(a - b))))
    return worst


@contextlib.contextmanager
def _quiet() -> Any:
    """The converter logs its progress at warning level; errors stay."""
    import logging

    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
