"""`iznet render`: draw a record on its video again, without looking for anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools.copy_options import ENCODING, OF_VIDEOS, decoder_option, encoder_options, refuse, style_options
from tools.options import FILE, json_option
from tools.progress import FrameProgress
from tools.wording import result_dict, result_lines

if TYPE_CHECKING:
    from stream.styles import Unknown


@click.command()
@click.argument("video", metavar="VIDEO|PHOTO", type=FILE)
@click.argument("tracks", metavar="TRACKS", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The copy.")
@style_options
@encoder_options
@decoder_option
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@json_option
@click.pass_context
def render(
    context: click.Context,
    video: Path,
    tracks: Path,
    output: Path,
    styles: tuple[str, ...],
    unknown: Unknown | None,
    soft: bool,
    encoder: str,
    preset: str | None,
    crf: float | None,
    deinterlace: bool,
    omit: tuple[int, ...],
    resume: bool,
    decoder: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw the record TRACKS on the VIDEO it was made of.

    No network runs, so it is quick: correct a wrong name with `iznet tracks rename`, or choose another style, and
    render again. The names are the final verdicts on the tracks.
    """
    from stream.encoding import EncoderSettings
    from stream.filekind import is_photo
    from stream.photo import render_photo
    from stream.render import render_video
    from stream.styles import Style

    style = Style.parse(styles)
    if style.marks == "none":
        refuse(context, ("unknown",), "with a style that draws no marks")
    if is_photo(video):
        refuse(context, OF_VIDEOS, "for a photo")
        result = render_photo(video, tracks, output, style=style, unknown=unknown, overwrite=overwrite)
    else:
        if soft:
            refuse(context, (*ENCODING, "decoder"), "with --soft, which encodes nothing")
        with FrameProgress(video.name, quiet=as_json) as progress:
            result = render_video(
                video,
                tracks,
                output,
                style=style,
                unknown=unknown,
                soft=soft,
                encoder=EncoderSettings(encoder, preset, crf),
                decoder=decoder,
                overwrite=overwrite,
                progress=progress,
                deinterlace=deinterlace,
                omit=omit,
                resume=resume,
            )
    if as_json:
        click.echo(json.dumps(result_dict(result), ensure_ascii=False))
    else:
        click.echo("\n".join(result_lines(result)))
