"""What an embedder's figures are, beside those of others, as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.cohort import cohort_for
from engine.embedder import Embedder, unit
from engine.errors import InputError
from train.data.faces import Split, read_pairs
from train.embedder_data import DEV, GROUP, check_measurable, prepare
from train.embedder_eval import Embed, Figure, all_figures, all_group_figures
from train.experiments_networks import finished_networks
from train.members import Faces, train_members
from train.teachers import Teachers

Rows = dict[str, list[Figure]]
"""By the network's name."""
MIRRORED = "{}, mirrored too"
MEMBERS = "{}, after `train members`"


def evaluate(
    network: Path | None,
    data: Path,
    teachers: Path | None = None,
    experiments: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Rows:
    """All figures of the embedder at `network` (None: the shipped one), and of others.

    Args:
        network: an ONNX file.
        data: folder with the archives.
        teachers: their folder, to measure them beside it.
        experiments: folder of a run of the six experiments, to measure those that are done.
        say: where progress goes, a line at a time.

    Raises:
        InputError: a network or an archive is missing or damaged, or nothing could be measured on what it holds.
    """
    split, lfw = prepare(data), read_pairs(data / "lfw.zip")
    check_measurable(split.dev, f"{data}: {DEV}")
    check_measurable(split.group_test, f"{data}: {GROUP.format('test')}")
    student = Embedder.open(network)
    ways: dict[str, Embed] = {student.name: student.embed, MIRRORED.format(student.name): mirrored(student)}

    def contenders() -> Iterator[tuple[str, Embed]]:
        yield from ways.items()
        if teachers is not None:
            yield "both teachers", Teachers(teachers)
        if experiments is not None:
            yield from finished_networks(experiments)

    rows: Rows = {}
    for name, embed in contenders():
        rows[name] = all_figures(embed, split, lfw)
        say(f"{name}: measured")
    try:
        matrix = members_layer(student, split)
    except InputError as error:
        say(f"not measured after train members: {error}")
        return rows
    for name, embed in ways.items():
        rows[MEMBERS.format(name)] = all_group_figures(after(embed, matrix), split)
        say(f"{MEMBERS.format(name)}: measured")
    return rows


def mirrored(embedder: Embedder) -> Embed:
    """How photos are looked at."""
    return partial(embedder.embed, mirrored=True)


def after(embed: Embed, matrix: NDArray[np.float32]) -> Embed:
    """What `embed` answers once the layer `[D,D]` is behind it."""
    return lambda faces: unit(embed(faces) @ matrix)


def members_layer(embedder: Embedder, split: Split) -> NDArray[np.float32]:
    """What `iznet train members` learns of the group's train photos, `[D,D]`.

    Raises:
        InputError: too few photos, the embedder has no cohort, or it did not help.
    """
    cohort, why = cohort_for(embedder.name, embedder.sha256)
    if cohort is None:
        raise InputError(why)
    learn = split.learn
    named = [s != "celeb" and p != "" for s, p in zip(learn.sets, learn.people, strict=True)]
    photos = learn.select(np.array(named, np.bool_))
    result = train_members(Faces(photos.centre(), photos.people, photos.files), embedder, cohort)
    if not result.better:
        raise InputError("it did not help, so nothing would be kept")
    return result.matrix


def table(rows: Rows) -> str:
    """Markdown: a line for each network, a column for each figure, 95 % intervals in brackets."""
    columns: dict[str, int] = {}
    for figures in rows.values():
        for f in figures:
            columns.setdefault(f.name, f.count)
    lines = [
        "| % | " + " | ".join(columns) + " |",
        "|---" + "|---:" * len(columns) + "|",
        "| *measured on* | " + " | ".join(map(str, columns.values())) + " |",
    ]
    for name, measured in rows.items():
        cells = {f.name: f"{100 * f.value:.2f} [{100 * f.low:.1f}, {100 * f.high:.1f}]" for f in measured}
        lines.append(f"| {name} | " + " | ".join(cells.get(column, "–") for column in columns) + " |")
    return "\n".join(lines) + "\n"


def page(rows: Rows) -> str:
    """The table with what has to be known to read it."""
    return f"""# The embedder

{table(rows)}
In brackets 95 % bootstrap intervals, no narrower than Wilson's for as many shares. Thresholds at a false-accept rate
are chosen anew in every draw; where all photos are paired with each other, photos are drawn, since such pairs are not
independent. *Mirrored too* is how photos are looked at, those of a gallery and those to be labelled: each face a second
time, mirrored. *After `train members`*: once that has learned from other photos of that group. What a column means
stands in the
[model card](../engine/models/embedder.card.md). The networks of the [six experiments](experiments.md) saw few faces for
a short time; their figures say how far that gets. Made by `iznet train eval-embedder --data FOLDER --teachers FOLDER
--experiments FOLDER --write benchmarks`, which leaves the raw figures in `embedder.json`.
"""
