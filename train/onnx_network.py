"""Networks from ONNX files, computed in Keras' own operations: teachers run where the training runs, on a GPU as well.

Only what face-embedding networks are made of is understood (ONNX operators, opset 13 to 17, inference). What depends on
shapes and constants alone is computed once, in NumPy, while the network is traced.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from keras import ops
from onnx import helper, numpy_helper

from engine.errors import InputError

Tensor = Any
Values = list[Any]
"""NumPy arrays, where they are known before any picture is; else tensors."""


OPSETS = range(13, 18)
UNSAID: tuple[Any, ...] = (0, b"", b"NOTSET", [])
"""Values of an attribute that say what holds without it."""


class OnnxNetwork:
    """A network with one input and one output.

    Args:
        path: of the ONNX file.

    Raises:
        InputError: it cannot be read, or has an operator or attribute that is not understood here.

    Example:
        >>> network = OnnxNetwork(Path("edgeface_xs.onnx"))                        # doctest: +SKIP
        >>> network(ops.zeros((2, 3, 112, 112))).shape                             # doctest: +SKIP
        (2, 512)
    """

    def __init__(self, path: Path) -> None:
        model = _simplified(path)
        graph = model.graph
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        if opset not in OPSETS:
            raise InputError(f"{path} has ONNX opset {opset}; {OPSETS[0]} to {OPSETS[-1]} are understood here")
        unknown = sorted({node.op_type for node in graph.node} - OPERATORS.keys())
        if unknown:
            raise InputError(f"{path} has operators that are not understood here: {', '.join(unknown)}")
        self._nodes = [(n, {a.name: helper.get_attribute_value(a) for a in n.attribute}) for n in graph.node]
        for node, attributes in self._nodes:
            strange = {
                k for k, v in attributes.items() if k not in ATTRIBUTES.get(node.op_type, ()) and v not in UNSAID
            }
            if strange:
                raise InputError(f"{path}: {', '.join(sorted(strange))} of {node.op_type} is not understood here")
        self._weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        self._input = next(i.name for i in graph.input if i.name not in self._weights)
        self._output = graph.output[0].name

    def __call__(self, x: Tensor) -> Tensor:
        """The output for `x`, whose shape is known."""
        values: dict[str, Any] = {"": None, self._input: x, **self._weights}
        for node, attributes in self._nodes:
            inputs = [values[name] for name in node.input]
            results = OPERATORS[node.op_type](inputs, attributes)
            values.update(zip(node.output, results, strict=False))
        return values[self._output]


def _simplified(path: Path) -> onnx.ModelProto:
    """The same network with constants folded and batch normalisations merged into convolutions, by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "simplified.onnx")
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            return onnx.load(options.optimized_model_filepath)
        except Exception as error:  # ONNX Runtime has no class of its own for a file it cannot read
            raise InputError(f"{path} cannot be read as a network: {error}") from error


def _known(inputs: Values) -> bool:
    return all(value is None or isinstance(value, np.ndarray | np.generic) for value in inputs)


def _of(inputs: Values) -> Any:
    """The library whose functions these values take; both name most of them alike."""
    return np if _known(inputs) else ops


def _plain(name: str) -> Callable[[Values, dict[str, Any]], Values]:
    """An operator that is a function of its inputs and nothing else."""

    def apply(inputs: Values, _: dict[str, Any]) -> Values:
        return [getattr(_of(inputs), name)(*inputs)]

    return apply


def _shape(inputs: Values, _: dict[str, Any]) -> Values:
    return [np.array(inputs[0].shape, np.int64)]


def _constant(_: Values, attributes: dict[str, Any]) -> Values:
    return [numpy_helper.to_array(attributes["value"])]


def _constant_of_shape(inputs: Values, attributes: dict[str, Any]) -> Values:
    value = numpy_helper.to_array(attributes["value"]) if "value" in attributes else np.zeros(1, np.float32)
    return [np.full(inputs[0], value[0])]


def _cast(inputs: Values, attributes: dict[str, Any]) -> Values:
    dtype = helper.tensor_dtype_to_np_dtype(attributes["to"])
    return [inputs[0].astype(dtype) if _known(inputs) else ops.cast(inputs[0], str(dtype))]


def _transpose(inputs: Values, attributes: dict[str, Any]) -> Values:
    return [_of(inputs).transpose(inputs[0], attributes.get("perm"))]


def _unsqueeze(inputs: Values, _: dict[str, Any]) -> Values:
    return [_of(inputs).expand_dims(inputs[0], tuple(int(a) for a in np.atleast_1d(inputs[1])))]


def _squeeze(inputs: Values, _: dict[str, Any]) -> Values:
    axes = None if len(inputs) < 2 else tuple(int(a) for a in inputs[1])
    return [_of(inputs).squeeze(inputs[0], axes)]


def _gather(inputs: Values, attributes: dict[str, Any]) -> Values:
    return [_of(inputs).take(inputs[0], inputs[1], axis=attributes.get("axis", 0))]


def _concat(inputs: Values, attributes: dict[str, Any]) -> Values:
    return [_of(inputs).concatenate([np.atleast_1d(i) if _known([i]) else i for i in inputs], axis=attributes["axis"])]


def _slice(inputs: Values, _: dict[str, Any]) -> Values:
    x, starts, ends = inputs[:3]
    axes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else np.arange(len(starts))
    steps = inputs[4] if len(inputs) > 4 else np.ones(len(starts), np.int64)
    parts = [slice(None)] * len(x.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        parts[int(axis)] = slice(int(start), int(min(end, np.iinfo(np.int32).max)), int(step))
    return [x[tuple(parts)]]


def _reshape(inputs: Values, _: dict[str, Any]) -> Values:
    x, wanted = inputs
    shape = [int(x.shape[n]) if size == 0 else int(size) for n, size in enumerate(wanted)]
    return [_of(inputs).reshape(x, shape)]


def _flatten(inputs: Values, attributes: dict[str, Any]) -> Values:
    axis = attributes.get("axis", 1)
    return [ops.reshape(inputs[0], (int(np.prod(inputs[0].shape[:axis])), -1))]


def _expand(inputs: Values, _: dict[str, Any]) -> Values:
    x, wanted = inputs
    return [_of([x]).broadcast_to(x, np.broadcast_shapes(tuple(x.shape), tuple(int(n) for n in wanted)))]


def _split(inputs: Values, attributes: dict[str, Any]) -> Values:
    return list(ops.split(inputs[0], [int(n) for n in np.cumsum(inputs[1])[:-1]], axis=attributes.get("axis", 0)))


def _clip(inputs: Values, _: dict[str, Any]) -> Values:
    x, *limits = inputs
    if limits and limits[0] is not None:
        x = _of([x]).maximum(x, limits[0])
    if len(limits) > 1 and limits[1] is not None:
        x = _of([x]).minimum(x, limits[1])
    return [x]


def _cumulative_sum(inputs: Values, _: dict[str, Any]) -> Values:
    return [_of(inputs[:1]).cumsum(inputs[0], axis=int(inputs[1]))]


def _norm(inputs: Values, attributes: dict[str, Any]) -> Values:
    """ReduceL2."""
    axes = tuple(attributes["axes"]) if "axes" in attributes else tuple(int(a) for a in inputs[1])
    square = ops.sum(ops.square(inputs[0]), axis=axes, keepdims=bool(attributes.get("keepdims", 1)))
    return [ops.sqrt(square)]


def _softmax(inputs: Values, attributes: dict[str, Any]) -> Values:
    return [ops.softmax(inputs[0], axis=attributes.get("axis", -1))]


def _layer_normalization(inputs: Values, attributes: dict[str, Any]) -> Values:
    x, scale, *shift = inputs
    axes = tuple(range(attributes.get("axis", -1) % len(x.shape), len(x.shape)))
    centred = x - ops.mean(x, axis=axes, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=axes, keepdims=True)
    y = centred / ops.sqrt(variance + attributes.get("epsilon", 1e-5)) * scale
    return [y + shift[0] if shift else y]


def _batch_normalization(inputs: Values, attributes: dict[str, Any]) -> Values:
    x, scale, shift, mean, variance = inputs
    gain = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    across = (-1, *[1] * (len(x.shape) - 2))
    return [x * gain.reshape(across) + (shift - mean * gain).reshape(across)]


def _prelu(inputs: Values, _: dict[str, Any]) -> Values:
    x, slope = inputs
    return [ops.relu(x) - slope * ops.relu(-x)]


def _gemm(inputs: Values, attributes: dict[str, Any]) -> Values:
    a, b, *c = inputs
    a = ops.transpose(a) if attributes.get("transA") else a
    y = ops.matmul(a, b.T if attributes.get("transB") else b) * attributes.get("alpha", 1.0)
    return [y + c[0] * attributes.get("beta", 1.0) if c else y]


def _convolution(inputs: Values, attributes: dict[str, Any]) -> Values:
    x, kernel, *bias = inputs
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    x = ops.pad(ops.transpose(x, (0, 2, 3, 1)), ((0, 0), (top, bottom), (left, right), (0, 0)))
    strides, dilation = attributes.get("strides", [1, 1]), tuple(attributes.get("dilations", [1, 1]))
    groups, channels = attributes.get("group", 1), int(x.shape[-1])
    if groups > 1 and groups == channels:
        each = kernel.reshape(channels, -1, *kernel.shape[2:]).transpose(2, 3, 0, 1)
        y = ops.depthwise_conv(x, each, tuple(strides), "valid", dilation_rate=dilation)
    else:
        parts = zip(ops.split(x, groups, axis=-1), np.split(kernel.transpose(2, 3, 1, 0), groups, axis=-1), strict=True)
        y = ops.concatenate([ops.conv(p, k, tuple(strides), "valid", dilation_rate=dilation) for p, k in parts], -1)
    return [ops.transpose(y + bias[0] if bias else y, (0, 3, 1, 2))]


def _global_average(inputs: Values, _: dict[str, Any]) -> Values:
    return [ops.mean(inputs[0], axis=(2, 3), keepdims=True)]


def _divide(inputs: Values, _: dict[str, Any]) -> Values:
    a, b = inputs
    if _known(inputs):
        whole = np.issubdtype(np.asarray(a).dtype, np.integer)
        return [np.asarray(a // b) if whole else np.divide(a, b)]
    return [ops.divide(a, b)]


OPERATORS: dict[str, Callable[[Values, dict[str, Any]], Values]] = {
    "Add": _plain("add"),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _convolution,
    "Cos": _plain("cos"),
    "CumSum": _cumulative_sum,
    "Div": _divide,
    "Erf": lambda inputs, _: [ops.erf(inputs[0])],
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Identity": lambda inputs, _: [inputs[0]],
    "LayerNormalization": _layer_normalization,
    "MatMul": _plain("matmul"),
    "Mul": _plain("multiply"),
    "Not": _plain("logical_not"),
    "PRelu": _prelu,
    "ReduceL2": _norm,
    "Reshape": _reshape,
    "Shape": _shape,
    "Sin": _plain("sin"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _plain("subtract"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

ATTRIBUTES = {
    "BatchNormalization": ("epsilon", "momentum"),
    "Cast": ("to",),
    "Concat": ("axis",),
    "Constant": ("value",),
    "ConstantOfShape": ("value",),
    "Conv": ("dilations", "group", "kernel_shape", "pads", "strides"),
    "Flatten": ("axis",),
    "Gather": ("axis",),
    "Gemm": ("alpha", "beta", "transA", "transB"),
    "LayerNormalization": ("axis", "epsilon", "stash_type"),
    "ReduceL2": ("axes", "keepdims"),
    "Softmax": ("axis",),
    "Split": ("axis",),
    "Transpose": ("perm",),
}
"""What each operator may be told."""
