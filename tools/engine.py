"""`iznet engine …`: networks made ready for a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tools.options import FILE, json_option


@click.group()
def engine() -> None:
    """Make networks ready for a GPU. `--device gpu` does it by itself when it has to; here it can be done ahead, with
    other sizes, and checked on pictures of your own."""


@engine.command()
@click.argument("model", metavar="[MODEL.onnx]...", type=FILE, nargs=-1)
@click.option(
    "--precision",
    type=click.Choice(["auto", "f32", "f16", "int8"]),
    default="auto",
    show_default=True,
    help="Arithmetic; auto is f16, and int8 wants a network that was quantised.",
)
@click.option(
    "--size",
    type=click.IntRange(64, 4096),
    default=640,
    show_default=True,
    help="Longer side of the pictures that the detector will look at.",
)
@click.option("--min", "least", metavar="SHAPE", help="Smallest input, such as 1x64x64x3; with --opt and --max.")
@click.option("--opt", "usual", metavar="SHAPE", help="The input that has to be fastest.")
@click.option("--max", "most", metavar="SHAPE", help="Largest input.")
@click.option(
    "--frames",
    type=FILE,
    multiple=True,
    help="Video or photo with faces to check the engine with; may be repeated.  [default: made-up pictures]",
)
@click.option("--level", type=click.IntRange(0, 5), default=3, show_default=True, help="How hard the builder tries.")
@click.option("--workspace", type=click.IntRange(1), default=1024, show_default=True, help="MiB for one layer.")
@click.option("--rebuild", is_flag=True, help="Build it even where one is kept that fits.")
@json_option
def build(
    model: tuple[Path, ...],
    precision: str,
    size: int,
    least: str | None,
    usual: str | None,
    most: str | None,
    frames: tuple[Path, ...],
    level: int,
    workspace: int,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Build the engine of MODEL.onnx for the GPU that is here, check it against ONNX Runtime and keep it; without
    MODEL, those of the networks that IZ*Net comes with.

    An engine that says something else than its network is refused. The plan can be read by
    `trtexec --loadEngine`; beside it lies a JSON file that says what it is.
    """
    from engine.devices import gpu
    from engine.errors import UsageError
    from engine.modelfile import ModelFile
    from engine.tensorrt_build import BuildOptions
    from engine.tensorrt_engines import build_engine, gpu_precision
    from engine.tensorrt_profile import default_profiles, explicit_profile
    from stream.samples import sample_pictures
    from tools.progress import StepProgress

    given = [shape for shape in (least, usual, most) if shape is not None]
    if given and (len(given) < 3 or len(model) != 1):
        raise UsageError("--min, --opt and --max go together, and with one network")
    files = [ModelFile.read(path) for path in model] or [ModelFile.shipped(kind) for kind in ("detector", "embedder")]
    gpu()  # or it is said what is missing
    pictures = sample_pictures(frames) if frames else None
    for file in files:
        profiles = (explicit_profile(file, *given),) if given else default_profiles(file, size)
        with StepProgress(file.name, quiet=as_json) as progress:
            built = build_engine(
                file,
                gpu_precision(precision),  # type: ignore[arg-type]  # click has checked it
                profiles,
                BuildOptions(level, workspace),
                pictures,
                progress,
                rebuild=rebuild,
                size=size,
            )
        path = built.engine.path
        if as_json:
            accuracy = built.accuracy.as_dict() if built.accuracy else None
            result = {"model": str(file.path), "engine": path and str(path), "accuracy": accuracy}
            click.echo(json.dumps(result | {"seconds": round(built.seconds, 1), "kept": built.accuracy is None}))
            continue
        if built.accuracy is None:
            click.echo(f"{file.name}: the engine that is kept fits: {path}")
        else:
            where = path or "kept nowhere, as no cache folder can be written"
            click.echo(f"{file.name}: built in {built.seconds:.0f} s: {where}\n  checked: {built.accuracy}")
