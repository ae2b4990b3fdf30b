"""The six experiments: NN1, NN2 and InceptionV3, each with the triplet loss and with binary classification of pairs.

Every network is pretrained once, all in the same way, on people that the experiments do not meet, and both of its
experiments begin there. Each pretraining and each experiment has a folder with its own state:

    OUT/plan.json                       what the numbers were made with
    OUT/targets.npz                     what the pretraining learns
    OUT/nn1-pretrained/checkpoint.npz   log.jsonl
    OUT/nn1-triplet/checkpoint.npz      log.jsonl  snapshots/  result.json
    OUT/experiments.json, .md           the table, written anew whenever an experiment is done
"""

from __future__ import annotations

import contextlib
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from engine.embedder import Embedder
from engine.errors import InputError, OutputError
from train import checkpoint
from train.analysis.people import EmbeddedPeople
from train.data.faces import CROP, FACE
from train.experiments_data import ExperimentFaces, plain
from train.experiments_figures import figures, markdown, order, row_title
from train.experiments_networks import Build, answering
from train.experiments_plan import EXPERIMENTS, LOSSES, NETWORKS, TITLES, LossName, NetworkName, Plan, build, same_plan
from train.experiments_stage import STAGES, Pretraining, Stage
from train.output import write_arrays, write_whole
from train.snapshots import Snapshot, save_snapshot

Say = Callable[[str], None]
LOG_EVERY = 20
"""Steps between two lines of progress."""
TARGETS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class Setting:
    """What all experiments share."""

    faces: ExperimentFaces
    plan: Plan
    teacher: Embedder
    out: Path
    imagenet: Path | None = None
    build: Build = build
    say: Say = print


def prepare(setting: Setting, *, resume: bool) -> NDArray[np.float32]:
    """Claim the folder for this plan and give the pretraining's targets `[R,D]`, made once.

    Raises:
        OutputError: the folder holds another run and `resume` is not given, or cannot be written.
        InputError: the run in it was made with other settings, so it cannot be resumed.
    """
    kept = setting.out / "plan.json"
    plan = {**setting.plan.to_dict(), "teacher": setting.teacher.sha256, "pretraining faces": len(setting.faces.rest)}
    if kept.exists():
        if not resume:
            raise OutputError(f"{setting.out} holds a run already; go on with it: --resume, or choose another folder")
        try:
            changed = same_plan(kept.read_text("utf-8"), json.loads(json.dumps(plan)))
        except ValueError as error:
            raise InputError(f"{kept} is no plan ({error}); choose another folder") from error
        if changed:
            raise InputError(
                f"{setting.out} was begun with other settings: {'; '.join(changed)}. Give those, or another folder"
            )
    write_whole(kept, json.dumps(plan, indent=1) + "\n")
    path = setting.out / "targets.npz"
    with contextlib.suppress(FileNotFoundError):
        try:
            with np.load(path, allow_pickle=False) as file:
                return np.asarray(file["targets"], np.float32)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is damaged ({error}); delete it, it will be made again") from error
    margin = (CROP - FACE) // 2
    setting.say(f"embedding faces with {setting.teacher.name} for the pretraining")
    centres = setting.faces.rest[:, margin : margin + FACE, margin : margin + FACE]
    parts = []
    for start in range(0, len(centres), TARGETS_AT_ONCE):
        parts.append(setting.teacher.embed(centres[start : start + TARGETS_AT_ONCE]))
        setting.say(f"{min(start + TARGETS_AT_ONCE, len(centres))} of {len(centres)} faces embedded")
    targets = np.concatenate(parts)
    write_arrays(path, targets=targets)
    return targets


class Examined:
    """A network and how it answers for the twelve people."""

    def __init__(self, network: keras.Model, setting: Setting, batch: int = 32) -> None:
        """Trace the network once for batches of `batch` faces."""
        self.network, self._people = network, setting.faces.people
        self._pictures = plain(self._people.pictures, setting.plan.side)
        self._answer = answering(network, batch)

    def people(self) -> EmbeddedPeople:
        """The twelve people as the network sees them now."""
        return EmbeddedPeople(self._answer(self._pictures), self._people.people, self._people.splits)


def _learn(stage: Stage, folder: Path, title: str, setting: Setting, after: Callable[[int], None]) -> float:
    """Run `stage` to its end from wherever its state is; gives the seconds spent in this process."""
    state = folder / "checkpoint.npz"
    if state.exists():
        stage.load(state)
        setting.say(f"{title}: goes on at step {stage.step} of {stage.steps}")
    if stage.step == 0:
        after(0)
    start, first, losses = time.monotonic(), stage.step, list[float]()

    def each(step: int, loss: float) -> None:
        losses.append(loss)
        after(step)
        if step % LOG_EVERY and step != stage.steps:
            return
        spent = time.monotonic() - start
        left = spent / (step - first) * (stage.steps - step)
        mean = float(np.mean(losses))
        losses.clear()
        setting.say(f"{title}: step {step} of {stage.steps}, loss {mean:.4f}, {left / 60:.0f} min left")
        line = {"step": step, "loss": round(mean, 5), "seconds": round(spent, 1)}
        with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    folder.mkdir(parents=True, exist_ok=True)
    stage.run(state, each)
    return time.monotonic() - start


def _pretrained(name: NetworkName, setting: Setting, targets: NDArray[np.float32]) -> Examined:
    """The network with its pretrained weights; pretrains it where that is not done."""
    keras.utils.set_random_seed(setting.plan.seed)
    network = setting.build(name, setting.plan, setting.imagenet)
    folder = setting.out / f"{name}-pretrained"
    stage = Pretraining(network, setting.plan, setting.faces.rest, targets)
    _learn(stage, folder, f"{TITLES[name]}, pretraining", setting, lambda step: None)
    examined = Examined(network, setting)
    _record(f"{name}-pretrained", examined, setting, stage.steps * setting.plan.batch)
    return examined


def _record(key: str, examined: Examined, setting: Setting, faces: int) -> None:
    """Measure a network and write `result.json`, if it is not there."""
    path = setting.out / key / "result.json"
    if path.exists():
        return
    result = {
        "name": row_title(key),
        "parameters": int(examined.network.count_params()),
        "faces": faces,
        "figures": figures(examined.people(), setting.faces.closest),
    }
    write_whole(path, json.dumps(result, indent=1) + "\n")


def _experiment(name: NetworkName, loss: LossName, examined: Examined, setting: Setting) -> None:
    key, plan, people = f"{name}-{loss}", setting.plan, setting.faces.people
    folder = setting.out / key
    train = np.flatnonzero(np.array(people.splits) == "train")
    labels = np.unique(np.array(people.people), return_inverse=True)[1].astype(np.intp)
    stage = STAGES[loss](examined.network, plan, people.pictures[train], labels[train])
    moments = plan.snapshot_steps(stage.steps)

    def keep(step: int) -> None:
        if step in moments:
            seen = Snapshot(examined.people(), step * plan.batch, row_title(key))
            save_snapshot(folder / "snapshots", step, seen)

    _learn(stage, folder, row_title(key), setting, keep)
    _record(key, examined, setting, stage.steps * plan.batch * (2 if loss == "binary" else 1))


def run_experiments(
    setting: Setting,
    wanted: Sequence[tuple[NetworkName, LossName]] = EXPERIMENTS,
    *,
    resume: bool = False,
    table: Path | None = None,
) -> dict[str, Any]:
    """Run those of the six experiments that are not done, and tabulate what is.

    Args:
        setting: faces, plan, folder.
        wanted: (network, loss) pairs.
        resume: go on with the run in the folder.
        table: `TABLE.json` and `TABLE.md` are written as well as the two in the folder.

    Returns:
        What `experiments.json` holds.

    Raises:
        InputError: settings or states that do not fit.
        OutputError: something cannot be written.
    """
    cv2.setNumThreads(1)
    targets = prepare(setting, resume=resume)
    reference = setting.out / "teacher" / "result.json"
    if not reference.exists():
        people = setting.faces.people
        seen = EmbeddedPeople(setting.teacher.embed(people.centre()), people.people, people.splits)
        teacher = {"name": setting.teacher.name, "figures": figures(seen, setting.faces.closest)}
        write_whole(reference, json.dumps(teacher, indent=1) + "\n")
    for name in NETWORKS:
        losses = [loss for loss in LOSSES if (name, loss) in wanted]
        todo = [loss for loss in losses if not (setting.out / f"{name}-{loss}" / "result.json").exists()]
        if not todo:
            continue
        examined = _pretrained(name, setting, targets)
        weights = checkpoint.values(examined.network.variables)
        for loss in todo:
            checkpoint.assign(examined.network.variables, weights)
            _experiment(name, loss, examined, setting)
            tabulate(setting, table)
        del examined, weights
        keras.utils.clear_session(free_memory=True)
    return tabulate(setting, table)


def how_it_was_done(setting: Setting) -> list[str]:
    """What has to be known to read the table, a paragraph each."""
    plan, faces = setting.plan, setting.faces
    splits = [faces.people.splits.count(s) for s in ("train", "dev", "test")]
    trained = splits[0]
    pairs, triplets = plan.steps("binary", trained), plan.steps("triplet", trained)
    normal = {
        "batch": "with batch normalisation in place of biases and response normalisation",
        "local": "as printed, with biases and response normalisation",
    }[plan.normalisation]
    imagenet = f"from ImageNet weights ({plan.imagenet[:12]}…)" if plan.imagenet else "from scratch"
    return [
        f"Shares in %, in brackets 95 % bootstrap intervals over photos. {len(set(faces.people.people))} people, "
        f"{trained} photos to learn from and enrol with, {splits[1]} dev, {splits[2]} test. Rank-1: the nearest medoid "
        "of the train photos, test photos named. Confused inside the closest trio "
        f"({', '.join(faces.closest)}): share of their test photos that get the name of another of the three. "
        "Verification: mean of same-person pairs accepted and different-person pairs refused among test photos, at the "
        "threshold that is best on dev pairs. Triplets in order: of uniformly drawn test triplets. Nothing was chosen "
        "on the test photos.",
        f"Faces of {plan.side} px (the papers: 220, 224, 299); the networks are the real ones, NN1 and NN2 {normal}; "
        f"InceptionV3 {imagenet}. All embeddings are 128 numbers of unit length.",
        f"Pretraining, the same for all: {plan.pretrain_steps} batches of {plan.batch} faces of the {len(faces.rest)} "
        "of everybody else in the same collection, without names: the network learns to answer as the embedder "
        f"{setting.teacher.name} does (1 − cosine, and {plan.relation_weight:g} × the divergence of whom a face "
        f"resembles), Adam at {plan.pretrain_rate:g}. The row of that embedder is what there was to be learned "
        "from, as it was then.",
        f"Experiments: SGD, momentum {plan.momentum:g}, peak rate {plan.rate:g}, batches of {plan.batch}. Triplet: "
        f"{triplets} batches of uniformly drawn pairs of one person, margin {plan.margin:g} (squared distance), "
        f"semi-hard negatives mined in the batch by one pass. Binary: {pairs} batches of pairs, half of one person, "
        f"each kind drawn uniformly; so many pairs as {100 * plan.pairs_share:g} % of all there are.",
    ]


def tabulate(setting: Setting, table: Path | None = None) -> dict[str, Any]:
    """Write `experiments.json` and `.md` from the results there are, and give what the former holds."""
    rows: dict[str, Any] = {}
    for key in ("teacher", *order()):
        path = setting.out / key / "result.json"
        if path.exists():
            try:
                result = json.loads(path.read_text("utf-8"))
            except ValueError as error:
                raise InputError(f"{path} is damaged ({error}); delete it, it will be made again") from error
            rows[result["name"] if key == "teacher" else key] = result
    how = how_it_was_done(setting)
    record = {"plan": setting.plan.to_dict(), "how": how, "rows": rows}
    for base in (setting.out / "experiments", *([table] if table else [])):
        write_whole(base.with_name(base.name + ".json"), json.dumps(record, indent=1) + "\n")
        write_whole(base.with_name(base.name + ".md"), markdown(rows, how))
    return record


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network's share of the table takes, in CPU time: what else runs on the machine changes it little."""

    network: NetworkName
    parameters: int
    pretrain_step: float
    """CPU-seconds."""
    triplet_step: float
    binary_step: float
    minutes: float
    """CPU-minutes of its pretraining and both experiments."""


def measure_cost(setting: Setting, name: NetworkName) -> Cost:
    """Time one step of each stage (after one that is not counted) and reckon what the whole takes."""
    people, plan = setting.faces.people, setting.plan
    train = np.flatnonzero(np.array(people.splits) == "train")
    labels = np.unique(np.array(people.people), return_inverse=True)[1].astype(np.intp)[train]
    network = setting.build(name, plan, setting.imagenet)
    targets = np.zeros((len(setting.faces.rest), network.output.shape[-1]), np.float32)
    targets[:, 0] = 1
    stages: list[Stage] = [
        Pretraining(network, plan, setting.faces.rest, targets),
        *(STAGES[loss](network, plan, people.pictures[train], labels) for loss in LOSSES),
    ]
    seconds = []
    for stage in stages:
        stage.run_step()
        start = time.process_time()
        stage.run_step()
        seconds.append(time.process_time() - start)
    minutes = sum(s * stage.steps for s, stage in zip(seconds, stages, strict=True)) / 60
    parameters = int(network.count_params())
    keras.utils.clear_session(free_memory=True)
    return Cost(name, parameters, seconds[0], seconds[1], seconds[2], minutes)
