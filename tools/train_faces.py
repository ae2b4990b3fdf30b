"""`iznet train faces`: face crops out of a folder of photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.wording import count
from tools.options import FILE, Number, json_option

if TYPE_CHECKING:
    from train.face_extraction import PhotoResult


@click.command("faces")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--out", type=FILE, required=True, help="Folder for the crops; sub-folders are those of DIR.")
@click.option("--detector", "model", type=FILE, help="ONNX file.  [default: the shipped one]")
@click.option("--side", type=click.IntRange(112, 512), default=112, show_default=True, help="Pixels of aligned crops.")
@click.option("--loose", type=Number(1, 4), help="Cut out the box, so many times as large, unaligned.")
@click.option("--smallest", type=Number(4), default=20, show_default=True, help="Least face in pixels.")
@click.option("--size", type=click.IntRange(64, 4096), default=640, show_default=True, help="The detector's view.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of the detector.")
@click.option("--overwrite", is_flag=True, help="Do everything anew and replace what is there.")
@json_option
def faces(
    folder: Path,
    out: Path,
    model: Path | None,
    side: int,
    loose: float | None,
    smallest: float,
    size: int,
    threads: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Cut the faces out of the photos in DIR, for networks to learn from.

    Crops are aligned by five landmarks to the usual 112×112 template (--side 128 adds 8 px of margin all round), or
    loose boxes with --loose 1.3. faces.jsonl says what became of each photo, faces.png shows the crops. A run that was
    stopped goes on where it was; photos that were done are not looked at again.
    """
    from engine.detector import Detector
    from engine.enrolment import Progress
    from tools.enroll import PhotoProgress
    from train.face_extraction import CropSettings, contact_sheet, extract_faces

    detector = Detector.open(model, size=size, threads=threads)
    settings = CropSettings(detector.sha256, side, loose, smallest, size)
    with PhotoProgress() as bar:

        def progress(done: int, total: int, result: PhotoResult) -> None:
            if not as_json:
                person = Path(result.photo).parent.as_posix()
                bar(Progress(done, total, person, result.photo, result.skipped or count(len(result.crops), "face")))

        report = extract_faces(folder, out, detector, settings, overwrite=overwrite, progress=progress)
    sheet = contact_sheet(out, report)
    if as_json:
        click.echo(json.dumps({"out": str(out), "sheet": str(sheet)} | report.to_dict(), ensure_ascii=False))
        return
    for result in report.skipped:
        click.echo(f"Skipped: {result.photo}: {result.skipped}")
    for person, crops in report.people.items():
        click.echo(f"{person}: {count(crops, 'face')}")
    before = f", {report.kept} of them done before" if report.kept else ""
    click.echo(f"{count(report.crops, 'face')} of {count(len(report.results), 'photo')}{before}; look at {sheet}")
