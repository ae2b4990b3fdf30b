"""The six experiments on a toy: twelve coloured people, networks of two layers; killed, restarted, tabulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from engine.embedder import Embedder  # noqa: E402
from engine.errors import InputError, OutputError  # noqa: E402
from tests.train.test_faces import archive  # noqa: E402
from train.analysis.people import EmbeddedPeople  # noqa: E402
from train.experiments import Setting, measure_cost, run_experiments  # noqa: E402
from train.experiments_data import plain, read_experiment_faces, vary  # noqa: E402
from train.experiments_figures import markdown, order, row_title, triplet_accuracy  # noqa: E402
from train.experiments_networks import finished_networks  # noqa: E402
from train.experiments_plan import EXPERIMENTS, NetworkName, Plan  # noqa: E402
from train.experiments_stage import Pretraining, TripletStage  # noqa: E402
from train.snapshots import read_snapshots  # noqa: E402

PLAN = Plan(side=75, pretrain_steps=4, batch=8, pairs_share=0.04, snapshots=3, rate=0.05)
PHOTOS = ("train",) * 5 + ("dev",) * 2 + ("test",) * 2


def colour(hue: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop of one colour with some noise: the person is the hue."""
    hsv = np.full((128, 128, 3), (hue * 180, 200, 200), np.uint8)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.int16)
    noisy = rgb + rng.integers(-12, 13, 3) + rng.integers(-6, 7, rgb.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive like the real one: four people with splits, twenty others, one photo without a name."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    rows, members, table = ["file,set,person,split"], {}, ["person,file,split"]
    for person in range(4):
        for n, split in enumerate(PHOTOS):
            file = f"celeb/p{person}_{n}.jpg"
            members[file] = colour(person / 4, rng)
            rows.append(f"{file},celeb,p{person},")
            table.append(f"p{person},{file},{split}")
    for n in range(20):
        members[f"celeb/o{n}.jpg"] = colour(rng.random(), rng)
        rows.append(f"celeb/o{n}.jpg,celeb,{f'o{n}' if n else ''},")
    members["celeb/extra.jpg"] = colour(0, rng)
    rows.append("celeb/extra.jpg,celeb,p0,")  # a photo of one of the people that the table leaves out
    members["group4/x.jpg"] = colour(0.5, rng)
    rows.append("group4/x.jpg,group4,g1,train")
    archive(folder / "faces.zip", "people.csv", "\n".join(rows), members)
    (folder / "people12.csv").write_text("\n".join(table), "utf-8")
    return folder


def tiny(name: NetworkName, plan: Plan, imagenet: Path | None = None) -> Any:
    """Not one of the networks: something that learns colours in milliseconds."""
    faces = keras.Input((plan.side, plan.side, 3), name="faces")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(faces)
    x = keras.layers.AveragePooling2D(25)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(16, activation="relu", name=f"{name}_hidden")(x)
    return keras.Model(faces, keras.layers.UnitNormalization()(keras.layers.Dense(128)(x)), name=name)


@pytest.fixture
def setting(data: Path, embedder: Embedder, tmp_path: Path) -> Setting:
    return Setting(read_experiment_faces(data), PLAN, embedder, tmp_path / "out", build=tiny, say=lambda line: None)


def test_the_parts_do_not_meet(data: Path) -> None:
    faces = read_experiment_faces(data)
    assert len(faces.people) == 4 * len(PHOTOS)
    assert faces.people.splits[:9] == PHOTOS
    assert faces.closest == ("p0", "p1", "p2")
    assert len(faces.rest) == 20


def test_all_six_run_and_are_tabulated(setting: Setting, tmp_path: Path) -> None:
    record = run_experiments(setting, table=tmp_path / "table")
    assert [key for key in record["rows"] if key in order()] == order()
    assert len(record["rows"]) == 1 + 3 + 6
    for key in order():
        figures = record["rows"][key]["figures"]
        assert 0 <= figures["rank1"]["medoid"]["value"] <= 1
        assert figures["rank1"]["medoid"]["count"] == 8
        assert figures["closest_confusion"]["count"] == 6
        assert set(figures["tar"]) == {"0.01", "0.001"}
        assert np.array(figures["confusion"]).sum() == 8
    assert json.loads((tmp_path / "table.json").read_text("utf-8")) == json.loads(json.dumps(record))
    text = (tmp_path / "table.md").read_text("utf-8")
    assert text.count("\n| ") == 1 + 1 + 3 + 6 - 1
    assert "confused inside the closest trio" in text
    assert "not run yet" not in text
    assert "75 px" in text
    for network, loss in EXPERIMENTS:
        seen = read_snapshots(setting.out / f"{network}-{loss}" / "snapshots")
        assert seen[0].samples == 0
        assert seen[-1].samples == PLAN.steps(loss, 20) * PLAN.batch
        assert len(seen[0].people.people) == 36


def test_a_killed_run_goes_on_as_if_nothing_had_happened(setting: Setting, tmp_path: Path) -> None:
    wanted = [("nn1", "triplet")]
    whole = run_experiments(setting, wanted)  # type: ignore[arg-type]

    class Killed(Exception):
        pass

    kill_at = ["NN1, pretraining: step", "NN1, triplet: step"]

    def say(line: str) -> None:
        if kill_at and line.startswith(kill_at[0]):
            kill_at.pop(0)
            raise Killed

    # Progress is told after the last step, before the state is saved: everything since the last state is done again.
    again = Setting(setting.faces, PLAN, setting.teacher, tmp_path / "again", build=tiny, say=say)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.experiments_stage.SAVE_EVERY", 0.0)
        patch.setattr("train.experiments.LOG_EVERY", 2)
        for _ in range(2):
            with pytest.raises(Killed):
                run_experiments(again, wanted, resume=True)  # type: ignore[arg-type]
            keras.utils.set_random_seed(99)
        resumed = run_experiments(again, wanted, resume=True)  # type: ignore[arg-type]
    assert not kill_at
    first = np.load(setting.out / "nn1-triplet" / "checkpoint.npz")
    second = np.load(again.out / "nn1-triplet" / "checkpoint.npz")
    assert [k for k in first.files if k.startswith("optimizer")] == []
    for key in first.files:
        if key.startswith("network"):
            np.testing.assert_allclose(first[key], second[key], rtol=1e-4, atol=1e-6)
    ours, theirs = (r["rows"]["nn1-triplet"]["figures"]["rank1"]["medoid"]["value"] for r in (whole, resumed))
    assert ours == theirs
    assert "NN2, triplet | not run yet" in (again.out / "experiments.md").read_text("utf-8")


def test_what_is_done_is_not_done_again(setting: Setting) -> None:
    wanted = [("nn2", "binary")]
    run_experiments(setting, wanted)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.experiments._pretrained", None)
        run_experiments(setting, wanted, resume=True)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="--resume"):
        run_experiments(setting, wanted)  # type: ignore[arg-type]


def test_another_plan_is_refused(setting: Setting) -> None:
    run_experiments(setting, [])
    other = Setting(setting.faces, Plan(side=80, pretrain_steps=4), setting.teacher, setting.out, build=tiny)
    with pytest.raises(InputError, match="side was 75, now 80"):
        run_experiments(other, [], resume=True)
    (setting.out / "plan.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match="no plan"):
        run_experiments(setting, [], resume=True)


def test_damaged_states_are_named(setting: Setting) -> None:
    run_experiments(setting, [])
    (setting.out / "targets.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"targets\.npz is damaged"):
        run_experiments(setting, [], resume=True)
    (setting.out / "targets.npz").unlink()
    state = setting.out / "nn1-pretrained" / "checkpoint.npz"
    state.parent.mkdir()
    state.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no whole checkpoint"):
        run_experiments(setting, resume=True)


def test_both_losses_teach_what_can_be_learnt(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four colours: the loss falls, and everybody is named rightly."""
    monkeypatch.setattr("train.experiments.LOG_EVERY", 1)
    longer = Setting(
        setting.faces,
        Plan(side=75, pretrain_steps=1, pretrain_rate=1e-6, batch=8, pairs_share=1.0, rate=0.05, snapshots=2),
        setting.teacher,
        setting.out,
        build=tiny,
        say=lambda line: None,
    )
    record = run_experiments(longer, [("nn1", "triplet"), ("nn1", "binary")])
    for loss in ("triplet", "binary"):
        lines = (longer.out / f"nn1-{loss}" / "log.jsonl").read_text("utf-8").splitlines()
        losses = [json.loads(line)["loss"] for line in lines]
        assert len(losses) == longer.plan.steps(loss, 20)
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
        assert record["rows"][f"nn1-{loss}"]["figures"]["rank1"]["medoid"]["value"] == 1.0


def test_a_triplet_batch_is_embedded_once(setting: Setting) -> None:
    """One call of the network a step, whatever number of triplets is mined."""
    network = tiny("nn1", PLAN)
    calls = []
    inner = network.call

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return inner(*given, **named)

    network.call = counted
    people = setting.faces.people
    labels = np.repeat(np.arange(4), len(PHOTOS))
    stage = TripletStage(network, PLAN, people.pictures, labels)
    faces, who = stage._batch(np.random.default_rng(0))
    assert faces.shape == (8, 75, 75, 3)
    assert (who[::2] == who[1::2]).all()
    stage._loss(tf.constant(faces), tf.constant(who))
    assert len(calls) == 1


def test_pretraining_meets_every_face_once_a_pass(setting: Setting) -> None:
    rest = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.ones((1, 128, 128, 3), np.uint8)
    targets = np.eye(16, 128, dtype=np.float32)
    stage = Pretraining(tiny("nn2", PLAN), PLAN, rest, targets)
    seen = []
    for stage.step in range(2):
        seen.append(stage._batch(np.random.default_rng(stage.step))[1].argmax(axis=1))
    assert sorted(np.concatenate(seen).tolist()) == list(range(16))


def test_schedule_and_moments() -> None:
    plan = Plan(side=75)
    rates = [plan.schedule(step, 200, 1.0) for step in range(200)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert np.argmax(rates) in (9, 10)
    assert rates[-1] == pytest.approx(0.01)
    assert np.all(np.diff(rates[10:]) < 0)
    assert plan.snapshot_steps(160) == (0, 10, 20, 40, 80, 160)
    assert plan.snapshot_steps(1) == (0, 1)
    assert plan.steps("binary", 177) == round(177 * 176 / 4 / 32)
    assert plan.steps("triplet", 177) == 2 * plan.steps("binary", 177)
    with pytest.raises(InputError, match="at least 75"):
        Plan(side=64)


def test_cost_is_reckoned_from_a_step(setting: Setting) -> None:
    cost = measure_cost(setting, "nn2")
    steps = (PLAN.pretrain_steps, PLAN.steps("triplet", 20), PLAN.steps("binary", 20))
    total = sum(n * s for n, s in zip(steps, (cost.pretrain_step, cost.triplet_step, cost.binary_step), strict=True))
    assert cost.minutes == pytest.approx(total / 60)


def test_triplets_in_order() -> None:
    people = EmbeddedPeople(np.eye(4, dtype=np.float32)[[0, 0, 1, 1]], ("a", "a", "b", "b"))
    assert triplet_accuracy(people) == 1
    mixed = EmbeddedPeople(np.eye(4, dtype=np.float32)[[0, 1, 0, 1]], ("a", "a", "b", "b"))
    assert triplet_accuracy(mixed) == 0


def test_rows_that_are_missing_say_so() -> None:
    text = markdown({}, ["How."])
    assert text.count("not run yet") == 9
    assert row_title("inception_v3-binary") == "InceptionV3, binary"
    assert row_title("iznet-embedder") == "iznet-embedder"


def test_views_keep_the_face_where_it_is() -> None:
    """On average: a bright spot at the template's middle stays near the middle; `plain` puts it there exactly."""
    crop = np.zeros((1, 128, 128, 3), np.uint8)
    crop[0, 60:68, 60:68] = 255
    rng = np.random.default_rng(0)
    mean = np.mean([vary(rng, crop, 96)[0].mean(-1) for _ in range(60)], axis=0)
    mean = np.where(mean > 40, mean, 0)
    centre = [float((mean.sum(1 - axis) * np.arange(96)).sum() / mean.sum()) for axis in (0, 1)]
    assert centre == pytest.approx([47.5, 47.5], abs=1.0)
    still = plain(crop, 56)[0].mean(-1)
    assert still[28, 28] == 255
    assert still.sum() == pytest.approx(255 * 16, rel=0.01)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("person,file\np0,celeb/p0_0.jpg\n", "columns person, file and split"),
        ("person,file,split\np0,celeb/p0_0.jpg,valid\n", "'valid' is none of"),
        ("person,file,split\np0,celeb/none.jpg,train\n", r"none\.jpg is not in the archive"),
        ("person,file,split\np0,celeb/p0_0.jpg,train\n", "p0 needs two train photos"),
        ("person,file,split\n", "holds no rows"),
    ],
)
def test_a_bad_table_is_named(data: Path, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "faces.zip").write_bytes((data / "faces.zip").read_bytes())
    (tmp_path / "people12.csv").write_text(table, "utf-8")
    with pytest.raises(InputError, match=message):
        read_experiment_faces(tmp_path)


def test_damaged_snapshots_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no snapshots"):
        read_snapshots(tmp_path)
    (tmp_path / "000001.snapshot.npz").write_bytes(b"x")
    with pytest.raises(InputError, match="no whole snapshot"):
        read_snapshots(tmp_path)


def test_what_the_experiments_left_answers_as_it_did_in_the_end(setting: Setting) -> None:
    run_experiments(setting, [("nn2", "binary"), ("nn1", "triplet")])
    people = setting.faces.people
    seen = []
    for title, embed in finished_networks(setting.out, build=tiny):
        seen.append(title)
        key = {"NN1, triplet": "nn1-triplet", "NN2, binary": "nn2-binary"}[title]
        last = read_snapshots(setting.out / key / "snapshots")[-1].people
        np.testing.assert_allclose(embed(people.centre()), last.embeddings, atol=1e-5)
    assert seen == ["NN1, triplet", "NN2, binary"]
    with pytest.raises(InputError, match="holds no run of `iznet train experiments`"):
        next(finished_networks(setting.out / "nowhere"))
    for result in setting.out.glob("nn*-*/result.json"):
        result.unlink()
    with pytest.raises(InputError, match="no experiment is done yet"):
        next(finished_networks(setting.out, build=tiny))
