"""`iznet analyse`: what an embedder makes of a set of people, as one HTML page and JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.errors import InputError, MissingError, UsageError
from engine.wording import install
from tools.options import FILE, EngineOptions, Number, engine_options, json_option
from tools.train import SEED

if TYPE_CHECKING:
    from train.analysis.source import Loaded

NEEDED = ("matplotlib", "sklearn")


@click.command()
@click.argument("source", metavar="[SOURCE]", type=FILE, required=False)
@click.option("-o", "--output", type=FILE, required=True, help="The report, NAME.html; NAME.json is written beside it.")
@click.option("--overwrite", is_flag=True, help="Replace the report if it exists.")
@click.option("--table", type=FILE, default=None, help="Of an archive, the photos in this CSV: person, file, split.")
@click.option("--set", "sets", multiple=True, help="Of an archive, only this collection; may be repeated.")
@click.option("--split", "splits", multiple=True, help="Only this split; may be repeated.")
@click.option("--snapshots", type=FILE, default=None, help="Folder of snapshots of a training: a sequence of plots.")
@click.option("--trio", default=None, metavar="A,B,C", help="Look-alikes; by default the three that are closest.")
@click.option("--photos-each", type=click.IntRange(1), default=10, show_default=True, help="Enrolled of everybody.")
@click.option("--draws", type=click.IntRange(1), default=20, show_default=True, help="Of the photos to enrol.")
@click.option("--perplexity", type=Number(1), default=150, show_default=True, help="Of t-SNE.")
@click.option("--iterations", type=click.IntRange(250), default=5000, show_default=True, help="Of t-SNE, at most.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@engine_options
@json_option
def analyse(
    source: Path | None,
    output: Path,
    overwrite: bool,
    table: Path | None,
    sets: tuple[str, ...],
    splits: tuple[str, ...],
    snapshots: Path | None,
    trio: str | None,
    photos_each: int,
    draws: int,
    perplexity: float,
    iterations: int,
    seed: int,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Measure an embedder on people and draw what it makes of them.

    SOURCE is a folder with one folder of photos for each person, or an archive (.zip) of aligned crops with its table
    people.csv. Where there is a train split it enrols people and the rest is named; else photos are drawn to enrol.
    Without SOURCE the last of --snapshots is analysed.
    """
    require_libraries()
    from engine.output_file import check_output
    from train.analysis.analyse import Settings, pictures, to_dict
    from train.analysis.analyse import analyse as measure
    from train.analysis.report import html
    from train.analysis.source import find_group
    from train.output import write_whole
    from train.snapshots import read_snapshots

    if source is None and snapshots is None:
        raise UsageError("nothing to analyse: name a folder of people, an archive, or --snapshots")
    if output.suffix.lower() != ".html":
        raise UsageError(f"--output: {output} must end in .html")
    beside = output.with_suffix(".json")
    for target in (output, beside):
        check_output(target, overwrite, [read for read in (source, table) if read is not None])

    def say(line: str) -> None:
        if not as_json:
            click.echo(line, err=True)

    kept = read_snapshots(snapshots) if snapshots is not None else []
    if source is None:
        if table is not None or sets or splits:
            raise UsageError("--table, --set and --split choose from an archive; name it")
        people, name, embedder = kept[-1].people, kept[-1].title, "the network in training"
        notes: tuple[str, ...] = ()
    else:
        loaded = load(source, engine, table, sets, splits, as_json)
        people, embedder, notes, name = loaded.people, loaded.embedder, loaded.notes, source.name
        name += "".join(f", {part}" for part in ([table.name] if table else []) + [*sets, *splits])
    result = measure(
        people,
        name,
        embedder,
        Settings(photos_each, draws, perplexity, iterations, seed),
        group=None if trio is None else find_group(people, trio),
        snapshots=kept,
        notes=notes,
        say=say,
    )
    record = to_dict(result)
    say("drawing")
    write_whole(output, html(result, pictures(result)))
    write_whole(beside, json.dumps(record, ensure_ascii=False) + "\n")
    if as_json:
        click.echo(json.dumps({"report": str(output), **record}, ensure_ascii=False))
        return
    rank1 = ", ".join(f"{m} {100 * n.rank1.value:.1f} %" for m, n in result.naming.items())
    tar = ", ".join(f"{100 * r.value:.1f} % at FAR {far:g}" for far, r in result.verification.tar.items())
    click.echo(f"{len(people.people)} photos of {len(people.names)} people\nrank-1: {rank1}\nTAR: {tar}")
    for note in result.notes:
        click.echo(f"Note: {note}")
    click.echo(f"Report: {output}, {beside}")


def load(
    source: Path,
    engine: EngineOptions,
    table: Path | None,
    sets: tuple[str, ...],
    splits: tuple[str, ...],
    as_json: bool,
) -> Loaded:
    """The people at `source`."""
    from tools.enroll import PhotoProgress
    from train.analysis.source import from_archive, from_folder

    if source.is_dir():
        if table is not None or sets or splits:
            raise UsageError(f"--table, --set and --split choose from an archive; {source} is a folder")
        if as_json:
            return from_folder(source, engine.open_detector, engine.open_embedder)
        with PhotoProgress() as progress:
            return from_folder(source, engine.open_detector, engine.open_embedder, progress)
    if not source.exists():
        raise InputError(f"{source} is not there; give a folder with one of photos for each person, or an archive")
    return from_archive(source, engine.open_embedder, table, sets, splits)


def require_libraries() -> None:
    """Raise `MissingError` where a library that drawing needs is not installed."""
    import importlib.util

    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingError(f"an analysis needs {', '.join(absent)}; install with: {install('train')}")
