"""From an archive of faces to the shipped form of an embedder: trained with a memory, in integers, joined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from engine.embedder import Embedder  # noqa: E402
from tests.train.test_embedder_data import teacher  # noqa: E402
from tests.train.test_embedder_report import crop  # noqa: E402
from tests.train.test_faces import archive  # noqa: E402
from tests.train.test_mobilefacenet import SOURCE, write  # noqa: E402
from tools.cli import run  # noqa: E402
from train import compiled_step, embedder_recipe  # noqa: E402
from train.models import mobilefacenet  # noqa: E402


def write_faces(folder: Path) -> None:
    """Five pictures each of 30 people and of a group of four, as `iznet train embedder` takes them."""
    members, rows = {}, ["file,set,person,split"]
    for person in range(34):
        for shot, split in enumerate(("train", "train", "dev", "dev", "test")):
            name, group = f"{person}_{shot}.jpg", person >= 30
            members[name] = crop(person, shot, 128)
            rows.append(f"{name},{'group' if group else 'celeb'},p{person},{split if group else ''}")
    archive(folder / "faces.zip", "people.csv", "\n".join(rows), members)
    names = ["person,file,split", *(f"p{person},{person}_0.jpg,dev" for person in range(4))]
    (folder / "people12.csv").write_text("\n".join(names), "utf-8")


def test_a_network_with_a_memory_is_trained_exported_and_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path)
    for seed, name in enumerate(("edgeface_xs", "mobilefacenet_y1")):
        teacher(tmp_path / f"{name}.onnx", seed, 64)
    memory = write(SOURCE, tmp_path / "mobilefacenet.json")
    folders = ["--data", str(tmp_path), "--teachers", str(tmp_path), "--remember", str(memory)]
    few = tuple(replace(s, blocks=1) for s in mobilefacenet.STAGES if s.number in (2, 3, 5))
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
