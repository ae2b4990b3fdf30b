"""What an embedder's figures are, beside those of others, as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from engine.embedder import Embedder
from train.data.faces import read_pairs
from train.embedder_data import DEV, GROUP, check_measurable, prepare
from train.embedder_eval import Embed, Figure, all_figures
from train.experiments_networks import finished_networks
from train.teachers import Teachers

Rows = dict[str, list[Figure]]
"""By the network's name."""


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

    def contenders() -> Iterator[tuple[str, Embed]]:
        student = Embedder.open(network)
        yield student.name, student.embed
        yield f"{student.name}, mirrored too", partial(student.embed, mirrored=True)
        if teachers is not None:
            yield "both teachers", Teachers(teachers)
        if experiments is not None:
            yield from finished_networks(experiments)

    rows: Rows = {}
    for name, embed in contenders():
        rows[name] = all_figures(embed, split.dev, split.group_test, lfw)
        say(f"{name}: measured")
    return rows


def table(rows: Rows) -> str:
    """Markdown: a line for each network, a column for each figure, 95 % bootstrap intervals in brackets."""
    figures = next(iter(rows.values()))
    lines = [
        "| % | " + " | ".join(f.name for f in figures) + " |",
        "|---" + "|---:" * len(figures) + "|",
        "| *measured on* | " + " | ".join(str(f.count) for f in figures) + " |",
    ]
    for name, measured in rows.items():
        cells = [f"{100 * f.value:.2f} [{100 * f.low:.1f}, {100 * f.high:.1f}]" for f in measured]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(rows: Rows) -> str:
    """The table with what has to be known to read it."""
    return f"""# The embedder

{table(rows)}
In brackets 95 % bootstrap intervals. *Mirrored too* is how photos are looked at, those of a gallery and those to be
labelled: each face a second time, mirrored. What a column means stands in the
[model card](../engine/models/embedder.card.md). The networks of the [six experiments](experiments.md) saw few faces for
a short time; their figures say how far that gets. Made by `iznet train eval-embedder --data FOLDER --teachers FOLDER
--experiments FOLDER --write benchmarks`, which leaves the raw figures in `embedder.json`.
"""
