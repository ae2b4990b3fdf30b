"""`iznet demo`: the main job from beginning to end, on a clip made of faces that installed packages carry."""

from __future__ import annotations

import json
from pathlib import Path

import click

from engine.wording import count
from tools.options import FILE, EngineOptions, engine_options, json_option


@click.command()
@click.option("-o", "--output", type=FILE, default=Path("demo"), show_default=True, help="Folder for what comes out.")
@engine_options
@json_option
def demo(output: Path, engine: EngineOptions, as_json: bool) -> None:
    """Build a short clip, label it, and show what came out.

    The clip is ten seconds of 720p with sound and two cuts: a NASA portrait of Eileen Collins and a man in a car.
    She is enrolled, he stays unknown. Nothing is downloaded. Files of an earlier demo in the folder are replaced.
    """
    from engine import enroll
    from engine.errors import OutputError
    from stream import label_video
    from stream.sheet import contact_sheet
    from tools import demo_clip
    from tools.progress import FrameProgress
    from tools.wording import people_lines, result_dict

    def say(line: str) -> None:
        if not as_json:
            click.echo(line)

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: the folder cannot be made ({error.strerror}); choose another with -o") from error
    detector, embedder = engine.open_detector(), engine.open_embedder()
    say(f"Networks: {engine.explain()}")
    say("Building a clip out of " + "; ".join(demo_clip.CREDITS))
    files = demo_clip.build(output)
    say(f"Enrolling {demo_clip.PERSON} from four variants of the portrait that the clip shows")
    gallery = enroll(files.photos, detector, embedder).gallery
    gallery.save(output / "demo.gallery", overwrite=True)
    with FrameProgress(files.clip.name, quiet=as_json) as progress:
        result = label_video(
            files.clip,
            output / "labelled.mp4",
            gallery=gallery,
            detector=detector,
            embedder=embedder,
            tracks=output / "labelled.tracks.jsonl",
            overwrite=True,
            progress=progress,
            unknown="box",
        )
    assert result.video is not None
    sheet = contact_sheet(files.clip, result.tracks, output / "sheet.png", overwrite=True)
    if as_json:
        click.echo(json.dumps(result_dict(result) | {"sheet": str(sheet)}, ensure_ascii=False))
        return
    say("")
    say(f"Labelled  {result.video}")
    say(f"Record    {result.tracks}")
    say(f"Sheet     {sheet}")
    say(f"{count(result.frames, 'frame')}, {result.fps:.1f} FPS")
    for line in people_lines(result):
        say(line)
    say("This shows the job. It proves nothing about recognition: she is enrolled from the picture that is shown.")
