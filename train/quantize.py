"""ONNX in 32-bit floats → ONNX in 8-bit integers, with the loss measured.

Static quantisation as in Jacob et al., CVPR 2018: weights per filter and symmetric, activations per tensor over the
range that example inputs reach. The integers are written as pairs of QuantizeLinear and DequantizeLinear, which every
runtime reads, and which those with integer kernels (AVX-512 VNNI, for example) turn into integer arithmetic.
Weights use 7 of the 8 bits: processors without such kernels add products in 16 bits, which would overflow with 8.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

KINDS = ("Add", "AveragePool", "Conv", "MaxPool", "Pad", "Relu")
"""What is computed in integers. A last dense layer stays in floats: it costs nothing and its outputs are compared.

So do depthwise convolutions and sums that no ReLU follows: channels that differ much in size have no good range in
common (`train.equalization` evens out those before a ReLU), and sums grow from block to block (MobileNetV2).
"""


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, examples: NDArray[Any], batch: int = 8) -> None:
        self._batches: Iterator[dict[str, NDArray[Any]]] = iter(
            [{name: examples[i : i + batch]} for i in range(0, len(examples), batch)]
        )

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)


def quantize(source: Path, examples: NDArray[Any]) -> onnx.ModelProto:
    """The network of `source` in integers; its metadata, inputs and outputs are the same.

    Args:
        source: ONNX in 32-bit floats, with one input.
        examples: what the one input will get, at least a few dozen.

    Example:
        >>> quantize(Path("embedder_f32.onnx"), faces).graph.input[0].name  # doctest: +SKIP
        'faces'
    """
    with tempfile.TemporaryDirectory() as folder:
        ready, written = Path(folder) / "ready.onnx", Path(folder) / "integers.onnx"
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # the quantiser reports every step on the root logger
        try:
            quant_pre_process(source, ready, skip_symbolic_shape=True)
            quantize_static(
                ready,
                written,
                _Examples(onnx.load(source, load_external_data=False).graph.input[0].name, examples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(KINDS),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=stay_floats(onnx.load(ready, load_external_data=False)),
            )
        finally:
            logging.root.setLevel(level)
        return onnx.load(written)


def stay_floats(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes of `KINDS` that are not computed in integers."""
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    return [
        node.name
        for node in model.graph.node
        if readers.get(node.output[0]) != {"Relu"}
        and (node.op_type == "Add" or any(a.name == "group" and a.i > 1 for a in node.attribute))
    ]
