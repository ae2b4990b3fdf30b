"""Networks rewritten for a GPU compute what they computed before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.errors import InputError
from engine.modelfile import SHIPPED, ModelFile
from engine.tensorrt_accuracy import EXACT, QUANTISED, made_up
from engine.tensorrt_precision import GpuPrecision, rewritten
from train.quantize import in_eights, quantize

RANDOM = np.random.default_rng(4)


def run(network: bytes | Path, **inputs: NDArray[Any]) -> list[NDArray[np.float32]]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    source = network if isinstance(network, bytes) else str(network)
    found: list[NDArray[np.float32]] = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )
    return found


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions with a ReLU between them, a resize, a pool, and unit vectors in the end."""
    value, node = helper.make_tensor_value_info, helper.make_node

    def constant(name: str, array: NDArray[Any]) -> Any:
        return numpy_helper.from_array(array, name)

    graph = helper.make_graph(
        [
            node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
            node("Mul", ["float", "unit"], ["small"]),
            node("Transpose", ["small"], ["planes"], perm=[0, 3, 1, 2]),
            node("Conv", ["planes", "w1", "b1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r1"]),
            node("Conv", ["r1", "w2", "b2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2]),
            node("Resize", ["c2", "", "scales"], ["large"], mode="nearest"),
            node("GlobalAveragePool", ["large"], ["mean"]),
            node("Flatten", ["mean"], ["flat"]),
            node("Mul", ["flat", "thousand"], ["long"]),
            node("Mul", ["long", "long"], ["squares"]),
            node("ReduceSum", ["squares", "axis"], ["sum"], keepdims=1),
            node("Sqrt", ["sum"], ["length"]),
            node("Div", ["long", "length"], ["y"]),
        ],
        "small",
        [value("x", TensorProto.UINT8, ["N", 16, 16, 3])],
        [value("y", TensorProto.FLOAT, ["N", 8])],
        [
            constant("unit", np.array(1 / 255, np.float32)),
            constant("thousand", np.array(100, np.float32)),
            constant("w1", RANDOM.standard_normal((8, 3, 3, 3)).astype(np.float32)),
            constant("b1", RANDOM.standard_normal(8).astype(np.float32)),
            constant("w2", RANDOM.standard_normal((8, 8, 3, 3)).astype(np.float32)),
            constant("b2", RANDOM.standard_normal(8).astype(np.float32)),
            constant("scales", np.array([1, 1, 2, 2], np.float32)),
            constant("axis", np.array([1], np.int64)),
        ],
    )
    path = tmp_path_factory.mktemp("precision") / "small.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def integers(network: Path) -> Path:
    """The same, quantised as this project does it, its ReLU cut out as some quantisers do."""
    quantized = quantize(network, in_eights(np.stack(made_up(40, 16, 16))))
    path = network.with_name("integers.onnx")
    path.write_bytes(quantized.SerializeToString())
    kinds = {node.op_type for node in quantized.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    return path


PICTURES = np.stack(made_up(5, 16, 16))


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first.astype(np.float64), second.astype(np.float64)))
    found: NDArray[np.float64] = np.einsum("nd,nd->n", a, b)
    return found


def test_f32_is_left_as_it_is(network: Path) -> None:
    np.testing.assert_array_equal(
        run(rewritten(ModelFile.read(network), "f32"), x=PICTURES)[0], run(network, x=PICTURES)[0]
    )


def test_f16_computes_in_halves_and_answers_in_floats(network: Path) -> None:
    made = onnx.load_from_string(rewritten(ModelFile.read(network), "f16"))
    types = {value.name: value.data_type for value in made.graph.initializer}
    weights = [kind for name, kind in types.items() if name.startswith(("w", "b"))]
    assert weights == [TensorProto.FLOAT16] * 4
    assert made.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert made.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    answer = run(made.SerializeToString(), x=PICTURES)[0]
    assert answer.dtype == np.float32
    assert cosines(answer, run(network, x=PICTURES)[0]).min() > 0.9999


def test_squares_stay_in_f32(network: Path) -> None:
    """A half ends at 65504. Told by the types: ONNX Runtime computes neighbouring halves in f32 on a CPU anyway."""
    made = onnx.shape_inference.infer_shapes(onnx.load_from_string(rewritten(ModelFile.read(network), "f16")))
    types = {value.name: value.type.tensor_type.elem_type for value in made.graph.value_info}
    assert [types[name] for name in ("squares", "sum", "length")] == [TensorProto.FLOAT] * 3
    assert [types[name] for name in ("c1", "r1", "large", "long")] == [TensorProto.FLOAT16] * 4


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_a_quantised_network_stays_near_itself(integers: Path, precision: GpuPrecision) -> None:
    answer = run(rewritten(ModelFile.read(integers), precision), x=PICTURES)[0]
    assert cosines(answer, run(integers, x=PICTURES)[0]).min() > 0.97


def test_f32_of_a_quantised_network_has_no_quantisation_left(integers: Path) -> None:
    made = onnx.load_from_string(rewritten(ModelFile.read(integers), "f32"))
    assert not {node.op_type for node in made.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    assert all(value.data_type in (TensorProto.FLOAT, TensorProto.INT64) for value in made.graph.initializer)
    assert {name for node in made.graph.node for name in node.input} >= {value.name for value in made.graph.initializer}


def test_a_relu_that_quantisation_did_comes_back(network: Path, integers: Path) -> None:
    """Unsigned integers with zero point 0 are a ReLU; without it the network would be another."""
    quantized = onnx.load(integers)
    made = onnx.load_from_string(rewritten(ModelFile.read(integers), "f32"))
    kinds = [[node.op_type for node in model.graph.node].count("Relu") for model in (quantized, made)]
    assert kinds[1] > 0
    assert kinds[1] >= kinds[0]
    assert cosines(run(made.SerializeToString(), x=PICTURES)[0], run(network, x=PICTURES)[0]).min() > 0.97


def test_int8_is_symmetric_all_through(integers: Path) -> None:
    made = onnx.load_from_string(rewritten(ModelFile.read(integers), "int8"))
    constants = {value.name: numpy_helper.to_array(value) for value in made.graph.initializer}
    pairs = [node for node in made.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len([node for node in pairs if node.op_type == "QuantizeLinear"]) >= 4
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert node.input[0] not in constants or constants[node.input[0]].dtype == np.float32
    biases = [constants[node.input[2]] for node in made.graph.node if node.op_type == "Conv"]
    assert all(bias.dtype == np.float32 for bias in biases)


def test_int8_of_floats_is_refused(network: Path) -> None:
    with pytest.raises(InputError, match=r"precision int8: this network is in f32; `iznet train quantize-detector`"):
        rewritten(ModelFile.read(network), "int8")


def test_branches_are_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [value("z", 1, [1])])
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        "branches",
        [value("x", TensorProto.FLOAT, [1]), value("c", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "branches.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(InputError, match="branches or loops"):
        rewritten(ModelFile.read(path), "f16")


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
@pytest.mark.parametrize("kind", ["detector", "detector.int8", "embedder"])
def test_the_shipped_networks(kind: str, precision: GpuPrecision) -> None:
    """Every one of them can be rewritten, and what comes out can be run and says much the same."""
    path = SHIPPED / f"{kind}.onnx"
    if not path.is_file():
        pytest.skip(f"no trained {kind} at {SHIPPED}")
    model = ModelFile.read(path)
    if precision == "int8" and not model.integer:
        pytest.skip("in f32")
    made, bounds = rewritten(model, precision), QUANTISED if model.integer else EXACT
    if kind == "embedder":
        faces = np.stack(made_up(6, 112, 112))
        found = cosines(run(made, faces=faces)[0], run(path, faces=faces)[0])
        assert found.mean() > bounds.cosine
    else:
        images = np.stack(made_up(1, 192, 320))
        for have, want in zip(run(made, images=images), run(path, images=images), strict=True):
            assert np.abs(have[..., 0] - want[..., 0]).max() < bounds.score
