"""Networks in 8-bit integers: nearly the same answers in both runtimes, the same inputs and outputs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")

import onnxruntime as ort  # noqa: E402

from engine.quiet_openvino import core  # noqa: E402
from tests.train.exported import write_floats  # noqa: E402
from train.models.embedder import EmbedderDesign, build_embedder  # noqa: E402
from train.onnx_file import write_onnx  # noqa: E402
from train.quantize import in_eights, quantize, stay_floats  # noqa: E402

FACTS = {"iznet.kind": "embedder", "iznet.threshold": "0.3"}


def test_integers_answer_nearly_as_floats_do(tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    network = build_embedder(EmbedderDesign(stem=8, channels=(8, 16), blocks=(1, 1), dimension=16), 32)
    rng = np.random.default_rng(0)
    faces = np.clip(rng.normal(rng.uniform(60, 190, (40, 1, 1, 3)), 40, (40, 32, 32, 3)), 0, 255).astype(np.uint8)
    exact, path = tmp_path / "exact.onnx", tmp_path / "integers.onnx"
    write_floats(network, exact, faces, FACTS)
    digests = [write_onnx(quantize(exact, in_eights(faces[:32])), path, FACTS) for _ in range(2)]
    assert digests[0] == digests[1] == path.with_suffix(".sha256").read_text("utf-8").split()[0]

    model = onnx.load(path)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["QuantizeLinear"] > 5
    integers = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4]
    assert len(integers) == kinds["Conv"] > 4
    assert max(np.abs(onnx.numpy_helper.to_array(t).astype(int)).max() for t in integers) <= 64
    assert {p.key: p.value for p in model.metadata_props} == FACTS
    assert [i.name for i in model.graph.input] == ["faces"]

    expected = np.asarray(network(faces[32:].astype(np.float32)))
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for answer in (
        session.run(["embeddings"], {"faces": faces[32:]})[0],
        compiled({"faces": faces[32:]})["embeddings"],
    ):
        cosines = np.sum(answer * expected, axis=1)
        others = np.sum(np.roll(answer, 1, axis=0) * expected, axis=1)
        assert cosines.min() > 0.99
        assert (cosines > others).all()
        assert not np.array_equal(answer, expected)


def test_depthwise_convolutions_and_sums_before_no_relu_stay_in_floats(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    inputs = x = keras.Input((16, 16, 3), name="faces")
    for n in range(3):
        y = keras.layers.ReLU()(keras.layers.Conv2D(8, 1, name=f"wide{n}")(x))
        y = keras.layers.DepthwiseConv2D(3, padding="same")(y)
        y = keras.layers.ReLU()(y) if n else y
        x = keras.layers.Add()([x, keras.layers.Conv2D(3, 1, name=f"narrow{n}")(y)])
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x)))
    faces = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    exact = write_floats(network, tmp_path / "exact.onnx", faces, FACTS, tolerance=0.01)
    model = quantize(exact, in_eights(faces))
    producer = {name: node for node in model.graph.node for name in node.output}
    found: Counter[tuple[str, bool]] = Counter()
    for node in model.graph.node:
        integers = all(n in producer and producer[n].op_type == "DequantizeLinear" for n in node.input[:2])
        depthwise = any(a.name == "group" and a.i > 1 for a in node.attribute)
        if node.op_type == "Conv":
            found["depthwise" if depthwise else "Conv", integers] += 1
    assert found["Conv", True] == 6
    assert found["Conv", False] == 0
    assert found["depthwise", True] == 2, "those before a ReLU"
    assert found["depthwise", False] == 1
    floats = stay_floats(onnx.load(exact))
    assert Counter(name.split("_")[0] for name in floats) == {"Conv": 1, "Add": 2}, "the last sum is before a ReLU"
