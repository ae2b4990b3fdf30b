"""What TensorRT is given to compute in: an ONNX network rewritten for f32, f16 or int8.

TensorRT 11 takes the types as they stand in the network: there is no switch for them. So half precision means a network
whose numbers are halves, and integers mean explicit QuantizeLinear and DequantizeLinear pairs. Those have to be
symmetric (zero point 0, int8), where CPUs prefer unsigned activations around a zero point of their own; the calibrated
ranges carry over, so that nothing has to be calibrated twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.errors import InputError, MissingError
from engine.modelfile import ModelFile
from engine.wording import install

if TYPE_CHECKING:
    from numpy.typing import NDArray

GpuPrecision = Literal["f32", "f16", "int8"]

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_KEPT = frozenset({"Exp", "Log", "Min", "Pow", "Reciprocal", "ReduceL2", "ReduceSum", "Softplus", "Sqrt"})
"""What stays in f32 in a network of halves: sums of squares and what follows them; it costs nothing and overflows."""
_FLOAT_INPUTS = {("Resize", 1), ("Resize", 2)}
"""Inputs that ONNX wants in f32 whatever the others are: sizes, not pixels."""


def rewritten(model: ModelFile, precision: GpuPrecision) -> bytes:
    """The network as TensorRT is to read it, as the bytes of an ONNX file; inputs and outputs are the same.

    Args:
        model: in f32, or quantised as `iznet train quantize-detector` does it.
        precision: `f32` and `f16` take quantisation out, `int8` needs it.

    Raises:
        InputError: `int8` of a network that is not quantised, or a construction that cannot be rewritten.
        MissingError: the package onnx is not installed.
    """
    onnx = _onnx()
    network = onnx.load_from_string(model.path.read_bytes())
    graph = network.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise InputError(f"{model.path}: networks with branches or loops cannot be made ready for a GPU")
    if precision == "int8" and not any(node.op_type == _QUANTIZE for node in graph.node):
        raise InputError(
            f"{model.path}: precision int8: this network is in f32; `iznet train quantize-detector` makes an INT8 copy "
            "of a detector; or use --precision f16"
        )
    _unfold_constants(graph, keep_weights=precision == "int8")
    _bring_relu_back(graph)
    if precision == "int8":
        _make_symmetric(graph)
    else:
        _take_quantisation_out(graph)
    if precision == "f16":
        types = onnx.shape_inference.infer_shapes(network).graph
        _halve(graph, {value.name: value.type.tensor_type.elem_type for value in [*types.value_info, *graph.input]})
    used = {name for node in graph.node for name in node.input}
    _replace(graph.initializer, [value for value in graph.initializer if value.name in used])
    del graph.value_info[:]
    try:
        onnx.checker.check_model(network)
    except onnx.checker.ValidationError as error:
        raise InputError(f"{model.path}: cannot be made ready for a GPU in {precision}: {error}") from error
    return bytes(network.SerializeToString())


def _unfold_constants(graph: Any, keep_weights: bool) -> None:
    """Quantised constants become floats again; with `keep_weights`, int8 ones of zero point 0 pass through a
    QuantizeLinear and a DequantizeLinear of their own, which gives the same integers back."""
    constants = _constants(graph)
    nodes = []
    for node in graph.node:
        if node.op_type != _DEQUANTIZE or node.input[0] not in constants:
            nodes.append(node)
            continue
        integers, scale = constants[node.input[0]], constants[node.input[1]]
        zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros(1, integers.dtype)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if n == axis else 1 for n in range(integers.ndim)] if scale.size > 1 else [1] * integers.ndim
        floats = (integers.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
        weights = keep_weights and integers.dtype == np.int8 and not zero.any()
        name = f"{node.output[0]}_float" if weights else node.output[0]
        graph.initializer.append(_onnx().numpy_helper.from_array(floats.astype(np.float32), name))
        if weights:
            quantize = _onnx().helper.make_node(
                _QUANTIZE, [name, *node.input[1:]], [f"{node.output[0]}_integer"], axis=axis
            )
            nodes += [quantize, node]
            node.input[0] = quantize.output[0]
    _replace(graph.node, nodes)


def _bring_relu_back(graph: Any) -> None:
    """Unsigned integers with zero point 0 cut off what is negative; quantisers leave the Relu before them out."""
    constants = _constants(graph)
    relus = {node.output[0] for node in graph.node if node.op_type == "Relu"}
    nodes = []
    for node in graph.node:
        unsigned = node.op_type == _QUANTIZE and constants[node.input[2]].dtype == np.uint8
        if unsigned and not constants[node.input[2]].any() and node.input[0] not in relus:
            relu = _onnx().helper.make_node("Relu", [node.input[0]], [f"{node.output[0]}_relu"])
            nodes.append(relu)
            node.input[0] = relu.output[0]
        nodes.append(node)
    _replace(graph.node, nodes)


def _take_quantisation_out(graph: Any) -> None:
    """Every pair of QuantizeLinear and DequantizeLinear becomes a plain connection."""
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type == _QUANTIZE}
    same = {node.output[0]: before[node.input[0]] for node in graph.node if node.op_type == _DEQUANTIZE}
    nodes = [node for node in graph.node if node.op_type not in (_QUANTIZE, _DEQUANTIZE)]
    for node in nodes:
        for n, name in enumerate(node.input):
            while name in same:
                name = same[name]
            node.input[n] = name
    nodes += [
        _onnx().helper.make_node("Identity", [same[output.name]], [output.name])
        for output in graph.output
        if output.name in same
    ]
    _replace(graph.node, nodes)


def _make_symmetric(graph: Any) -> None:
    """Unsigned activations around a zero point become signed ones around 0 that reach as far."""
    constants = _constants(graph)
    made: dict[tuple[str, str], tuple[str, str]] = {}
    for node in graph.node:
        if node.op_type not in (_QUANTIZE, _DEQUANTIZE) or constants[node.input[2]].dtype != np.uint8:
            continue
        pair = node.input[1], node.input[2]
        if pair not in made:
            scale, zero = constants[pair[0]], constants[pair[1]].astype(np.float32)
            symmetric = (scale * np.maximum(zero, 255 - zero) / 127).astype(np.float32)
            made[pair] = f"{pair[0]}_symmetric", f"{pair[1]}_symmetric"
            for name, value in zip(made[pair], (symmetric, np.zeros(zero.shape, np.int8)), strict=True):
                graph.initializer.append(_onnx().numpy_helper.from_array(value, name))
        node.input[1], node.input[2] = made[pair]


def _halve(graph: Any, types: dict[str, int]) -> None:
    """Floats become halves, but for what `_KEPT` lists and the network's inputs and outputs."""
    onnx = _onnx()
    single, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    constants = _constants(graph)
    types = types | {name: single for name, value in constants.items() if value.dtype == np.float32}
    # What is in f32 in the original and in halves now has the same name; the other kind of it is made where wanted.
    now = {name: single for name in [*constants, *(value.name for value in graph.input)] if types.get(name) == single}
    nodes: list[Any] = []
    turned: set[str] = set()

    def turn(name: str, into: int) -> str:
        other = f"{name}_{'half' if into == half else 'single'}"
        if other not in turned:
            turned.add(other)
            if name in constants:
                graph.initializer.append(onnx.numpy_helper.from_array(_halves(constants[name]), other))
            else:
                nodes.append(onnx.helper.make_node("Cast", [name], [other], to=into))
        return other

    outputs = {output.name for output in graph.output if types.get(output.name, single) == single}
    for node in graph.node:
        square = node.op_type == "Mul" and node.input[0] == node.input[1]
        kind = single if square or node.op_type in _KEPT else half
        for n, name in enumerate(node.input):
            want = single if (node.op_type, n) in _FLOAT_INPUTS else kind
            if now.get(name, want) != want:
                node.input[n] = turn(name, want)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = kind
            elif attribute.HasField("t") and attribute.t.data_type == single:
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(_halves(onnx.numpy_helper.to_array(attribute.t))))
        nodes.append(node)
        for n, name in enumerate(node.output):
            if name in outputs:
                if kind == half:
                    node.output[n] = f"{name}_half"
                    nodes.append(onnx.helper.make_node("Cast", [node.output[n]], [name], to=single))
                    now[node.output[n]] = half
                now[name] = single
            elif types.get(name) == single:
                now[name] = kind
    _replace(graph.node, nodes)


def _halves(values: NDArray[Any]) -> NDArray[np.float16]:
    """As float16; what is too large becomes the largest that there is."""
    largest = float(np.finfo(np.float16).max)
    return np.asarray(np.clip(values, -largest, largest), np.float16)


def _constants(graph: Any) -> dict[str, NDArray[Any]]:
    return {value.name: _onnx().numpy_helper.to_array(value) for value in graph.initializer}


def _replace(field: Any, values: list[Any]) -> None:
    """Put other messages into a repeated field of a protobuf message."""
    kept = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(kept)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise MissingError(f"the package onnx cannot be loaded ({error}); {install('gpu-wheels')}") from error
    return onnx
