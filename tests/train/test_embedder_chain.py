"""From an archive of faces to the shipped form of an embedder: trained with a memory, in integers, joined."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from onnx import TensorProto, helper, numpy_helper, save  # noqa: E402

from engine.embedder import Embedder  # noqa: E402
from tests.train.test_mobilefacenet import SOURCE, write  # noqa: E402
from tools.cli import run  # noqa: E402
from train import compiled_step, embedder_recipe  # noqa: E402
from train.models import mobilefacenet  # noqa: E402


def write_teacher(path: Path, seed: int, size: int = 64) -> None:
    """A network that sees the mean colours of 49 parts of a face."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 0.1, (size, 147)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["x"], ["parts"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Flatten", ["parts"], ["flat"]),
            helper.make_node("Gemm", ["flat", "kernel"], ["y"], transB=1),
        ],
        "teacher",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", size])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_faces(folder: Path) -> None:
    """Five pictures each of 30 people and of a group of four, as `iznet train embedder` takes them."""
    rng = np.random.default_rng(3)
    rows, text = [], io.StringIO()
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for person in range(34):
            look = rng.integers(0, 256, (8, 8, 3))
            for n in range(5):
                picture = np.clip(look + rng.integers(-30, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
                picture = cv2.resize(picture, (128, 128), interpolation=cv2.INTER_CUBIC)
                group = person >= 30
                name = f"{'group' if group else 'celeb'}/{person}_{n}.jpg"
                archive.writestr(name, cv2.imencode(".jpg", picture)[1].tobytes())
                split = ("train", "train", "dev", "dev", "test")[n] if group else ""
                rows.append((name, name.split("/")[0], f"p{person}", split))
        writer = csv.writer(text)
        writer.writerows([("file", "set", "person", "split"), *rows])
        archive.writestr("people.csv", text.getvalue())
    (folder / "people12.csv").write_text("person,file,split\n" + "".join(f"p{n},x.jpg,dev\n" for n in range(4)))


def test_a_network_with_a_memory_is_trained_exported_and_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path)
    for seed, name in enumerate(("edgeface_xs", "mobilefacenet_y1")):
        write_teacher(tmp_path / f"{name}.onnx", seed)
    memory = write(SOURCE, tmp_path / "mobilefacenet.json")
    folders = ["--data", str(tmp_path), "--teachers", str(tmp_path), "--remember", str(memory)]
    few = tuple(replace(s, blocks=min(s.blocks, 2)) for s in mobilefacenet.STAGES if s.number in (2, 3, 5))
    monkeypatch.setattr(mobilefacenet, "STAGES", few)
    monkeypatch.setattr(embedder_recipe, "LARGE", 4)
    # A process in which TensorFlow has computed cannot change its threads any more.
    monkeypatch.setattr(compiled_step, "use_threads", lambda count: None)
    training = ["train", "embedder", *folders, "--arch", "mobilefacenet", "--batch", "4", "--steps", "2"]
    assert run([*training, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    kept = tmp_path / "run" / "embedder.keras"
    network = keras.models.load_model(kept)
    assert network.output_shape == (None, 128 + 20), "what the teachers say and what it remembers"
    kinds = {type(layer).__name__ for layer in network.layers}
    assert "ReLU" in kinds
    assert "PReLU" not in kinds

    assert run(["train", "join-embedders", str(kept), str(kept), *folders, "--out", str(tmp_path / "joined")]) == 0
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    for path, size in ((tmp_path / "run" / "embedder.onnx", 148), (tmp_path / "joined" / "embedder.onnx", 128)):
        embedder = Embedder.open(path, device="cpu")
        assert embedder.embed(faces).shape == (3, size)
        assert embedder.name == "iznet-embedder"
