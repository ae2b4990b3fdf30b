"""The detector in INT8 and bfloat16: still a detector, still finding what it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from engine.detector import Detector
from engine.errors import InputError
from engine.metrics import box_iou
from engine.modelfile import ModelFile
from tests.networks import PEOPLE, scene
from tests.train.faces import FACES, blank, write_rectangles
from tools.train_eval_detector import quantize
from train.data.boxes import load_box_set
from train.detector_precision import bfloat16_detector, quantize_detector

BOXES = [[100, 80, 180, 170], [400, 100, 460, 170]]


@pytest.fixture(scope="module")
def int8(detector_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    pictures = load_box_set(write_rectangles(folder / "set.zip"))
    digest = quantize_detector(detector_file, pictures, folder / "d-int8.onnx")
    assert (folder / "d-int8.sha256").read_text("utf-8").split()[0] == digest
    return folder / "d-int8.onnx"


def test_int8_is_a_detector_with_the_same_facts(int8: Path, detector_file: Path) -> None:
    file = ModelFile.read(int8, "detector")
    source = ModelFile.read(detector_file, "detector")
    assert dict(file.metadata) == {**source.metadata, "iznet.precision": "int8"}
    kinds = [node.op_type for node in onnx.load(str(int8)).graph.node]
    assert "QuantizeLinear" in kinds
    assert "DequantizeLinear" in kinds
    weights = [t for t in onnx.load(str(int8)).graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims]
    assert any(len(t.dims) == 4 for t in weights), "weights are stored in eight bits"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_int8_finds_the_faces(int8: Path, detector: Detector, backend: str) -> None:
    quantized = Detector.open(int8, backend=backend, threads=1)  # type: ignore[arg-type]
    rgb = scene(640, 384, [(box, PEOPLE["ann"]) for box in FACES])
    found, wanted = quantized.detect([rgb], threshold=0.3)[0], detector.detect([rgb])[0]
    assert len(wanted) == 3
    assert (box_iou(wanted.boxes, found.boxes).max(axis=1) > 0.6).all()


def test_openvino_compiles_int8_for_each_shape(int8: Path) -> None:
    """With open sizes it computes integer networks wrongly; so both runtimes have to agree at sizes nobody prepared."""
    rgb = scene(640, 384, [(box, PEOPLE["ann"]) for box in FACES])
    one, two = (Detector.open(int8, backend=b, threads=1) for b in ("openvino", "onnxruntime"))
    for size in (320, 480):
        a, b = (d.detect([rgb], threshold=0.3, size=size)[0] for d in (one, two))
        assert len(a) == len(b) > 0
        assert (box_iou(a.boxes, b.boxes).max(axis=1) > 0.9).all()
    assert one.session.exact_only  # type: ignore[attr-defined]


def test_bfloat16_answers_nearly_the_same_and_really_rounds(detector_file: Path) -> None:
    made = bfloat16_detector(detector_file)
    if made is None:
        pytest.skip("this CPU can neither compute in bfloat16 nor simulate it")
    rgb = scene(640, 384, [(box, PEOPLE["ann"]) for box in BOXES])
    exact = Detector.open(detector_file, threads=1, precision="f32")
    found, wanted = made[0].detect([rgb], threshold=0.3)[0], exact.detect([rgb])[0]
    overlaps = box_iou(wanted.boxes, found.boxes).max(axis=1)
    assert (overlaps > 0.8).all()
    assert not np.array_equal(found.boxes, wanted.boxes)


def test_what_cannot_be_quantised_is_refused(
    detector_file: Path, embedder_file: Path, tmp_path: Path, int8: Path
) -> None:
    with pytest.raises(InputError, match="no pictures"):
        quantize_detector(detector_file, [], tmp_path / "x.onnx")
    with pytest.raises(InputError, match="embedder"):
        quantize_detector(embedder_file, load_box_set(int8.parent / "set.zip"), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_what_is_quantised_already_is_refused(int8: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is quantised already; give the network in f32"):
        quantize_detector(int8, [blank()], tmp_path / "again.onnx", size=64)
    assert not (tmp_path / "again.onnx").exists()


def test_the_command_writes_once(detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.detector_report.DEV_PICTURES", 1)
    data, out = write_rectangles(tmp_path / "set.zip"), tmp_path / "int8.onnx"
    options = ["--detector", str(detector_file), "--data", str(data), "-o", str(out)]
    result = CliRunner().invoke(quantize, options)
    assert result.exit_code == 0, result.output
    assert "image missing: 1 (gone.png)" in result.stdout
    assert Detector.open(out, threads=1).session.model.metadata["iznet.precision"] == "int8"
    again = CliRunner().invoke(quantize, options)
    assert "exists already" in str(again.exception)
