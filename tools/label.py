"""`iznet label`: the same video or photo back, with every known face boxed and named, and a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream.encoding import ENCODERS
from tools.options import FILE, EngineOptions, engine_options, json_option
from tools.progress import FrameProgress
from tools.wording import result_dict, result_lines

if TYPE_CHECKING:
    from engine.gallery import Gallery
    from stream import LabelResult
    from stream.styles import Unknown


@click.command()
@click.argument("source", metavar="VIDEO|PHOTO", type=FILE)
@click.option("-g", "--gallery", type=FILE, default=None, help="Whom to name, made by `iznet enroll`.")
@click.option("-o", "--output", type=FILE, default=None, help="Default: NAME.labelled beside the input.")
@click.option("--tracks", type=FILE, default=None, help="Where the record goes. Default: beside the output.")
@click.option("--no-video", is_flag=True, help="Write the record only.")
@click.option("--encoder", type=click.Choice(ENCODERS), default="auto", show_default=True)
@click.option("--preset", default=None, help="The encoder's own word, for example veryfast or slow.")
@click.option("--crf", type=float, default=None, help="Quality: smaller is better and larger.")
@click.option("--deinterlace", is_flag=True, help="Interlaced video in, progressive video out.")
@click.option(
    "--unknown",
    type=click.Choice(["none", "box"]),
    default=None,
    help="What to draw for people nobody knows. Default: none with a gallery, a grey box without.",
)
@click.option(
    "--lookahead",
    type=click.FloatRange(0, 60),
    default=2.0,
    show_default=True,
    help="Seconds a name may take to be decided before the first frame of a face is drawn.",
)
@click.option(
    "--omit", type=int, multiple=True, metavar="NUMBER", help="Leave this track of the source out; may be repeated."
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@engine_options
@json_option
def label(
    source: Path,
    gallery: Path | None,
    output: Path | None,
    tracks: Path | None,
    no_video: bool,
    encoder: str,
    preset: str | None,
    crf: float | None,
    deinterlace: bool,
    unknown: Unknown | None,
    lookahead: float,
    omit: tuple[int, ...],
    overwrite: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Label the known faces of a video or photo.

    Writes the same video with every known face boxed in red and named, and beside it a record of who was where in
    every frame (NAME.tracks.jsonl). Sound, subtitles, chapters, timing and colour stay as they are. Without -g
    nobody is known: every face gets a grey box.
    """
    from engine.gallery import Gallery
    from stream import label_video
    from stream.encoding import EncoderSettings
    from stream.photo import is_photo, label_photo

    if unknown is None:
        unknown = "box" if gallery is None else "none"
    photo = is_photo(source)
    detector = engine.open_detector()
    embedder = engine.open_embedder() if gallery is not None else None
    people: Gallery | None = Gallery.load(gallery, embedder) if gallery is not None else None
    if not as_json:
        click.echo(f"Networks: {engine.explain()}", err=True)
        if people is None:
            click.echo("No gallery (-g), so nobody is known: every face gets a grey box and no name.", err=True)
    result: LabelResult
    if photo:
        result = label_photo(
            source,
            output,
            detector=detector,
            embedder=embedder,
            gallery=people,
            tracks=tracks,
            picture=not no_video,
            overwrite=overwrite,
            unknown=unknown,
        )
    else:
        with FrameProgress(source.name, quiet=as_json) as progress:
            result = label_video(
                source,
                output,
                gallery=people,
                detector=detector,
                embedder=embedder,
                tracks=tracks,
                video=not no_video,
                encoder=EncoderSettings(encoder, preset, crf),
                overwrite=overwrite,
                progress=progress,
                deinterlace=deinterlace,
                lookahead=lookahead,
                unknown=unknown,
                omit=omit,
            )
    if as_json:
        click.echo(json.dumps(result_dict(result), ensure_ascii=False))
    else:
        click.echo("\n".join(result_lines(result)))
