"""`iznet enroll`: folders of photos in, a gallery of people out; or an existing gallery changed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import click

from engine.errors import InputError, UsageError
from engine.wording import count_people
from tools.options import FILE, EngineOptions, Number, engine_options, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from engine.enrolment import Progress
    from engine.enrolment_report import EnrolmentReport, PersonReport
    from engine.gallery import Gallery
    from engine.prototypes import Method

_OF_PHOTOS = ("thumbnails", "device", "backend", "precision", "detector", "embedder", "size", "threads")
"""What has no meaning where people are only removed and renamed."""


@click.command()
@click.argument("folder", metavar="[DIR]", type=FILE, required=False)
@click.option("-o", "--output", type=FILE, default=None, help="The gallery to write, NAME.gallery.")
@click.option("--add", "existing", metavar="GALLERY", type=FILE, default=None, help="Add DIR's people to this gallery.")
@click.option(
    "--from",
    "record",
    metavar="RECORD",
    type=FILE,
    default=None,
    help="Take the photos from a video (or photo): its .tracks.jsonl.",
)
@click.option("--track", metavar="N", type=int, multiple=True, help="With --from: a track that is this person.")
@click.option("--stranger", metavar="N", type=int, default=None, help="With --from: `unknown N` of the record.")
@click.option("--as", "name", metavar="NAME", default=None, help="With --from: what the person is called.")
@click.option("--video", type=FILE, default=None, help="With --from: the video, if it is not where the record says.")
@click.option("--remove", metavar="NAME", multiple=True, help="Take somebody out of the gallery -o (or --add) names.")
@click.option("--rename", metavar="OLD=NEW", multiple=True, help="Give somebody in that gallery another name.")
@click.option(
    "--prototypes",
    type=click.Choice(["medoid", "centroid", "kmeans"]),
    default=None,
    help="What stands for a person: the most typical photo (default), the mean of all, the means of a few groups.",
)
@click.option(
    "--far",
    type=Number(0, 1, min_open=True, max_open=True),
    default=None,
    help="Share of strangers' faces that may be given a name, by default 0.01, at least 0.00001; the threshold is "
    "found for it.",
)
@click.option("--cohort", type=FILE, default=None, help="Strangers of your own embedder, see `iznet train cohort`.")
@click.option("--thumbnails", is_flag=True, help="Keep a small picture of every face in the gallery.")
@click.option("--overwrite", is_flag=True, help="Replace the gallery if it exists.")
@engine_options
@json_option
@click.pass_context
def enroll(
    context: click.Context,
    folder: Path | None,
    output: Path | None,
    existing: Path | None,
    record: Path | None,
    track: tuple[int, ...],
    stranger: int | None,
    name: str | None,
    video: Path | None,
    remove: tuple[str, ...],
    rename: tuple[str, ...],
    prototypes: str | None,
    far: float | None,
    cohort: Path | None,
    thumbnails: bool,
    overwrite: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Make a gallery of people from photos, or change one.

    DIR holds one folder for each person, named after them, with photos inside: a few are enough, of different days and
    angles. What cannot be used is skipped, saying why; photos that are probably of somebody else are left out.

    \b
      iznet enroll members/ -o izone.gallery
      iznet enroll --add izone.gallery more/
      iznet enroll -o izone.gallery --remove Yuri --rename Minjoo=Minju
      iznet enroll --add izone.gallery --from mv.tracks.jsonl --stranger 2 --as Yena
    """
    from engine.enrolment import Rules, add
    from engine.enrolment import enroll as make
    from engine.gallery import Gallery
    from engine.gallery_edit import changed, edit
    from engine.output_file import check_output
    from tools.copy_options import refuse
    from tools.gallery import say_changed

    _check_from(folder, record, track, stranger, name, video)
    target = _target(record or folder, output, existing, bool(remove or rename), bool(prototypes or cohort or far))
    method = cast("Method | None", prototypes)
    if folder is None and record is None:
        refuse(context, _OF_PHOTOS, "where no photos are looked at")
        edited = partial(edit, remove=remove, rename=rename, method=method, cohort=cohort, far=far)
        say_changed(Gallery.update(target, edited), target, as_json)
        return
    if existing is None:
        read = [path for path in (cohort, engine.detector, engine.embedder) if path is not None]
        check_output(target, overwrite, [*read, *(folder.glob("*/*") if folder is not None else ())])
        people: tuple[str, ...] = ()
    else:
        people = changed(Gallery.load(target), remove, rename).people  # fails before the work rather than after it
    if record is not None:
        person = _person(str(name), people)
        folder = context.with_resource(_photos(record, track, stranger, person, video, target))
    assert folder is not None
    rules = Rules(method, far, cohort)
    detector, embedder = partial(engine.open_detector, quiet=as_json), engine.open_embedder
    with PhotoProgress() as progress, _told_of(record or folder, folder):
        if existing is None:
            report = make(folder, detector, embedder, progress, rules=rules, thumbnails=thumbnails)
            report.gallery.save(target, overwrite)
        else:
            report = add(
                target,
                folder,
                detector,
                embedder,
                progress,
                rules=rules,
                thumbnails=thumbnails,
                first=lambda gallery: changed(gallery, remove, rename),
            )
    if as_json:
        result = {"gallery": str(target), "sha256": report.gallery.sha256} | report.to_dict()
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        show(report, target)


def _check_from(
    folder: Path | None,
    record: Path | None,
    track: tuple[int, ...],
    stranger: int | None,
    name: str | None,
    video: Path | None,
) -> None:
    """Raise `UsageError` for options of `--from` that do not go together, or without it."""
    if record is None:
        if track or stranger is not None or name is not None or video is not None:
            raise UsageError("--track, --stranger, --as and --video belong to --from RECORD")
        return
    if folder is not None:
        raise UsageError(f"the photos come from {folder} or from {record}; give one of the two")
    if name is None or not (bool(track) ^ (stranger is not None)):
        raise UsageError("--from RECORD needs --as NAME, and either --track N or --stranger N")


def _person(name: str, people: Sequence[str]) -> str:
    """What the person of `--as` is called, in a gallery of these `people`.

    Raises:
        UsageError: nobody can be called so here.
    """
    from engine.enrolment import names_a_folder
    from engine.names import asked_name, same_person

    person = asked_name(name)
    if not names_a_folder(person):
        raise UsageError(
            f"--as {name!r}: cannot be a folder's name, which it is while the photos are looked at; give another one, "
            "and --rename afterwards"
        )
    for other in people:
        if other != person and same_person(other, person):
            raise UsageError(f"--as {name!r}: {other!r} is in the gallery already; write it like that")
    return person


@contextmanager
def _photos(
    record: Path, track: tuple[int, ...], stranger: int | None, name: str, video: Path | None, target: Path
) -> Iterator[Path]:
    """A folder of one person's photos, cut from a video, while it is needed to make the gallery `target`."""
    from stream.teach import photos_of

    with tempfile.TemporaryDirectory() as place:
        person = Path(place) / name
        person.mkdir()
        photos_of(record, person, track=track, stranger=stranger, video=video, output=target)
        yield Path(place)


@contextmanager
def _told_of(source: Path, folder: Path) -> Iterator[None]:
    """Tell errors about the folder as errors about what its photos come from: it may be there for a while only."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(folder), str(source))) from error


def _target(
    folder: Path | None, output: Path | None, existing: Path | None, changes: bool, settings: bool = False
) -> Path:
    """The gallery that is meant: to be made, or to get other people or other `settings`.

    Raises:
        UsageError: none, two, or no photos to make it from.
    """
    if existing is not None and output is not None:
        raise UsageError("--add changes a gallery, -o names the one to write; give one of the two")
    target = existing or output
    if target is None:
        raise UsageError("say which gallery: -o NAME.gallery for a new one, --add NAME.gallery for one to add to")
    if folder is None and not changes and not settings:
        raise UsageError("name the folder of photos: iznet enroll PHOTOS -o NAME.gallery")
    if folder is not None and existing is None and changes:
        raise UsageError("--remove and --rename change a gallery that exists; with photos, name it with --add")
    return target


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
    for title, remarks in (("Skipped", report.skipped), ("Used, but look at it", report.notes)):
        for remark in remarks:
            click.echo(f"{title}: {remark.file}: {remark.reason}")
    show_gallery(report.gallery, report.people)
    for warning in report.warnings:
        click.echo(f"Warning: {warning}")
    click.echo(f"{count_people(len(report.people))} in {output}")


def show_gallery(gallery: Gallery, people: tuple[PersonReport, ...]) -> None:
    """Print a line a person, and what the threshold is worth."""
    from rich.console import Console

    from engine.enrolment_report import threshold_lines

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    console.print(table(people))
    click.echo(
        "Spread: median distance from the medoid to the person's other photos. "
        "Distances are Euclidean between unit vectors, 0…2."
    )
    several = any(person.prototypes > 1 for person in people)
    click.echo(f"Prototypes: {gallery.method}{', several for some people' if several else ''}.")
    for line in threshold_lines(gallery):
        click.echo(line)


def table(people: tuple[PersonReport, ...]) -> Table:
    """One line a person."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    lines = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    lines.add_column("person", overflow="fold")
    lines.add_column("photos", justify="right")
    lines.add_column("medoid", overflow="fold")
    lines.add_column("spread", justify="right")
    lines.add_column("named", justify="right")
    lines.add_column("nearest person", overflow="fold")
    lines.add_column("distance", justify="right")
    for person in people:
        mark = "[bold red]too close[/] " if person.too_close else ""
        kinds = f" ({person.prototypes})" if person.prototypes > 1 else ""
        lines.add_row(
            escape(person.name),
            str(person.photos) + kinds,
            escape(person.medoid),
            f"{person.spread:.2f}" if person.photos > 1 else "–",
            f"{100 * person.accept:.0f} %" if person.accept is not None else "–",
            escape(person.nearest or "–"),
            f"{mark}{person.distance:.2f}" if person.distance is not None else "–",
        )
    return lines
