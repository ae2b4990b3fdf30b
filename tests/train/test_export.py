"""Exported networks: same numbers in both runtimes, stable names, same bytes, nothing written when wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")

import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from engine.errors import InputError, OutputError  # noqa: E402
from engine.quiet_openvino import core  # noqa: E402
from train.export import _order, export_onnx  # noqa: E402
from train.models.embedder import EmbedderDesign, build_embedder  # noqa: E402

TINY = EmbedderDesign(stem=4, channels=(4, 8), blocks=(1, 1), dimension=16)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def tiny() -> Any:
    keras.utils.set_random_seed(5)
    network = build_embedder(TINY, 32)
    rng = np.random.default_rng(1)
    network.set_weights([np.abs(w + rng.normal(0, 0.05, w.shape)) * np.sign(w + 1e-9) for w in network.get_weights()])
    return network


def export(network: Any, path: Path, example: NDArray[np.uint8] = PIXELS) -> str:
    return export_onnx(
        network,
        path,
        input_name="faces",
        input_shape=(None, 32, 32, 3),
        output_names=["embeddings"],
        metadata={"iznet.kind": "embedder", "iznet.threshold": "0.3"},
        example=example,
        tolerance=1e-4,
    )


def test_both_runtimes_agree_with_keras_at_any_batch_size(tmp_path: Path) -> None:
    network, path = tiny(), tmp_path / "e.onnx"
    export(network, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 2, 7):
        faces = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        expected = np.asarray(network(faces.astype(np.float32)))
        assert expected.shape == (count, 16)
        np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(session.run(["embeddings"], {"faces": faces})[0], expected, atol=1e-4)
        np.testing.assert_allclose(compiled({"faces": faces})["embeddings"], expected, atol=1e-4)


def test_names_types_metadata_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    digest = export(tiny(), path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert (tmp_path / "e.sha256").read_text("utf-8") == f"{digest}  e.onnx\n"
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("faces", "tensor(uint8)", ["N", 32, 32, 3])
    assert (answer.name, answer.type, answer.shape) == ("embeddings", "tensor(float)", ["N", 16])
    assert session.get_modelmeta().custom_metadata_map == {"iznet.kind": "embedder", "iznet.threshold": "0.3"}
    assert all(o.version <= 18 for o in onnx.load(path).opset_import)


def test_the_same_weights_give_the_same_bytes_whatever_was_built_before(tmp_path: Path) -> None:
    first = export(tiny(), tmp_path / "a.onnx")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    assert export(tiny(), tmp_path / "b.onnx") == first
    other = tiny()
    other.layers[-2].bias.assign_add(np.full(16, 0.01, np.float32))
    assert export(other, tmp_path / "c.onnx") != first


def test_several_outputs_keep_their_names_and_open_dimensions(tmp_path: Path) -> None:
    x = given = keras.Input((None, None, 3))
    heads = [keras.layers.Conv2D(2, 3, s, "same", name=f"conv{s}")(x) for s in (2, 4)]
    network, path = keras.Model(given, heads), tmp_path / "d.onnx"
    example = PIXELS[:, :16]
    export_onnx(
        network, path, input_name="images", input_shape=(None, None, None, 3), output_names=["head2", "head4"],
        metadata={}, example=example, tolerance=1e-2,
    )  # fmt: skip
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", "H", "W", 3]
    a, b = session.run(["head2", "head4"], {"images": PIXELS[:1, :, :24]})
    assert (a.shape, b.shape) == ((1, 16, 12, 2), (1, 8, 6, 2))
    np.testing.assert_allclose(a, np.asarray(network(PIXELS[:1, :, :24].astype(np.float32))[0]), rtol=1e-4, atol=1e-2)


def test_a_network_that_answers_differently_is_not_written(tmp_path: Path) -> None:
    network = tiny()
    calls = 0

    def moody(pixels: Any) -> Any:
        nonlocal calls
        calls += 1
        return network(pixels) * (1.0 if calls == 1 else 0.9)

    with pytest.raises(InputError, match=r"e\.onnx differs from the original"):
        export(moody, tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file/e\.onnx"):
        export(tiny(), tmp_path / "file" / "e.onnx")


def test_the_order_of_the_converter_does_not_show() -> None:
    """Two branches, which a converter may write in either order."""
    value = helper.make_tensor_value_info

    def graph(swap: bool) -> Any:
        branches = [helper.make_node("Relu", ["x"], ["p"]), helper.make_node("Neg", ["x"], ["q"])]
        end = [helper.make_node("Add", ["p", "q"], ["b:0"]), helper.make_node("Mul", ["p", "p"], ["a:0"])]
        parts = [*branches[::-1], *end[::-1]] if swap else [*branches, *end]
        outputs = [value("a:0", TensorProto.FLOAT, [2]), value("b:0", TensorProto.FLOAT, [2])]
        return helper.make_graph(parts, "g", [value("x", TensorProto.FLOAT, [2])], outputs)

    first, second = graph(False), graph(True)
    for made in (first, second):
        _order(made, ["a", "b"])
    assert [n.op_type for n in first.node] == [n.op_type for n in second.node] == ["Relu", "Mul", "Neg", "Add"]
