"""The network, its training and its export: shapes, resuming, the convention that the engine relies on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.detector import Detector  # noqa: E402
from engine.errors import InputError, OutputError, UsageError  # noqa: E402
from engine.types import Detections  # noqa: E402
from train.data.boxes import LoadReport, Picture  # noqa: E402
from train.data.dense_teacher import DenseTeacher, Opinions  # noqa: E402
from train.data.detection_augment import Pool, Sample  # noqa: E402
from train.detections import decode_heads  # noqa: E402
from train.detector import (  # noqa: E402
    GENTLE,
    ROUGH,
    Canvases,
    DetectionData,
    Phase,
    Recipe,
    Trainer,
    check_networks,
    train_detector,
)
from train.detector_export import export_detector  # noqa: E402
from train.losses.detection import LossWeights  # noqa: E402
from train.models import detector as networks  # noqa: E402

TINY = networks.Width(stem=(4, 4), stages=(8, 8, 8, 8), blocks=(0, 0, 0, 0), neck=8)
RECIPE = Recipe(arch="tiny", steps=4, phases=(Phase(0.0, ((2, 64, 1.0),), ROUGH.augment),), warmup=1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that is built in no time, and steps that run without being compiled first."""
    monkeypatch.setitem(networks.ARCHITECTURES, "tiny", TINY)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def face_picture(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (96, 128, 3), np.uint8)
    x, y, side = (int(v) for v in rng.integers(15, 40, 3))
    cv2.ellipse(image, (x + side // 2, y + side // 2), (side // 2, side // 2), 0, 0, 360, (230, 190, 160), -1)
    box = np.array([[x, y, x + side, y + side]], np.float32)
    marks = (box[:, None, :2] + side * np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])).astype(
        np.float32
    )
    return Picture(f"{seed}.jpg", image, box, np.zeros(1, bool), marks)


def some_data() -> DetectionData:
    return DetectionData([face_picture(s) for s in range(6)], [], [], [face_picture(50)], LoadReport())


def quiet(_: str) -> None:
    pass


def test_heads_have_the_shapes_of_the_convention() -> None:
    model = networks.build_detector("tiny")
    heads = networks.with_probabilities(model(np.zeros((2, 64, 128, 3), np.float32), training=False))
    assert {n: tuple(h.shape) for n, h in heads.items()} == {
        "head8": (2, 8, 16, 15),
        "head16": (2, 4, 8, 15),
        "head32": (2, 2, 4, 15),
        "head64": (2, 1, 2, 15),
    }
    for head in heads.values():
        values = np.asarray(head)
        assert (values[..., 0] < 0.2).all(), "scores start low"
        assert (values[..., 0] > 0).all()
        assert (values[..., 1:5] >= 0).all()


@pytest.mark.parametrize("arch", ["small", "nano", "yunet"])
def test_the_production_networks_stay_within_their_budget(arch: str) -> None:
    assert networks.multiply_adds(networks.build_detector(arch), 384, 640) <= 0.5e9


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"--arch huge: no such detector; one of .*small"):
        networks.build_detector("huge")


def test_a_resumed_run_equals_one_that_was_never_interrupted(tmp_path: Path) -> None:
    straight = train_detector(some_data(), RECIPE, tmp_path / "a", say=quiet)
    train_detector(some_data(), replace(RECIPE, steps=2), tmp_path / "b", say=quiet)
    # The rate depends on the number of steps; within the warm-up and the plateau it is the same.
    resumed = train_detector(some_data(), RECIPE, tmp_path / "b", resume=True, say=quiet)
    assert resumed.step == straight.step == 4
    assert RECIPE.rate(1) == pytest.approx(replace(RECIPE, steps=2).rate(1), rel=1e-6)
    for a, b in zip(straight.average.get_weights(), resumed.average.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "b" / "log.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["step"] == 4
    assert "ap16" in lines[-1]
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_a_training_can_begin_with_an_earlier_network(tmp_path: Path) -> None:
    earlier = train_detector(some_data(), RECIPE, tmp_path / "a", say=quiet).average
    export_detector(earlier, tmp_path / "a", threshold=0.5)
    still = replace(RECIPE, steps=1, learning_rate=0.0)
    warm = train_detector(some_data(), still, tmp_path / "b", warm_start=tmp_path / "a" / "detector.keras", say=quiet)
    for ours, theirs in zip(warm.model.trainable_variables, earlier.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    with pytest.raises(InputError, match=r"none\.keras is not a detector of architecture tiny"):
        train_detector(some_data(), RECIPE, tmp_path / "c", warm_start=tmp_path / "none.keras", say=quiet)
    Trainer(Recipe()).average.save(tmp_path / "large.keras")
    with pytest.raises(InputError, match=r"large\.keras is not a detector of architecture tiny"):
        warm.weights_of(tmp_path / "large.keras")


def test_a_trained_network_is_mixed_with_the_one_it_began_with(tmp_path: Path) -> None:
    earlier = train_detector(some_data(), RECIPE, tmp_path / "a", say=quiet).average
    first = tmp_path / "a" / "detector.keras"
    export_detector(earlier, tmp_path / "a", threshold=0.5)
    whole = train_detector(some_data(), RECIPE, tmp_path / "b", warm_start=first, say=quiet).average
    part = train_detector(some_data(), RECIPE, tmp_path / "c", warm_start=first, share=0.25, say=quiet).average
    for ours, old, new in zip(part.get_weights(), earlier.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, old + 0.25 * (new - old), atol=1e-5)
    assert not np.allclose(whole.get_weights()[0], earlier.get_weights()[0])


def test_what_cannot_be_mixed_is_refused_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(RECIPE).average.save(tmp_path / "narrow.keras")
    monkeypatch.setitem(networks.ARCHITECTURES, "tiny", replace(TINY, neck=12))
    with pytest.raises(InputError, match=r"narrow\.keras is not a detector of architecture tiny"):
        train_detector(
            some_data(), RECIPE, tmp_path / "out", warm_start=tmp_path / "narrow.keras", share=0.5, say=quiet
        )
    assert not list((tmp_path / "out").glob("checkpoint*"))


def test_mixing_needs_something_to_mix_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.cli import run

    folders = ["--data", str(tmp_path), "--teachers", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run(["train", "detector", *folders, "--mix", "0.4"]) == 2
    assert "--warm-start detector.keras" in capsys.readouterr().err


class Stubborn:
    """A teacher that always says the same of every cell; it counts the canvases that it was shown."""

    def __init__(self, score: float) -> None:
        self.score, self.shown = score, 0

    def opinions(self, samples: Sequence[Sample], strides: Sequence[int]) -> Opinions:
        self.shown += len(samples)
        side = samples[0].rgb.shape[0]
        cells = sum((side // s) ** 2 for s in strides)
        boxes = np.tile(np.array([8, 8, 40, 40], np.float32), (len(samples), cells, 1))
        scores = np.full((len(samples), cells), self.score, np.float32)
        return Opinions(scores, boxes, np.ones(cells, np.float32))


def test_a_teacher_is_asked_about_every_canvas_and_believed() -> None:
    taught = replace(RECIPE, weights=LossWeights(teacher=5.0), learning_rate=0.01, average=0.0)
    pool, scores = Pool(some_data().true), {}
    for says in (0.0, 1.0):
        teacher = Stubborn(says)
        trainer, canvases = Trainer(taught), Canvases(pool, taught, cast("DenseTeacher", teacher))
        parts = [trainer.train_step(canvases(step)) for step in range(4)]
        assert teacher.shown == 8
        assert {"taught_score", "taught_box"} <= set(parts[-1])
        scores[says] = trainer.predict(np.zeros((1, 64, 64, 3), np.uint8))["head8"][..., 0].mean()
    assert scores[1.0] > 1.1 * scores[0.0]
    deaf = replace(RECIPE, weights=LossWeights())
    assert "taught_score" not in Trainer(deaf).train_step(Canvases(pool, deaf, cast("DenseTeacher", teacher))(0))
    assert teacher.shown == 8, "a teacher whose word has no weight is not asked"


def test_a_training_keeps_to_what_others_say_whatever_their_form(tmp_path: Path) -> None:
    recipe = replace(RECIPE, weights=LossWeights(memory=3.0))
    for arch in ("tiny", "nano"):
        network = networks.build_detector(arch)
        for stride in networks.STRIDES:
            network.get_layer(f"s{stride}_score").bias.assign([4.0])  # it takes everything for a face
        network.save(tmp_path / f"{arch}.keras")
    batch = Canvases(some_data().pool(recipe), recipe)(0)

    def first_step(*remember: str) -> tuple[float, dict[str, float]]:
        trainer = Trainer(recipe)
        for name in remember:
            trainer.remember(tmp_path / f"{name}.keras")
        parts = trainer.train_step(batch)
        return float(parts["loss"]), {k: float(v) for k, v in parts.items() if k.startswith("kept")}

    free, nothing = first_step()
    assert nothing == {}
    for names, parts in ((("tiny",), 3), (("nano",), 3), (("tiny", "nano"), 6)):
        loss, kept = first_step(*names)
        assert len(kept) == parts
        assert all(value > 0 for value in kept.values())
        assert loss == pytest.approx(free + 3.0 * sum(kept.values()), rel=1e-3)
    train_detector(some_data(), recipe, tmp_path / "run", remember=[tmp_path / "nano.keras"], say=quiet)
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()[-1])
    assert {"kept_score", "kept_box", "kept_points"} <= set(line)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text("utf-8"))["remember"] == [
        str(tmp_path / "nano.keras")
    ]


def test_other_files_are_refused_without_a_step(tmp_path: Path) -> None:
    for path in (other := tmp_path / "other.keras", library := tmp_path / "lib.so"):
        path.write_text("", "utf-8")
    with pytest.raises(InputError, match=r"other\.keras is not a detector of architecture tiny"):
        check_networks(RECIPE, other, ())
    with pytest.raises(InputError, match=r"lib\.so has weights for --arch yunet, not for tiny"):
        check_networks(RECIPE, library, ())
    with pytest.raises(InputError, match=r"other\.keras is not a detector whose answers can be kept to"):
        check_networks(RECIPE, None, (other,))
    networks.build_detector("tiny").save(good := tmp_path / "good.keras")
    check_networks(RECIPE, good, (good, good))


def test_what_cannot_be_kept_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.keras is not a detector whose answers can be kept to"):
        Trainer(RECIPE).remember(tmp_path / "none.keras")
    images = keras.Input((None, None, 3))
    keras.Model(images, {"head8": keras.layers.Conv2D(15, 8, 8)(images)}).save(path := tmp_path / "low.keras")
    with pytest.raises(InputError, match=r"low\.keras .* other levels"):
        Trainer(RECIPE).remember(path)


def test_a_step_sees_the_canvases_of_its_phase() -> None:
    late = replace(ROUGH.augment, mosaic=0.0)
    recipe = replace(RECIPE, phases=(*RECIPE.phases, Phase(0.5, ((1, 128, 1.0),), late)))
    canvases = Canvases(Pool(some_data().true), recipe)
    assert [canvases(step)["images"].shape for step in range(4)] == [(2, 64, 64, 3)] * 2 + [(1, 128, 128, 3)] * 2
    assert [recipe.phase(step).augment.mosaic for step in range(4)] == [ROUGH.augment.mosaic] * 2 + [0.0] * 2


def test_from_the_beginning_or_never_gentle() -> None:
    recipe = Recipe(steps=10)
    assert {recipe.gentle_from(0.0).phase(step).augment for step in range(10)} == {GENTLE.augment}
    assert {recipe.gentle_from(1.0).phase(step).augment for step in range(10)} == {ROUGH.augment}


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(RECIPE).save(tmp_path / "checkpoint.npz", {})
    monkeypatch.setitem(networks.ARCHITECTURES, "other", TINY)
    with pytest.raises(InputError, match=r"checkpoint\.npz"):
        train_detector(some_data(), replace(RECIPE, arch="other"), tmp_path, resume=True, say=quiet)
    with pytest.raises(InputError, match="no checkpoint"):
        train_detector(some_data(), RECIPE, tmp_path / "none", resume=True, say=quiet)


def test_the_exported_network_runs_in_the_engine(tmp_path: Path) -> None:
    """Engine, NumPy decoding and Keras give the same faces; sizes and batch are free."""
    tf.config.run_functions_eagerly(False)
    tf.keras.utils.set_random_seed(0)
    model = networks.build_detector("tiny")
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.05, w.shape) if w.ndim == 4 else w for w in model.get_weights()])
    for stride in networks.STRIDES:
        layer = model.get_layer(f"s{stride}_score")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * 20, bias * 0 - 1])
    digest = export_detector(model, tmp_path, threshold=0.3)
    assert (tmp_path / "detector.sha256").read_text("utf-8").split()[0] == digest
    assert (tmp_path / "detector.keras").is_file()
    detector = Detector.open(tmp_path / "detector.onnx", threads=1)
    assert detector.sha256 == digest
    assert detector.threshold == pytest.approx(0.3)
    assert detector.strides == networks.STRIDES
    rgb = rng.integers(0, 256, (128, 192, 3), np.uint8)
    answer = networks.with_probabilities(model(rgb[None].astype(np.float32), training=False))
    heads = {n: np.asarray(v) for n, v in answer.items()}
    expected = decode_heads(heads, 128, 192, threshold=0.3, iou=detector.iou)
    found = detector.detect([rgb], size=192)[0]
    assert len(found) > 0
    shown = min(len(found), len(expected), 5)
    assert np.allclose(found.scores[:shown], expected.scores[:shown], atol=0.02)
    bounds = np.array([192, 128] * 2)
    assert np.allclose(found.boxes[:shown], np.clip(expected.boxes[:shown], 0, bounds), atol=1.5)
    assert len(detector.detect([rgb[:50, :70], rgb], size=320)) == 2
    again = export_detector(model, tmp_path / "again", threshold=0.3)
    assert again == digest, "the same weights give the same file"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(OutputError, match="file"):
        export_detector(networks.build_detector("tiny"), tmp_path / "file" / "sub", threshold=0.5)


def test_decoding_nothing_gives_nothing() -> None:
    heads = {f"head{s}": np.zeros((1, 64 // s, 64 // s, 15), np.float32) for s in networks.STRIDES}
    assert len(decode_heads(heads, 64, 64)) == 0
    assert isinstance(decode_heads(heads, 64, 64), Detections)
