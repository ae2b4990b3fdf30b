"""`iznet label`: the same video or photo back, with every known face boxed and named, and a record."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.lazy import importing
from tools.copy_options import ENCODING, OF_VIDEOS, decoder_option, encoder_options, refuse, style_options
from tools.options import FILE, EngineOptions, Number, engine_options, json_option
from tools.progress import FrameProgress
from tools.wording import nobody_known, result_dict, result_lines

if TYPE_CHECKING:
    from engine.detector import Detector
    from stream import LabelResult
    from stream.styles import Unknown


@click.command()
@click.argument("source", metavar="VIDEO|PHOTO", type=FILE)
@click.option("-g", "--gallery", type=FILE, default=None, help="Whom to name, made by `iznet enroll`.")
@click.option("-o", "--output", type=FILE, default=None, help="Default: NAME.labelled beside the input.")
@click.option("--tracks", type=FILE, default=None, help="Where the record goes. Default: beside the output.")
@click.option("--no-video", is_flag=True, help="Write the record only.")
@style_options
@encoder_options
@decoder_option
@click.option(
    "--lookahead",
    type=Number(0, 60),
    default=2.0,
    show_default=True,
    help="Seconds a name may take to be decided before the first frame of a face is drawn.",
)
@click.option(
    "--two-pass",
    is_flag=True,
    help="Analyse the whole video first and draw the final verdicts; slower by one decoding. Hiding always does.",
)
@click.option(
    "--every-frame",
    is_flag=True,
    help="Look for faces on every frame. Otherwise the motion of the faces decides; in between they are interpolated.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@engine_options
@json_option
@click.pass_context
def label(
    context: click.Context,
    source: Path,
    gallery: Path | None,
    output: Path | None,
    tracks: Path | None,
    no_video: bool,
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
    lookahead: float,
    two_pass: bool,
    every_frame: bool,
    overwrite: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Label the known faces of a video or photo.

    Writes the same video with every known face boxed in red and named, and beside it a record of who was where in
    every frame (NAME.tracks.jsonl). Sound, subtitles, chapters, timing and colour stay as they are. Without -g
    nobody is known: every face gets a grey box.
    """
    with importing():
        from stream import label_video
        from stream.encoding import EncoderSettings
        from stream.filekind import is_photo
        from stream.styles import Style, usual_unknown

    style = Style.parse(styles)
    if style.marks == "none":
        refuse(context, ("unknown",), "with a style that draws no marks")
    unknown = unknown or usual_unknown(gallery)
    photo = is_photo(source)
    if photo:
        refuse(context, OF_VIDEOS, "for a photo")
    if no_video:
        refuse(context, (*ENCODING, "styles", "unknown", "soft", "two_pass"), "with --no-video")
    if soft:
        refuse(context, (*ENCODING, "two_pass"), "with --soft, which encodes nothing")

    def detector() -> Detector:
        opened = engine.open_detector(video=not photo, quiet=as_json)
        if gallery is None and not as_json:
            click.echo(nobody_known(style, unknown, drawn=not no_video), err=True)
        return opened

    embedder = partial(engine.open_embedder, video=not photo)
    result: LabelResult
    if photo:
        from stream.photo import label_photo

        result = label_photo(
            source,
            output,
            detector=detector,
            embedder=embedder,
            gallery=gallery,
            tracks=tracks,
            picture=not no_video,
            overwrite=overwrite,
            unknown=unknown,
            style=style,
        )
    else:
        # A run that is gone on with may have its first pass behind it.
        twice = (two_pass or style.hide is not None) and not (no_video or soft or resume)
        with FrameProgress(source.name, quiet=as_json, passes=2 if twice else 1) as progress:
            result = label_video(
                source,
                output,
                gallery=gallery,
                detector=detector,
                embedder=embedder,
                tracks=tracks,
                video=not no_video,
                encoder=EncoderSettings(encoder, preset, crf),
                decoder=decoder,
                overwrite=overwrite,
                progress=progress,
                deinterlace=deinterlace,
                lookahead=lookahead,
                unknown=unknown,
                omit=omit,
                resume=resume,
                style=style,
                soft=soft,
                two_pass=two_pass,
                every_frame=every_frame,
            )
    if as_json:
        click.echo(json.dumps(result_dict(result), ensure_ascii=False))
    else:
        click.echo("\n".join(result_lines(result)))
