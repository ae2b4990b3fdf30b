"""ONNX networks in Keras' operations against ONNX Runtime, operator by operator and as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("keras")
pytest.importorskip("tensorflow")

import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engine.errors import InputError  # noqa: E402
from train.onnx_network import OPERATORS, OnnxNetwork  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 9, 8)).astype(np.float32)
Node = tuple[str, list[Any], dict[str, Any]]
"""Operator, further inputs (arrays), attributes."""


def f(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def network(path: Path, nodes: list[Node]) -> Path:
    """A chain of operators, each on what the one before gave; several outputs are joined again."""
    made, weights, now = [], [], "x"
    for number, (operator, inputs, attributes) in enumerate(nodes):
        names = [f"w{number}_{i}" for i in range(len(inputs))]
        weights += [numpy_helper.from_array(value, name) for value, name in zip(inputs, names, strict=True)]
        outputs = [f"y{number}"]
        if operator == "Split":
            outputs = [f"y{number}_{i}" for i in range(len(inputs[0]))]
        made.append(helper.make_node(operator, [now, *names], outputs, **attributes))
        now = outputs[0]
        if len(outputs) > 1:
            now = f"y{number}"
            made.append(helper.make_node("Concat", outputs[::-1], [now], axis=attributes["axis"]))
    made.append(helper.make_node("Mul", [now, "one"], ["out"]))
    weights.append(numpy_helper.from_array(np.array(1.5, np.float32), "one"))
    shape = ["n", *X.shape[1:]]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


CHAINS: dict[str, list[Node]] = {
    "convolution": [("Conv", [f(4, 6, 3, 3), f(4)], {"pads": [1, 0, 1, 2], "strides": [2, 1]})],
    "dilated": [("Conv", [f(4, 6, 3, 3)], {"dilations": [2, 2]})],
    "depthwise": [("Conv", [f(12, 1, 3, 3), f(12)], {"group": 6, "pads": [1, 1, 1, 1]})],
    "grouped": [("Conv", [f(9, 2, 3, 3)], {"group": 3})],
    "normalised": [
        ("BatchNormalization", [f(6), f(6), f(6), np.abs(f(6))], {"epsilon": 1e-3}),
        ("LayerNormalization", [f(8), f(8)], {"epsilon": 1e-3}),
        ("LayerNormalization", [f(9, 8)], {"axis": 2}),
    ],
    "activations": [
        ("PRelu", [f(6, 1, 1)], {}),
        ("Erf", [], {}),
        ("Sin", [], {}),
        ("Cos", [], {}),
        ("Clip", [np.array(0.6, np.float32), np.array(0.9, np.float32)], {}),
        ("Softmax", [], {"axis": 1}),
    ],
    "arithmetic": [("Add", [f(8)], {}), ("Sub", [f(9, 1)], {}), ("Div", [np.abs(f(8)) + 1], {}), ("Mul", [f(1)], {})],
    "shapes": [
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Unsqueeze", [ints(1)], {}),
        ("Squeeze", [ints(1)], {}),
        ("Reshape", [ints(0, -1, 6)], {}),
        ("Slice", [ints(60, 1), ints(3, np.iinfo(np.int64).max), ints(1, 2), ints(-2, 1)], {}),
        ("Gather", [np.array([[3, 0], [1, 1]])], {"axis": 2}),
        ("Identity", [], {}),
    ],
    "split": [("Split", [ints(1, 5)], {"axis": 1}), ("CumSum", [ints(3)[0]], {}), ("Expand", [ints(1, 6, 9, 8)], {})],
    "head": [
        ("GlobalAveragePool", [], {}),
        ("Flatten", [], {}),
        ("Gemm", [f(5, 6), f(5)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("MatMul", [f(5, 7)], {}),
    ],
    "length": [("ReduceL2", [], {"axes": [3], "keepdims": 1}), ("Cast", [], {"to": TensorProto.FLOAT})],
}


@pytest.mark.parametrize("name", CHAINS)
def test_operators_compute_what_onnx_runtime_computes(name: str, tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", CHAINS[name])
    expected = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]
    found = np.asarray(OnnxNetwork(path)(X))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_hangs_on_the_shape_is_known_when_it_is_traced(tmp_path: Path) -> None:
    """x reshaped to [batch, rest] by its own shape, as exporters write it, and a position code beside it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch", "zeros"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["flat"]),
        helper.make_node("Shape", ["flat"], ["now"]),
        helper.make_node("ConstantOfShape", ["now"], ["none"], value=numpy_helper.from_array(np.array([True]))),
        helper.make_node("Not", ["none"], ["all"]),
        helper.make_node("Cast", ["all"], ["sum"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["flat", "sum"], ["out"]),
    ]
    weights = [
        numpy_helper.from_array(np.array(0), "zero"),
        numpy_helper.from_array(ints(0), "zeros"),
        numpy_helper.from_array(ints(-1), "rest"),
    ]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    shape = ["n", *X.shape[1:]]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], [out], weights
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "n.onnx")
    np.testing.assert_allclose(np.asarray(OnnxNetwork(tmp_path / "n.onnx")(X)), X.reshape(2, -1), atol=1e-6)


def test_files_that_cannot_be_understood_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"broken\.onnx cannot be read"):
        OnnxNetwork(tmp_path / "broken.onnx")
    with pytest.raises(InputError, match=r"none\.onnx cannot be read"):
        OnnxNetwork(tmp_path / "none.onnx")
    assert "Tanh" not in OPERATORS
    with pytest.raises(InputError, match=r"n\.onnx has operators that are not understood here: Tanh"):
        OnnxNetwork(network(tmp_path / "n.onnx", [("Tanh", [], {})]))
    with pytest.raises(InputError, match="reverse of CumSum is not understood"):
        OnnxNetwork(network(tmp_path / "n.onnx", [("CumSum", [ints(3)[0]], {"reverse": 1})]))
    with pytest.raises(InputError, match="auto_pad of Conv is not understood"):
        OnnxNetwork(network(tmp_path / "n.onnx", [("Conv", [f(4, 6, 3, 3)], {"auto_pad": "SAME_UPPER"})]))
    old = onnx.load(network(tmp_path / "n.onnx", [("Softmax", [], {"axis": 1})]))
    old.opset_import[0].version = 11
    onnx.save(old, tmp_path / "old.onnx")
    with pytest.raises(InputError, match=r"old\.onnx has ONNX opset 11; 13 to 17"):
        OnnxNetwork(tmp_path / "old.onnx")
