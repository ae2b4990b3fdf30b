"""The one-grid detector: its networks, its training, and the way from a training to the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

tf = pytest.importorskip("tensorflow")

from engine.detector import Detector  # noqa: E402
from engine.errors import InputError, UsageError  # noqa: E402
from engine.metrics import box_iou  # noqa: E402
from train.architectures import DETECTORS, MULTI_SCALE, ONE_GRID, YUNET  # noqa: E402
from train.data.boxes import LoadReport, Picture, unknown_landmarks  # noqa: E402
from train.data.detection_augment import AugmentSettings, Pool, Sample  # noqa: E402
from train.data.grid import FACES, decode_grid, encode_grid  # noqa: E402
from train.detector import DetectionData  # noqa: E402
from train.grid_detector import (  # noqa: E402
    GridCanvases,
    GridRecipe,
    GridTrainer,
    Phase,
    assemble_grid,
    find_in_grid,
    only_sharp,
    train_grid_detector,
)
from train.grid_export import USUAL_LANDMARKS, engine_heads, export_grid_detector  # noqa: E402
from train.models import detector as production  # noqa: E402
from train.models.darknet import darknet53  # noqa: E402
from train.models.grid_detector import BACKBONES, build_grid_detector  # noqa: E402
from train.models.mobilenet import mobilenet  # noqa: E402
from train.models.shufflenet import shufflenet  # noqa: E402

TINY = partial(darknet53, stages=((4, 0), (4, 0), (8, 0), (8, 1), (8, 0)), first=4)
PLAIN = AugmentSettings(
    mosaic=0, smallest=30, largest=0.6, learnable=10, rotate=0, turned=0, paste=0, tint=0, haze=0, strobe=0, grey=0,
    blur=0, jpeg=0, noise=0, occlude=0,
)  # fmt: skip
PHASES = (Phase(2, 64, 0.5, mosaic=0), Phase(1, 96, 0.5, rate=0.5, mosaic=0, settled=True))
RECIPE = GridRecipe("tiny", 3e-3, steps=4, phases=PHASES, measured=3, warmup=1, augment=PLAIN)


def face_picture(seed: int) -> Picture:
    """A bright disc with two eyes on a dark ground."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (96, 128, 3), np.uint8)
    side = int(rng.integers(34, 60))
    x, y = int(rng.integers(0, 128 - side)), int(rng.integers(0, 96 - side))
    cv2.circle(image, (x + side // 2, y + side // 2), side // 2, (240, 200, 170), -1)
    for eye in (0.3, 0.7):
        cv2.circle(image, (x + round(eye * side), y + round(0.4 * side)), max(1, side // 12), (0, 0, 0), -1)
    box = np.array([[x, y, x + side, y + side]], np.float32)
    return Picture(f"{seed}.jpg", image, box, np.zeros(1, bool), unknown_landmarks(1))


def some_data() -> DetectionData:
    return DetectionData([face_picture(s) for s in range(8)], [], [], [face_picture(50)], LoadReport())


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """For tests of a few steps, which would mostly wait for the compiler."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def quiet(_: str) -> None:
    pass


def test_names_of_the_command_line_are_those_of_the_networks() -> None:
    assert set(MULTI_SCALE) == {*production.ARCHITECTURES, YUNET}
    assert set(ONE_GRID) == set(BACKBONES)


@pytest.mark.parametrize(
    ("backbone", "parameters"), [(darknet53, 40_584_928), (mobilenet, 3_206_976), (shufflenet, 1_253_604)]
)
def test_backbones_are_those_of_the_papers(backbone: object, parameters: int) -> None:
    """Learnt parameters of the published networks without their classifiers."""
    import keras

    images = keras.Input((416, 416, 3))
    network = keras.Model(images, BACKBONES[backbone.__name__](images))  # type: ignore[attr-defined]
    assert network.output.shape == (None, 13, 13, 1024)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == parameters
    if backbone is darknet53:
        names = [layer.name for layer in network.layers]
        assert sum(name.endswith("_conv") for name in names) == 52
        assert sum(name.endswith("_add") for name in names) == 23


def test_head_gives_thirteen_by_thirteen_by_two_by_five() -> None:
    network = build_grid_detector("tiny", TINY)
    boxes = network(np.full((1, 416, 416, 3), 128, np.float32), training=False).numpy()
    assert boxes.shape == (1, 13, 13, 2, 5)
    assert ((boxes[..., :3] > 0) & (boxes[..., :3] < 1)).all()
    np.testing.assert_allclose(boxes[..., 3], 64 / 416, rtol=0.05)  # untrained, a box is its anchor
    np.testing.assert_allclose(boxes[..., 1, 4], 73.6 / 416, rtol=0.05)


def test_an_unknown_architecture_names_all() -> None:
    from tools.train_detector import detector

    with pytest.raises(UsageError, match="small, nano, yunet, darknet53, mobilenet, shufflenet"):
        CliRunner().invoke(detector, ["--data", "x", "--teachers", "y", "--arch", "resnet"], catch_exceptions=False)
    with pytest.raises(UsageError, match="darknet53, mobilenet, shufflenet"):
        GridRecipe.of("small")
    assert "darknet53" in DETECTORS


def test_all_architectures_get_the_same_budget() -> None:
    recipes = [GridRecipe.of(arch) for arch in ONE_GRID]
    (pictures,) = {recipe.pictures for recipe in recipes}
    assert pictures >= 8_000
    assert len({replace(recipe, arch="", learning_rate=0) for recipe in recipes}) == 1


def test_phases_follow_each_other_and_the_rate_falls() -> None:
    assert [RECIPE.phase(step).side for step in range(4)] == [64, 64, 96, 96]
    assert RECIPE.pictures == 6
    recipe = GridRecipe.of("mobilenet")
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    second = next(step for step in range(1, recipe.steps) if recipe.begins(step))
    assert [recipe.phase(step).side for step in (0, second - 1, second, recipe.steps - 1)] == [128, 128, 416, 416]
    for part, top in (
        (rates[:second], recipe.learning_rate),
        (rates[second:], recipe.phases[1].rate * recipe.learning_rate),
    ):
        assert part.index(max(part)) in range(recipe.warmup - 1, recipe.warmup + 1)
        assert 0.9 * top < max(part) <= top
        assert part[0] < 0.03 * top
        assert part[-1] < 0.011 * top
    assert [RECIPE.begins(step) for step in range(4)] == [True, False, True, False]
    short = replace(recipe, steps=3)
    assert [short.phase(step).side for step in range(3)] == [128, 128, 128]


def test_blurred_faces_are_ignored() -> None:
    picture = face_picture(1)
    assert not only_sharp(picture, 30).ignore.any()
    assert only_sharp(picture, 61).ignore.all()


def test_canvases_become_grids() -> None:
    picture = face_picture(2)
    sample = Sample(picture.rgb[:96, :96], picture.boxes, picture.ignore, picture.landmarks)
    batch = assemble_grid([sample, sample])
    assert batch.images.shape == (2, 96, 96, 3)
    assert batch.target.shape == (2, 3, 3, 2, 5)
    assert batch.ignore.shape == (2, 3, 3, 2)


def test_averages_are_measured_once_and_kept_in_a_settled_phase(uncompiled: None) -> None:
    trainer, canvases = GridTrainer(RECIPE, TINY), GridCanvases(Pool(some_data().true), RECIPE)

    def averages() -> list[np.ndarray]:
        return [v.numpy() for v in trainer.model.non_trainable_variables if "moving" in v.path]

    def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
        return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    seen = [averages()]
    for step in range(4):
        trainer.settle(canvases)
        trainer.train_step(canvases(step))
        seen.append(averages())
    assert [same(a, b) for a, b in pairwise(seen)] == [False, False, False, True]
    weights = trainer.model.get_weights()
    trainer.step = 2
    trainer.settle(canvases)
    assert not same(averages(), seen[-1])  # they were those of the weights of that time
    learnt = {v.path for v in trainer.model.trainable_variables}
    for variable, before in zip(trainer.model.weights, weights, strict=True):
        assert np.array_equal(variable.numpy(), before) or variable.path not in learnt


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, uncompiled: None) -> None:
    data = some_data()
    whole = train_grid_detector(data, RECIPE, tmp_path / "whole", backbone=TINY, say=quiet)
    half = GridTrainer(RECIPE, TINY)
    pool = Pool([only_sharp(p, RECIPE.sharp) for p in data.true], [], RECIPE.true_share)
    for step in range(2):
        half.train_step(GridCanvases(pool, RECIPE)(step))
    half.save(tmp_path / "half" / "checkpoint.npz", {"seconds": 1.0})
    resumed = train_grid_detector(data, RECIPE, tmp_path / "half", backbone=TINY, resume=True, say=quiet)
    assert resumed.step == whole.step == 4
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["step"] == 4
    assert lines[-1]["ap"] >= 0
    assert cv2.imread(str(tmp_path / "whole" / "loss.png")) is not None
    with pytest.raises(InputError, match="belongs to another network"):
        GridTrainer(replace(RECIPE, arch="other"), TINY).load(tmp_path / "whole" / "checkpoint.npz")
    with pytest.raises(InputError, match="no checkpoint"):
        train_grid_detector(data, RECIPE, tmp_path / "none", backbone=TINY, resume=True, say=quiet)


def test_trained_exported_and_run_by_the_engine(tmp_path: Path) -> None:
    """Faces of the engine are those of the network decoded by hand, and a few steps find discs on plain ground."""
    recipe = replace(RECIPE, steps=60, phases=(Phase(6, 96, 1.0, mosaic=0),), learning_rate=1e-2)
    trainer = train_grid_detector(some_data(), recipe, tmp_path, backbone=TINY, judge_every=1000, say=quiet)
    export_grid_detector(trainer.model, tmp_path / "final")
    engine = Detector.open(tmp_path / "final" / "detector.onnx", size=416, threads=1, precision="f32")
    assert engine.strides == (32,)
    assert engine.threshold == pytest.approx(0.3)
    for seed in (60, 61):
        picture = face_picture(seed)
        seen = engine.detect([picture.rgb], threshold=0.05)[0]
        by_hand = find_in_grid(trainer.predict, picture.rgb, threshold=0.05)
        assert len(seen) == len(by_hand) > 0
        np.testing.assert_allclose(np.sort(seen.scores), np.sort(by_hand.scores), atol=1e-3)
        overlap = box_iou(seen.boxes, by_hand.boxes)
        assert overlap.max(axis=1).min() > 0.99
        inside = seen.landmarks.reshape(-1, 5, 2)
        assert np.isfinite(inside).all()
    engine.close()


def test_the_engine_reads_back_what_the_grid_holds() -> None:
    """Encoded faces through the export's mapping and the engine's decoding: the same boxes, points in their places."""
    from engine.decoding import candidates

    boxes = np.array([[100, 90, 160, 150], [200, 210, 290, 330], [210, 205, 280, 345]], np.float32)
    values = encode_grid(boxes, np.zeros(3, bool), 416, 416, FACES).values
    head = engine_heads(tf.constant(values[None])).numpy()[0]
    assert head.shape == (13, 13, 30)
    found = np.concatenate([candidates(np.ascontiguousarray(h), 32, 0.5, 416, 416) for h in np.split(head, 2, axis=2)])
    assert len(found) == 3
    for face in found:
        box = boxes[np.abs(boxes - face[:4]).max(axis=1).argmin()]
        np.testing.assert_allclose(face[:4], box, atol=1e-2)
        points = box[:2] + np.array(USUAL_LANDMARKS) * (box[2:] - box[:2])
        np.testing.assert_allclose(face[5:].reshape(5, 2), points, atol=1e-2)


def test_a_linear_confidence_ends_within_zero_and_one() -> None:
    values = np.zeros((1, 1, 3, 2, 5), np.float32)
    values[0, 0, :, 0] = [[-0.2, 0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.5, 0.2, 0.2], [1.3, 0.5, 0.5, 0.2, 0.2]]
    heads = engine_heads(tf.constant(values)).numpy().reshape(3, 2, 15)
    np.testing.assert_allclose(heads[:, 0, 0], [0, 0.6, 1])
    np.testing.assert_allclose(decode_grid(values[0], FACES, 0.5)[1], [0.6, 1])
