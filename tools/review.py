"""`iznet review`: a finished record beside its video, on a page where names are corrected."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.wording import count
from tools.copy_options import ENCODING, encoder_options, refuse, style_options
from tools.options import FILE, TOKEN, json_option
from tools.wording import capital, result_dict, text_of

if TYPE_CHECKING:
    from stream.pipeline import Progress
    from stream.result import LabelResult
    from stream.review.review import Review
    from stream.styles import Unknown


@click.command()
@click.argument("tracks", metavar="NAME.tracks.jsonl", type=FILE)
@click.option("--video", type=FILE, default=None, help="What the record was made of, if not where the record says.")
@click.option(
    "-g",
    "--gallery",
    type=FILE,
    default=None,
    help="Whose names are offered, besides those of the record; it can learn faces that you name.",
)
@click.option("--embedder", type=FILE, default=None, help="An embedder of your own (ONNX), if the gallery has one.")
@click.option(
    "--serve", default="8080", show_default=True, metavar="HOST:PORT", help="Where; a bare port means loopback."
)
@click.option(
    "--token",
    default=None,
    envvar=TOKEN,
    help="What the page asks for; needed for addresses that others reach, where one is made up if none is given. "
    "Better in the variable IZNET_TOKEN, since others on this computer can read command lines.",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    default=None,
    help="The copy that is drawn again. Default: NAME.labelled.mp4 beside the video.",
)
@style_options
@encoder_options
@json_option
@click.pass_context
def review(
    context: click.Context,
    tracks: Path,
    video: Path | None,
    gallery: Path | None,
    embedder: Path | None,
    serve: str,
    token: str | None,
    output: Path | None,
    styles: tuple[str, ...],
    unknown: Unknown | None,
    soft: bool,
    encoder: str,
    preset: str | None,
    crf: float | None,
    deinterlace: bool,
    omit: tuple[int, ...],
    resume: bool,
    as_json: bool,
) -> None:
    """Look through a record beside its video, correct names, and draw the copy again.

    Serves a page: play the video, click a wrong or missing name in the picture or in the list, and say who it is, for
    that track or for the person everywhere. The gallery learns the face where you say so. The record stays as it is
    until you save; what is not saved is kept beside it as NAME.tracks.jsonl.unsaved, and taken up when you review the
    record again. As it was before its first correction it is kept as NAME.tracks.jsonl.bak. The copy is drawn as `iznet
    render` does, in the style given here. Ctrl-C ends it.
    """
    from engine.embedder import Embedder
    from engine.gallery import Gallery
    from engine.output_file import check_output
    from stream.encoding import EncoderSettings
    from stream.label import video_output
    from stream.live.guard import Guard, Place
    from stream.live.serving import Server, bound
    from stream.render import render_video
    from stream.review.review import Review
    from stream.review.server import ReviewPage
    from stream.review.teaching import Teacher
    from stream.sink import container_of
    from stream.styles import Style

    style = Style.parse(styles)
    if style.marks == "none":
        refuse(context, ("unknown",), "with a style that draws no marks")
    if soft:
        refuse(context, ENCODING, "with --soft, which encodes nothing")
    if gallery is None:
        refuse(context, ("embedder",), "without --gallery")
    place = Place.parse(serve)
    guard = Guard.of(place, token)
    people = Gallery.load(gallery).people if gallery is not None else ()

    listening = bound(place)  # what is quickly told comes first
    teacher = partial(Teacher, gallery, partial(Embedder.open, embedder)) if gallery is not None else None
    opened = Review(tracks, video, people, teacher)
    with suppress(KeyboardInterrupt), opened:  # the usual end
        target = output or video_output(opened.video, soft=soft)
        container_of(target)
        check_output(target, True, [opened.video, tracks])

        def draw(resume: bool, overwrite: bool, progress: Progress) -> LabelResult:
            return render_video(
                opened.video,
                tracks,
                target,
                style=style,
                unknown=unknown,
                soft=soft,
                encoder=EncoderSettings(encoder, preset, crf),
                overwrite=overwrite,
                progress=progress,
                deinterlace=deinterlace,
                omit=omit,
                resume=resume,
            )

        opened.draws(target, draw, resume=resume)
        with Server(ReviewPage(opened, guard), place, listening) as server:
            click.echo(f"Page: {server.url}{guard.opened_with(token)}", err=True)
            if any(opened.taken_up):
                click.echo(f"{capital(opened.taken_up.words)}. Save or discard that on the page.", err=True)
            for note in opened.notes:
                click.echo(f"{capital(note)}.", err=True)
            while True:
                time.sleep(1)  # not for ever at once: on some systems that cannot be interrupted
    _tell(opened, as_json)


def _tell(review: Review, as_json: bool) -> None:
    """What became of it."""
    drawn = review.rendering
    if drawn is not None and drawn.bug is not None:
        raise drawn.bug
    if as_json:
        copy = result_dict(drawn.result) if drawn is not None and drawn.result is not None else None
        told = {
            "record": str(review.path),
            "corrected": review.corrected,
            "learned": review.learned,
            "unsaved": review.unsaved,
            "unlearned": review.unlearned,
            "kept": text_of(review.kept),
            "copy": copy,
        }
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(f"{count(review.corrected, 'track')} corrected in {review.path}", err=True)
    if review.learned:
        click.echo(f"{count(review.learned, 'look')} learned", err=True)
    left = f"kept in {review.kept} for the next review of it" if review.kept is not None else "gone"
    if review.unlearned:
        click.echo(f"{count(review.unlearned, 'look')} not saved in the gallery, and {left}", err=True)
    if review.unsaved:
        click.echo(f"{count(review.unsaved, 'correction')} not saved, and {left}", err=True)
    if drawn is not None:
        click.echo(drawn.words, err=True)  # which may begin with a file's name
