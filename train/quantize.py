"""ONNX in 32-bit floats → ONNX in 8-bit integers, with the loss measured.

Static quantisation as in Jacob et al., CVPR 2018: weights per filter and symmetric, activations per tensor over the
range that example inputs reach. The integers are written as pairs of QuantizeLinear and DequantizeLinear, which every
runtime reads, and which those with integer kernels (AVX-512 VNNI, for example) turn into integer arithmetic.
Weights use 7 of the 8 bits: processors without such kernels add products in 16 bits, which would overflow with 8.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    def __init__(self, name: str, batches: Iterable[NDArray[Any]]) -> None:
        self._name = name
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def is_depthwise(node: onnx.NodeProto) -> bool:
    """Whether it is a convolution of several groups."""
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


def stay_floats(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes of `KINDS` that are not computed in integers."""
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    return [
        node.name
        for node in model.graph.node
        if readers.get(node.output[0]) != {"Relu"} and (node.op_type == "Add" or is_depthwise(node))
    ]


def in_eights(examples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """`[N,…]` in batches of 8, the last of what is left.

    Example:
        >>> [len(batch) for batch in in_eights(list(range(10)))]
        [8, 2]
    """
    return (examples[i : i + 8] for i in range(0, len(examples), 8))


def quantize(
    source: Path,
    batches: Iterable[NDArray[Any]],
    *,
    kinds: Sequence[str] = KINDS,
    floats: Callable[[onnx.ModelProto], list[str]] = stay_floats,
    whole_depthwise: bool = False,
) -> onnx.ModelProto:
    """The network of `source` in integers; its metadata, inputs and outputs are the same.

    Args:
        source: ONNX in 32-bit floats, with one input.
        batches: what the one input will get, at least a few dozen examples.
        kinds: operators that are computed in integers.
        floats: names the nodes of those kinds that are not.
        whole_depthwise: depthwise filters have all eight bits: they add nine products only, which every processor does
            in 32 bits. With seven a detector of YuNet's form loses 0.013 of AP.

    Example:
        >>> quantize(Path("embedder_f32.onnx"), in_eights(faces)).graph.input[0].name  # doctest: +SKIP
        'faces'
    """
    with tempfile.TemporaryDirectory(prefix="iznet-int8-") as folder:
        ready, written = Path(folder) / "ready.onnx", Path(folder) / "integers.onnx"
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # the quantiser reports every step on the root logger
        try:
            quant_pre_process(source, ready, skip_symbolic_shape=True)  # folds normalisations into convolutions
            model = onnx.load(ready, load_external_data=False)
            exact = floats(model)
            whole = {"quant_type": QuantType.QInt8, "reduce_range": False, "axis": 0}
            depthwise = (n for n in model.graph.node if whole_depthwise and is_depthwise(n) and n.name not in exact)
            quantize_static(
                ready,
                written,
                _Examples(model.graph.input[0].name, batches),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(kinds),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=exact,
                extra_options={"TensorQuantOverrides": {node.input[1]: [whole] for node in depthwise}},
            )
        finally:
            logging.root.setLevel(level)
        return onnx.load(written)
