"""Costs are counted right, networks take turns, and SCRFD-500M's shape is the published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.errors import InputError
from train.detector_cost import cost_of, onnxruntime_runner, openvino_runner, time_in_turns
from train.scrfd_shape import write_scrfd_500m


def small_network(path: Path, *, fixed: bool = False) -> Path:
    """A strided convolution with bias, a depthwise one, a transposed one."""
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.normal(size=(8, 3, 3, 3)),
        "bias": rng.normal(size=8),
        "b": rng.normal(size=(8, 1, 3, 3)),
        "c": rng.normal(size=(8, 4, 2, 2)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a", "bias"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["y", "b"], ["z"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["z", "c"], ["out"], strides=[2, 2]),
    ]
    value = helper.make_tensor_value_info
    sides = [64, 32] if fixed else ["H", "W"]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1, 3, *sides])],
        [value("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_multiply_adds_are_those_of_the_textbook(tmp_path: Path) -> None:
    cost = cost_of(small_network(tmp_path / "n.onnx"), 64, 32)
    middle = 32 * 16
    assert cost.multiply_adds == middle * (8 * 3 * 9 + 8 * 9) + middle * (8 * 4 * 4)
    assert cost.parameters == 8 * 3 * 9 + 8 + 8 * 9 + 8 * 4 * 4
    assert cost.row() == {"parameters_m": 0.0, "gflop": 0.0}


def test_the_synthetic_detector_is_read_in_its_own_order(detector_file: Path) -> None:
    """Its pictures are [N,H,W,3]."""
    assert cost_of(detector_file).multiply_adds > cost_of(detector_file, 192, 320).multiply_adds > 0


def test_the_shape_of_scrfd_500m_costs_what_was_published(tmp_path: Path) -> None:
    """0.5 G multiply-adds at 640×480 and 0.57 M parameters without points (arXiv 2105.04714); these add a tenth."""
    path = write_scrfd_500m(tmp_path / "s.onnx")
    cost = cost_of(path, 480, 640)
    assert 0.5e9 <= cost.multiply_adds <= 0.56e9
    assert 0.57e6 <= cost.parameters <= 0.64e6
    shapes = {
        o.name: [d.dim_value for d in o.type.tensor_type.shape.dim][1:] for o in onnx.load(str(path)).graph.output
    }
    assert set(shapes) == {f"{name}{stride}" for stride in (8, 16, 32) for name in ("score", "box", "points")}


def test_both_runtimes_run_it(tmp_path: Path) -> None:
    path = write_scrfd_500m(tmp_path / "s.onnx")
    openvino_runner(path, 64, 96)()
    onnxruntime_runner(path, 64, 96)()
    fixed = small_network(tmp_path / "fixed.onnx", fixed=True)
    onnxruntime_runner(fixed, 64, 32)()
    with pytest.raises(InputError, match=r"fixed\.onnx"):
        onnxruntime_runner(fixed, 64, 96)
    (tmp_path / "text.onnx").write_text("no network", "utf-8")
    with pytest.raises(InputError, match=r"text\.onnx"):
        cost_of(tmp_path / "text.onnx")


def test_turns_are_taken_and_ratios_are_within_a_turn() -> None:
    """A clock that runs twice as fast in every other turn changes no ratio."""
    now, order = [0.0], []

    def runner(name: str, seconds: float) -> None:
        order.append(name)
        turn = max(0, (len(order) - 3) // 2)
        now[0] += seconds * (2 if turn % 2 else 1)

    figures = time_in_turns(
        {"a": lambda: runner("a", 1.0), "b": lambda: runner("b", 3.0)}, "a", rounds=6, clock=lambda: now[0]
    )
    assert figures["b"]["ratio"] == pytest.approx(3.0)
    assert figures["a"]["ratio"] == 1.0
    assert figures["a"]["ms"] == pytest.approx(1500)
    assert order[2:] == ["a", "b", "b", "a"] * 3, "each turn starts with another one"
