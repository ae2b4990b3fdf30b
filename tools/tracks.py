"""`iznet tracks …`: what can be done with a record."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.wording import count
from tools.options import FILE, json_option

if TYPE_CHECKING:
    from stream.summary import Overview

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
SHOWN_PAIRS = 12
"""Rows of the table of who is seen together."""
_WHO = re.compile(r"\s*(?P<stranger>unknown\s+)?(?P<number>\d{1,18})\s*", re.IGNORECASE)
"""A track, or an unknown person as records number them."""


@click.group()
def tracks() -> None:
    """Convert, sum up, show and correct records (NAME.tracks.jsonl)."""


@tracks.command()
@click.argument("record", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@overwrite_option
@json_option
def convert(record: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    """Write a record in another format; the ending of OUT says which.

    \b
    .json          one document             .csv .parquet   tables, a row a face
    .txt           MOT Challenge            .coco.json      COCO for video
    .vtt           WebVTT chapters          .metadata.vtt   WebVTT with JSON for web pages
    .ass           boxes as subtitles       .fcpxml         Final Cut Pro markers
    .edl           CMX3600 with locators    .otio           OpenTimelineIO

    Names are the final verdicts. Times in .fcpxml, .edl and .otio count from the video's first frame.
    """
    from stream.export import convert as write

    written = write(record, output, overwrite=overwrite)
    click.echo(json.dumps({"output": str(written)}) if as_json else f"Written  {written}")


@tracks.command()
@click.argument("record", metavar="IN", type=FILE)
@click.option("--plot", type=FILE, default=None, metavar="FILE", help="Draw a timeline: .png or .html.")
@overwrite_option
@json_option
def summary(record: Path, plot: Path | None, overwrite: bool, as_json: bool) -> None:
    """Screen time of everybody, when they are first and last seen, and who is seen with whom.

    An appearance lasts as long as somebody is on screen without a break; a take is what of it lies in one shot.
    """
    from engine.output_file import check_output
    from stream.summary import overview
    from stream.timeline_plot import check_ending
    from stream.timeline_plot import plot as draw
    from stream.tracks import read

    if plot is not None:
        check_ending(plot)
        check_output(plot, overwrite, [record])
    whole = read(record)
    found = overview(whole)
    if plot is not None:
        draw(whole, plot, overwrite=overwrite)
    if as_json:
        drawn = {"plot": str(plot)} if plot is not None else {}
        click.echo(json.dumps(asdict(found) | drawn, ensure_ascii=False))
        return
    _show(found)
    if plot is not None:
        click.echo(f"Timeline  {plot}")


def _show(found: Overview) -> None:
    """Tables for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from stream.wording import clock, length, share

    console = Console()
    console.print(
        f"{count(found.frames, 'frame')}, {clock(found.seconds)}, {count(found.shots, 'shot')}, "
        f"{count(found.unknown_tracks, 'unknown track')}",
        highlight=False,
    )
    if not found.people:
        console.print("Nobody was named.")
    if not found.people and not found.strangers:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # so that 80 columns hold it
    table.add_column("person", overflow="fold")
    for heading in ("on screen", "share", "first", "last", "appearances", "longest take"):
        table.add_column(heading, justify="right")  # they wrap too, or no name would be left in a narrow window
    strangers, more = found.shown()
    for person in (*found.people, *strangers):
        start, end = person.longest
        table.add_row(
            Text(person.name, "" if person in found.people else "dim"),
            length(person.seconds),
            share(person.share),
            clock(person.first),
            clock(person.last),
            str(len(person.appearances)),
            f"{length(end - start)} at {clock(start)}",
        )
    console.print(table)
    if more:
        console.print(f"and {len(more)} more unknown; --json has them all", highlight=False)
    if found.together:
        pairs = Table(box=None, pad_edge=False)
        pairs.add_column("together")
        pairs.add_column("on screen", justify="right")
        for pair in found.together[:SHOWN_PAIRS]:
            pairs.add_row(Text(" and ".join(pair.names)), length(pair.seconds))
        console.print()
        console.print(pairs)
        if len(found.together) > SHOWN_PAIRS:
            console.print(
                f"and {count(len(found.together) - SHOWN_PAIRS, 'more pair')}; --json has them all", highlight=False
            )


@tracks.command()
@click.argument("record", metavar="IN", type=FILE)
@click.argument("names", metavar="TRACK=NAME …", nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, default=None, help="Where the corrected record goes. Default: in place.")
@click.option("--new", is_flag=True, help="Allow names that neither the gallery nor the record holds.")
@overwrite_option
@json_option
def rename(
    record: Path, names: tuple[str, ...], output: Path | None, new: bool, overwrite: bool, as_json: bool
) -> None:
    """Correct who tracks are: `12=Yuri 15=unknown`, or all tracks of an unknown person: `"unknown 2=Karl"`.

    Changes the frame lines, the verdicts and the summary. In place, the record as it was before its first correction
    is kept as IN.bak. `iznet render` draws the corrected record.
    """
    from stream.renaming import rename as correct

    tracks, strangers = _parsed(names)
    done = correct(record, tracks, output, strangers=strangers, new=new, overwrite=overwrite)
    if as_json:
        result = {
            "record": str(done.record),
            "backup": None if done.backup is None else str(done.backup),
            "changed": {str(track): {"was": was, "is": now} for track, (was, now) in done.changed.items()},
        }
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    for track, (was, now) in done.changed.items():
        click.echo(f"Track {track}: {was or 'unknown'} is now {now or 'unknown'}")
    click.echo(f"Record  {done.record}")
    if done.backup is not None:
        click.echo(f"As it was  {done.backup}")


def _parsed(words: tuple[str, ...]) -> tuple[dict[int, str | None], dict[int, str | None]]:
    """`12=Yuri` names a track, `unknown 2=Karl` an unknown person: the names of both, where `unknown` stands for
    nobody."""
    from engine.errors import UsageError

    names: dict[int, str | None] = {}
    strangers: dict[int, str | None] = {}
    for word in words:
        given, equals, name = word.partition("=")
        who = _WHO.fullmatch(given)
        if not equals or who is None or not name.strip():
            raise UsageError(f"{word!r} is not TRACK=NAME, such as 12=Yuri, 15=unknown or 'unknown 2=Karl'")
        parsed, what = (strangers, "unknown") if who["stranger"] else (names, "track")
        number = int(who["number"])
        if number in parsed:
            raise UsageError(f"{what} {number} is named twice")
        parsed[number] = None if name.strip().casefold() == "unknown" else name.strip()
    return names, strangers


@tracks.command()
@click.argument("record", metavar="IN", type=FILE)
@click.argument("video", metavar="VIDEO", type=FILE)
@click.option("-o", "--output", type=FILE, default=None, help="Default: NAME.sheet.png beside the record.")
@overwrite_option
@json_option
def sheet(record: Path, video: Path, output: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write a contact sheet: a row of faces for everybody the record found in VIDEO."""
    from stream.sheet import contact_sheet

    target = output or record.with_name(f"{record.name.partition('.tracks.')[0]}.sheet.png")
    written = contact_sheet(video, record, target, overwrite=overwrite)
    click.echo(json.dumps({"output": str(written)}) if as_json else f"Sheet  {written}")
