"""`iznet bench [VIDEO]`: what labelling costs next to a plain transcode, and where the time goes."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from engine.errors import InputError, UsageError
from tools.copy_options import refuse
from tools.options import FILE, EngineOptions, Number, engine_options, json_option

LABEL = (sys.executable, "-m", "tools", "label")


@click.command("speed")
@click.argument("video", type=FILE, required=False)
@click.option("-g", "--gallery", type=FILE, default=None, help="Whom to name, made by `iznet enroll`.")
@click.option("--encoder", type=click.Choice(["x264", "x265", "svtav1"]), default="x264", show_default=True)
@click.option("--preset", default=None, help="The encoder's own word. Default: what `iznet label` takes.")
@click.option("--crf", type=Number(0), default=None, help="Quality: smaller is better and larger.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Turns; medians are reported.")
@click.option("--no-record", is_flag=True, help="Leave out decoding and the record alone, which saves time.")
@click.option("--compare", type=FILE, default=None, metavar="OLD.json", help="Say what changed since this result.")
@click.option("--plot", type=FILE, default=None, metavar="FILE.png", help="Draw where the time goes.")
@click.option("-o", "--output", type=FILE, default=None, metavar="FILE.json", help="Keep the result, for --compare.")
@click.option("--sweep", is_flag=True, help="Instead, vary batch, threads and how often faces are looked for.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@engine_options
@json_option
@click.pass_context
def speed(
    context: click.Context,
    video: Path | None,
    gallery: Path | None,
    encoder: str,
    preset: str | None,
    crf: float | None,
    repeats: int,
    no_record: bool,
    compare: Path | None,
    plot: Path | None,
    output: Path | None,
    sweep: bool,
    overwrite: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Measure VIDEO, or a clip of ten seconds that is made on the spot.

    Decoding, transcoding and labelling run as commands of their own and take turns, so that a busy neighbour hurts
    all alike; ratios are taken turn by turn, and medians reported. Nothing is kept but what -o and --plot name.
    """
    from engine.devices import choose
    from engine.output_file import check_apart, check_output, write_output
    from stream.bench import measure, report
    from stream.bench.plot import plot as draw
    from stream.bench.sweep import sweep as vary
    from stream.bench.sweep import text as swept
    from stream.encoders import KINDS

    for file in (plot, output):
        if file is not None:
            check_output(file, overwrite, [read for read in (video, gallery, compare) if read is not None])
    check_apart(*(file for file in (plot, output) if file is not None))
    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"{plot}: where the time goes is drawn as .png; choose this ending")
    if sweep:
        refuse(
            context, ("plot", "compare", "encoder", "preset", "crf", "no_record"), "with --sweep, which encodes nothing"
        )
    if as_json and compare is not None:
        raise UsageError("--compare says in words what changed; leave out --json, or compare the two files yourself")
    old = _earlier(compare) if compare is not None else None
    kind = KINDS[encoder]
    if choose(engine.device, engine.backend).device == "gpu":
        for network in (engine.open_detector(video=True), engine.open_embedder(video=True)):
            network.close()  # their engines are there before anything is timed
    with _material(video, gallery, engine) as (clip, people):
        plan = measure.Plan(
            *(clip.resolve(), LABEL, people and people.resolve()),
            encoder=encoder,
            preset=preset or str(kind.preset),
            crf=kind.crf if crf is None else crf,
            repeats=repeats,
            record=not no_record,
            engine=asdict(engine),
        )
        say = (lambda line: None) if as_json else (lambda line: click.echo(line, err=True))
        result = vary(plan, say) if sweep else measure.measure(plan, say)
    if output is not None:
        write_output(output, json.dumps(result, indent=2) + "\n", overwrite)
    if plot is not None:
        draw(result, plot, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(swept(result) if sweep else report.text(result))
    if old is not None:
        click.echo("\n" + report.compare(old, result))


@contextmanager
def _material(video: Path | None, gallery: Path | None, engine: EngineOptions) -> Iterator[tuple[Path, Path | None]]:
    """The video and gallery that were named, or those of the demo."""
    from engine.gallery import Gallery
    from stream.filekind import is_photo

    if video is not None:
        if is_photo(video):
            raise InputError(f"{video} is a photo, and takes no time of its own; name a video")
        if gallery is not None:
            Gallery.load(gallery)  # a misspelt name is told now, not by the first command that labels
        yield video, gallery
        return
    if gallery is not None:
        raise UsageError(f"-g {gallery}: nobody in it is on the clip that is made here; name a video too")
    from engine import enroll
    from tools import demo_clip

    with tempfile.TemporaryDirectory(prefix="iznet-bench-clip-") as name:
        files = demo_clip.build(Path(name))
        people = Path(name) / "demo.gallery"
        enroll(files.photos, engine.open_detector(), engine.open_embedder()).gallery.save(people)
        yield files.clip, people


def _earlier(path: Path) -> dict[str, Any]:
    from stream.bench.measure import SCHEMA
    from stream.bench.report import compare

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); keep a result to compare with by -o") from error
    try:
        result = json.loads(data)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise InputError(f"{path} is no result of `iznet bench` ({SCHEMA}); make one with -o")
    try:
        compare(result, result)  # before minutes are spent on what it is to be compared with
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no whole result of `iznet bench` ({error!r}); make one anew with -o") from None
    return result
