"""`iznet enroll`: folders of photos in, a gallery of people out."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from tools.options import FILE, EngineOptions, engine_options, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from engine.enrolment import EnrolmentReport, Progress


@click.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The gallery to write, NAME.gallery.")
@click.option("--overwrite", is_flag=True, help="Replace the gallery if it exists.")
@engine_options
@json_option
def enroll(folder: Path, output: Path, overwrite: bool, engine: EngineOptions, as_json: bool) -> None:
    """Make a gallery of people from photos.

    DIR holds one folder for each person, named after them, with photos inside: a few are enough, of different days and
    angles. What cannot be used is skipped, saying why.
    """
    from engine.enrolment import enroll as make
    from engine.gallery import check_target

    check_target(output, overwrite)
    detector, embedder = engine.open_detector(), engine.open_embedder()
    if not as_json:
        click.echo(f"Networks: {engine.explain()}", err=True)
    with PhotoProgress() as progress:
        report = make(folder, detector, embedder, progress)
    report.gallery.save(output, overwrite)
    if as_json:
        result = {"gallery": str(output), "sha256": report.gallery.sha256} | report.to_dict()
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        show(report, output)


class PhotoProgress:
    """How far enrolment is: a bar on a terminal, a plain line for each person elsewhere; always on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._bar: Bar | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._task = self._bar.add_task("photos", total=None)
        self._person = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done, total=progress.total, description=progress.person)
        elif progress.person != self._person:
            click.echo(f"photo {progress.done} of {progress.total}: {progress.person}", err=True)
        self._person = progress.person


def show(report: EnrolmentReport, output: Path) -> None:
    """Print what became of the photos."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    for title, remarks in (("Skipped", report.skipped), ("Used, but look at it", report.notes)):
        for remark in remarks:
            click.echo(f"{title}: {remark.file}: {remark.reason}")
    console.print(table(report))
    click.echo(
        "Spread: median distance from the medoid to the person's other photos. "
        "Distances are Euclidean between unit vectors, 0…2."
    )
    for warning in report.warnings:
        click.echo(f"Warning: {warning}")
    people = len(report.people)
    click.echo(f"{people} {'person' if people == 1 else 'people'} in {output}")


def table(report: EnrolmentReport) -> Table:
    """One line a person."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    lines = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    lines.add_column("person", overflow="fold")
    lines.add_column("photos", justify="right")
    lines.add_column("medoid", overflow="fold")
    lines.add_column("spread", justify="right")
    lines.add_column("nearest person", overflow="fold")
    lines.add_column("distance", justify="right")
    for person in report.people:
        mark = "[bold red]too close[/] " if person.too_close else ""
        lines.add_row(
            escape(person.name),
            str(person.photos),
            escape(person.medoid),
            f"{person.spread:.2f}" if person.photos > 1 else "–",
            escape(person.nearest or "–"),
            f"{mark}{person.distance:.2f}" if person.distance is not None else "–",
        )
    return lines
