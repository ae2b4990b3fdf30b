"""`iznet gallery …`: look into a gallery, take people out, rename them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.wording import count, count_people
from tools.options import FILE, json_option

if TYPE_CHECKING:
    from engine.gallery import Gallery


@click.group()
def gallery() -> None:
    """Look into a gallery, take people out of it, rename them. To add people: iznet enroll --add."""


@gallery.command()
@click.argument("file", metavar="GALLERY", type=FILE)
@click.option("--html", "page", type=FILE, default=None, help="Write a page with faces and distances.")
@click.option("--photos", type=FILE, default=None, help="Folder the people were enrolled from, to show their faces.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it exists.")
@json_option
@click.pass_context
def show(
    context: click.Context, file: Path, page: Path | None, photos: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Who is in a gallery, how alike they are, and what its threshold is worth."""
    from engine.enrolment_report import describe, gallery_dict
    from engine.gallery import Gallery
    from tools.copy_options import refuse
    from tools.enroll import show_gallery

    if page is None:
        refuse(context, ("photos", "overwrite"), "without --html, which writes the page")
    known = Gallery.load(file)
    people = describe(known)
    faces = 0
    if page is not None:
        from engine.gallery_page import write_page

        faces = write_page(known, page, title=file.stem, photos=photos, overwrite=overwrite, made_from=[file])
    if as_json:
        result = {"gallery": str(file), "sha256": known.sha256} | gallery_dict(known, people)
        click.echo(json.dumps(result | ({"html": str(page), "faces": faces} if page else {}), ensure_ascii=False))
        return
    show_gallery(known, people)
    click.echo(f"{count_people(len(people))} in {file}")
    if page is not None:
        click.echo(f"Page with {count(faces, 'face')}: {page}")
        if not faces and photos is None:
            click.echo("No faces to show: name the folder of photos with --photos, or enrol with --thumbnails.")
        elif not faces:
            click.echo(
                f"No faces to show: {photos} does not hold the photos as they were enrolled, in people's folders."
            )


@gallery.command()
@click.argument("file", metavar="GALLERY", type=FILE)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def remove(file: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Take people out of a gallery: vectors, file names and thumbnails. The file is written anew without them."""
    from engine.gallery import Gallery
    from engine.gallery_edit import edit

    say_changed(Gallery.update(file, lambda known: edit(known, remove=names)), file, as_json)


@gallery.command()
@click.argument("file", metavar="GALLERY", type=FILE)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@json_option
def rename(file: Path, old: str, new: str, as_json: bool) -> None:
    """Give somebody in a gallery another name."""
    from engine.gallery import Gallery

    say_changed(Gallery.update(file, lambda known: known.renamed(old, new)), file, as_json)


def say_changed(known: Gallery, file: Path, as_json: bool) -> None:
    """Print who is in a gallery after a change."""
    from engine.enrolment_report import describe, gallery_dict, threshold_lines

    if as_json:
        result = {"gallery": str(file), "sha256": known.sha256} | gallery_dict(known, describe(known))
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    click.echo(f"{count_people(len(known.people))} in {file}: {', '.join(known.people)}")
    for line in threshold_lines(known):
        click.echo(line)
