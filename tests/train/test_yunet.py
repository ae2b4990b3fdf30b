"""YuNet's form: the published weights give YuNet's answers, and a training can begin with them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.errors import InputError  # noqa: E402
from train.data.boxes import LoadReport, Picture, cell_centres, decode_boxes, unknown_landmarks  # noqa: E402
from train.data.face_teachers import yunet_cells  # noqa: E402
from train.data.libfacedetection import read_libfacedetection  # noqa: E402
from train.detector import (  # noqa: E402
    ROUGH,
    Canvases,
    DetectionData,
    Phase,
    Recipe,
    Trainer,
    train_detector,
    with_statistics,
)
from train.detector_export import export_detector  # noqa: E402
from train.detector_precision import quantize_detector  # noqa: E402
from train.equalization import equalize_pairs  # noqa: E402
from train.models.detector import STRIDES  # noqa: E402
from train.models.yunet import BEFORE, LEVELS, PARTS, build_yunet, load_yunet, source_shapes  # noqa: E402

Tensors = dict[str, NDArray[Any]]

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 64, 128


def made_up() -> Tensors:
    """Random tensors by the names and in the shapes of libfacedetection, that keep numbers at their size."""
    tensors = {}
    for name, shape in source_shapes().items():
        spread = 0.3 if name.endswith("bias") else np.sqrt(2 / (shape[0] if "dw_" in name else shape[1]))
        tensors[name] = RNG.normal(0, spread, shape).astype(np.float32)
    tensors["backbone__model0_pw_weight"] /= 60
    for name in tensors:
        if "bbox" in name and name.endswith("weight"):
            tensors[name] *= 0.1  # sizes are exponentials of it
    return tensors


SOURCE = made_up()


def separable(x: NDArray[np.float32], source: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    """1×1, then 3×3 on every channel, with zeros around: `[H,W,C]`, by OpenCV's filter."""
    x = x @ source[f"{name}_pw_weight"].T + source[f"{name}_pw_bias"]
    kernels = source[f"{name}_dw_weight"]
    planes = [
        cv2.filter2D(x[..., c], -1, kernels[:, c].reshape(3, 3), borderType=cv2.BORDER_CONSTANT)
        for c in range(x.shape[2])
    ]
    return np.asarray(np.stack(planes, -1) + source[f"{name}_dw_bias"], np.float32)


def unit(x: NDArray[np.float32], source: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    return np.maximum(separable(x, source, name), 0)


def halved(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3)), np.float32)


def reference(rgb: NDArray[np.uint8], source: Mapping[str, NDArray[np.float32]]) -> Tensors:
    """YuNet's own outputs for one picture, by its names."""
    padded = np.pad(rgb[..., ::-1].astype(np.float32), ((1, 1), (1, 1), (0, 0)))
    rows = [[padded[y : y + 3, x : x + 3].reshape(27) for x in range(0, WIDTH, 2)] for y in range(0, HEIGHT, 2)]
    kernel = source["backbone__model0_pw_weight"][:, :27]
    x = np.maximum(np.array(rows) @ kernel.T + source["backbone__model0_pw_bias"], 0).astype(np.float32)
    x = halved(unit(x, source, "backbone__model0_dp"))
    for number in (1, 2):
        x = unit(unit(x, source, f"backbone__model{number}_dp1"), source, f"backbone__model{number}_dp2")
    features = []
    for number in (3, 4, 5):
        x = halved(x)
        x = unit(unit(x, source, f"backbone__model{number}_dp1"), source, f"backbone__model{number}_dp2")
        features.append(x)
    outputs: Tensors = {}
    above = None
    for level in (2, 1, 0):
        x = features[level]
        if above is not None:
            x = x + above.repeat(2, 0).repeat(2, 1)
        above = unit(x, source, f"neck__lateral_convs__{level}")
        for part in PARTS:
            answer = separable(above, source, f"bbox_head__multi_level_{part}__{level}").astype(np.float64)
            if part in ("cls", "obj"):
                answer = 1 / (1 + np.exp(-answer))
            outputs[f"{part}_{LEVELS[level]}"] = answer.reshape(1, -1, answer.shape[-1])
    return outputs


def picture() -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_the_published_weights_give_the_answers_of_the_network_they_come_from() -> None:
    rgb = picture()
    rgb[-1] = rgb[:, -1] = 0
    outputs = reference(rgb, SOURCE)
    network = build_yunet(STRIDES)
    load_yunet(network, SOURCE)
    # The source pads by a pixel at left and top, this network at right and bottom: moved by one both see the same.
    moved = np.roll(rgb, (1, 1), (0, 1))
    heads = network(moved[None].astype(np.float32), training=False)
    for stride in LEVELS:
        wanted = yunet_cells(outputs, HEIGHT, WIDTH, stride)
        rows = np.asarray(heads[f"head{stride}"])[0].reshape(-1, 15)
        centres, steps = cell_centres(HEIGHT, WIDTH, (stride,))
        boxes, points = decode_boxes(rows[:, 1:], centres, steps)
        assert np.ptp(wanted.boxes[:, 2] - wanted.boxes[:, 0]) > stride / 2, "the made-up network says different things"
        np.testing.assert_allclose(boxes, wanted.boxes + 1, rtol=1e-4, atol=0.02)
        np.testing.assert_allclose(points, wanted.points + 1, rtol=1e-4, atol=0.02)
        cls, obj = (np.log(p / (1 - p)) for p in (outputs[f"{k}_{stride}"][0, :, 0] for k in ("cls", "obj")))
        np.testing.assert_allclose(rows[:, 0], (cls + obj) / 2, atol=2e-3)


def test_a_level_that_the_source_lacks_begins_like_its_highest() -> None:
    network = build_yunet(STRIDES)
    load_yunet(network, SOURCE)
    for layer in ("unit1_pointwise", "unit2_depthwise", "lateral_pointwise", "head_depthwise"):
        highest, added = (network.get_layer(f"s{stride}_{layer}").get_weights() for stride in (32, 64))
        for ours, theirs in zip(added, highest, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    # A cell twice as large lies as far from its corner, in cells; the pixel that pictures are moved by is half of that.
    highest, added = (network.get_layer(f"s{stride}_answer").get_weights()[1] for stride in (32, 64))
    np.testing.assert_allclose(added[5:] + 0.5, (highest[5:] + 0.5) / 2)


def test_the_channels_are_those_of_the_smaller_yunet() -> None:
    # Of the published 54,608 two for every normalised channel are folded in here, and the library's first filters have
    # five zeros each besides.
    normalised = 16 + sum(BEFORE.values()) + 9 * 64
    library = sum(int(np.prod(shape)) for shape in source_shapes().values())
    assert library - 16 * 5 + 2 * normalised == 54_608


def compiled(tensors: Tensors, path: Path) -> Path:
    """A shared library that has `tensors` inside, each under its name."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    source = path.with_suffix(".c")
    source.write_text(
        "".join(f"float {n}[{t.size}] = {{{','.join(f'{v:.9g}' for v in t.ravel())}}};\n" for n, t in tensors.items())
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return path


def test_weights_are_read_from_the_library(tmp_path: Path) -> None:
    read = read_libfacedetection(compiled(SOURCE, tmp_path / "libfacedetection.so"), source_shapes())
    assert set(read) == set(SOURCE)
    for name, tensor in SOURCE.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    shapes = source_shapes()
    with pytest.raises(InputError, match=r"none\.so: no such file; give the libfacedetection\.so"):
        read_libfacedetection(tmp_path / "none.so", shapes)
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(InputError, match=r"text\.so is no libfacedetection .*yuface"):
        read_libfacedetection(tmp_path / "text.so", shapes)
    less = {name: tensor for name, tensor in SOURCE.items() if name != "neck__lateral_convs__1_dw_bias"}
    with pytest.raises(InputError, match=r"less\.so is no libfacedetection .*neck__lateral_convs__1_dw_bias"):
        read_libfacedetection(compiled(less, tmp_path / "less.so"), shapes)


def data() -> DetectionData:
    boxes = np.array([[20, 20, 60, 60]], np.float32)
    pictures = [Picture(f"{n}.png", picture(), boxes, np.zeros(1, bool), unknown_landmarks(1)) for n in range(3)]
    return DetectionData(pictures[:2], [], [], pictures[2:], LoadReport())


RECIPE = Recipe(arch="yunet", steps=1, learning_rate=0.0, phases=(Phase(0.0, ((2, 64, 1.0),), ROUGH.augment),))


def test_a_training_begins_with_the_published_weights_and_measured_averages(tmp_path: Path) -> None:
    library = compiled(SOURCE, tmp_path / "libfacedetection.so")
    pictures = data()
    weights = with_statistics(Trainer(RECIPE).weights_of(library), RECIPE, Canvases(pictures.pool(RECIPE), RECIPE))
    plain, begun = build_yunet(STRIDES), build_yunet(STRIDES)
    load_yunet(plain, SOURCE)
    begun.set_weights(weights)
    rgb = picture()[None].astype(np.float32)
    for name, head in plain(rgb).items():
        np.testing.assert_allclose(np.asarray(begun(rgb)[name]), np.asarray(head), rtol=1e-3, atol=1e-3)
    assert not np.allclose(begun.get_layer("s8_unit1_norm").moving_mean, 0)
    trainer = train_detector(pictures, RECIPE, tmp_path / "run", warm_start=library, say=lambda _: None)
    # A step at rate 0 changes nothing that is learned.
    for ours, theirs in zip(trainer.model.trainable_variables, begun.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_added_to_the_form_learns_from_the_first_step_on(tmp_path: Path) -> None:
    network = build_yunet(STRIDES)
    blocks = [layer.name for layer in network.layers if layer.name.endswith("_b_norm")]
    assert len(blocks) == 7
    trained = train_detector(data(), replace(RECIPE, learning_rate=0.01), tmp_path, say=lambda _: None).model
    for name in blocks:
        assert not np.any(network.get_layer(name).gamma), "it says nothing in the beginning"
        assert np.all(trained.get_layer(name).gamma)


def test_other_forms_do_not_begin_with_them(tmp_path: Path) -> None:
    library = tmp_path / "libfacedetection.so"
    library.touch()
    with pytest.raises(InputError, match=r"libfacedetection\.so has weights for --arch yunet, not for nano"):
        Trainer(Recipe(arch="nano")).weights_of(library)


def test_in_integers_depthwise_filters_have_all_eight_bits(tmp_path: Path) -> None:
    network = build_yunet(STRIDES)
    for layer in network.layers:
        if layer.name.endswith("_b_norm"):
            layer.gamma.assign(np.ones(64))  # filters that say nothing have no bits
    export_detector(network, tmp_path, threshold=0.5)
    quantize_detector(tmp_path / "detector.onnx", data().true, tmp_path / "int8.onnx", size=128)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    largest: dict[bool, list[int]] = {True: [], False: []}
    floats = 0
    for node in graph.node:
        if node.op_type == "Conv":
            filters = made_by.get(node.input[1])
            if filters is None:
                floats += 1
                continue
            depthwise = any(a.name == "group" and a.i > 1 for a in node.attribute)
            largest[depthwise].append(int(np.abs(tensors[filters.input[0]].astype(int)).max()))
    assert set(largest[True]) == {127}
    assert set(largest[False]) == {64}
    assert floats == 3 * len(STRIDES), "heads stay in floats"


def test_its_channels_are_evened_out_without_a_change_of_answers() -> None:
    network = build_yunet(STRIDES)
    load_yunet(network, SOURCE)
    rgb = picture()[None]
    before = {name: np.asarray(head) for name, head in network(rgb.astype(np.float32)).items()}
    equalize_pairs(network, [rgb])
    for name, head in network(rgb.astype(np.float32)).items():
        np.testing.assert_allclose(np.asarray(head), before[name], rtol=2e-3, atol=2e-3)
    for layer in ("s2_unit", "s8_lateral", "s64_head"):
        values = keras.Model(network.input, network.get_layer(f"{layer}_pointwise").output)(rgb.astype(np.float32))
        sizes = np.abs(np.asarray(values)).max((0, 1, 2))
        assert sizes.max() < 1.01 * sizes.min()
