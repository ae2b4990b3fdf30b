"""`iznet train eval-detector` and `iznet train quantize-detector`."""

from __future__ import annotations

from pathlib import Path

import click

from tools.options import FILE, json_option


@click.command("eval-detector")
@click.option("--data", type=FILE, required=True, help="Box set: zip or folder with boxes.json.")
@click.option("--detector", "model", type=FILE, help="ONNX file.  [default: the shipped one]")
@click.option("--teachers", type=FILE, help="Folder of rival networks to put beside it; landmarks and clips need it.")
@click.option("--also", multiple=True, metavar="NAME=FILE[@SIZE]", help="A further detector; may be repeated.")
@click.option(
    "--size", "sizes", type=click.IntRange(64), multiple=True, help="Longer side, may be repeated.  [default: 320…1280]"
)
@click.option("--dev", is_flag=True, help="Only the part that training kept aside; for choices.")
@click.option("--every", type=click.IntRange(1), default=1, help="Only each n-th picture and frame, for a quick look.")
@click.option("--photos", type=FILE, help="Pictures to take close-ups from: zip or folder.")
@click.option("--clips", type=FILE, help="Folder of video clips, for precision.")
@click.option("--verdicts", type=FILE, help="What somebody said about doubtful finds on them (JSON).")
@click.option("--calibrate", type=FILE, help="Box set to calibrate INT8 on; adds rows for INT8 and bf16.")
@click.option("--close-ups", type=click.IntRange(0), default=300, show_default=True, help="How many, about.")
@click.option("--time", "rounds", type=click.IntRange(0), default=0, help="Rounds of timing in turns.  [default: none]")
@click.option("--sheets", type=FILE, help="Folder for PNG sheets of hits, misses, false and doubtful finds.")
@click.option("--cache", type=FILE, help="Folder to keep what the teachers see.")
@click.option("--write", "results", type=FILE, help="Folder for detector.json, detector.md and detector.png.")
@json_option
def eval_detector(
    data: Path,
    model: Path | None,
    teachers: Path | None,
    also: tuple[str, ...],
    sizes: tuple[int, ...],
    dev: bool,
    every: int,
    photos: Path | None,
    clips: Path | None,
    verdicts: Path | None,
    calibrate: Path | None,
    close_ups: int,
    rounds: int,
    sheets: Path | None,
    cache: Path | None,
    results: Path | None,
    as_json: bool,
) -> None:
    """Average precision of a detector by face size, with rivals on the same pictures, and more where data is given.

    Close-ups, landmarks and clips need --teachers; clips need --clips, and INT8 and bf16 --calibrate.
    """
    from engine.errors import UsageError
    from train.detector_report import SIZES, Plan, evaluate
    from train.detector_text import page
    from train.output import json_text

    if clips is not None and teachers is None:
        raise UsageError("--clips: finds are judged by the teachers; give --teachers FOLDER")
    plan = Plan(
        data=data,
        model=model,
        teachers=teachers,
        also=also,
        sizes=sizes or SIZES,
        dev=dev,
        every=every,
        photos=photos,
        clips=clips,
        verdicts=verdicts,
        calibration=calibrate,
        close_ups=close_ups,
        rounds=rounds,
        sheets=sheets,
        cache=cache,
    )
    report = evaluate(plan, say=_silent if as_json else _say)
    text = json_text(report.values, indent=1)
    if results is not None:
        write_results(results, text + "\n", page(report.values))
        report.curves(results / "detector.png")
    click.echo(text if as_json else page(report.values))


def write_results(folder: Path, as_json: str, as_markdown: str) -> None:
    """Write `detector.json` and `detector.md` into `folder`.

    Raises:
        OutputError: they cannot be written.
    """
    from train.output import write_whole

    write_whole(folder / "detector.json", as_json)
    write_whole(folder / "detector.md", as_markdown)


@click.command("quantize-detector")
@click.option("--detector", "model", type=FILE, help="ONNX file in f32.  [default: the shipped one]")
@click.option("--data", type=FILE, required=True, help="Box set to calibrate on; its dev part is left out.")
@click.option("-o", "--output", type=FILE, required=True, help="The INT8 network to write, NAME.onnx.")
@click.option("--overwrite", is_flag=True, help="Replace it if it exists.")
@click.option("--size", type=click.IntRange(64), default=640, show_default=True, help="Longer side of the pictures.")
@json_option
def quantize(model: Path | None, data: Path, output: Path, overwrite: bool, size: int, as_json: bool) -> None:
    """Make an INT8 copy of a detector, for CPUs that are quick at it; use it with --detector FILE."""
    import json

    from engine.modelfile import ModelFile
    from engine.output_file import check_output
    from train.data.boxes import LoadReport, load_box_set, split_dev
    from train.detector_precision import quantize_detector
    from train.detector_report import DEV_PICTURES

    source = ModelFile.shipped("detector") if model is None else ModelFile.read(model, "detector")
    check_output(output, overwrite, [source.path, data])
    problems = LoadReport()
    pictures = split_dev(load_box_set(data, problems), DEV_PICTURES)[0]

    def progress(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            (_silent if as_json else _say)(f"calibrating: {done} of {total} pictures")

    digest = quantize_detector(source.path, pictures, output, size=size, progress=progress)
    if as_json:
        click.echo(json.dumps({"output": str(output), "sha256": digest, "problems": problems.counts()}))
    else:
        click.echo(f"{output}: sha256 {digest[:16]}…; {problems}")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _silent(_: str) -> None:
    """With --json nothing is said on the way."""
