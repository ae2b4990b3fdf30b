"""`iznet train members`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from tools.options import FILE, EngineOptions, Number, engine_options, json_option
from tools.train import SEED


@click.command("members")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("-o", "--out", type=FILE, default=Path("runs/members"), show_default=True, help="Folder for the results.")
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True)
@click.option("--rate", type=Number(0, min_open=True), default=2e-3, show_default=True, help="Learning rate.")
@click.option("--views", type=click.IntRange(0), default=6, show_default=True, help="Changed views of every photo.")
@click.option("--far", type=Number(0, 1, min_open=True, max_open=True), default=0.01, show_default=True)
@click.option("--cohort", type=FILE, default=None, help="Strangers of your own embedder, see `iznet train cohort`.")
@click.option("--seed", type=SEED, default=1, show_default=True)
@engine_options
@json_option
def members(
    folder: Path,
    out: Path,
    steps: int,
    rate: float,
    views: int,
    far: float,
    cohort: Path | None,
    seed: int,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Fine-tune the embedder on your own people, if that helps.

    DIR is a folder of people as for `iznet enroll`. Of everybody with six photos or more, three in ten are kept aside.
    Only if more of these get their right name afterwards are an embedder and a gallery written, which then have learned
    from all photos; either way it says by how much.
    """
    from engine.cohort import cohort_for
    from engine.enrolment import Rules, assemble, look, open_embedder
    from engine.errors import InputError
    from tools.enroll import PhotoProgress
    from train.members import GALLERY, NETWORK, MemberRecipe, check_out, export, faces_of, train_members

    check_out(out)
    rules = Rules(far=far, cohort=cohort)
    embedder = open_embedder(folder, rules, engine.open_embedder)
    strangers, reason = cohort_for(embedder.name, embedder.sha256, cohort)
    if strangers is None:
        raise InputError(f"fine-tuning needs a cohort of strangers: {reason}")
    with PhotoProgress() as progress:
        looked = look(folder, engine.open_detector, embedder, progress, crops=True)
    report = assemble(looked, embedder, rules=rules)
    recipe = MemberRecipe(steps=steps, rate=rate, views=views, seed=seed)

    def say(what: str, done: int, total: int) -> None:
        if not as_json and (done == total or done % 100 == 0):
            click.echo(f"{what}: {done} of {total}", err=True)

    result = train_members(faces_of(looked, report.gallery), embedder, strangers, recipe, far, say)
    if result.better:
        export(result, report.gallery, embedder, strangers, out, far)
    if as_json:
        record = {
            "kept": result.better,
            "out": str(out) if result.better else None,
            "before": dataclasses.asdict(result.before),
            "after": dataclasses.asdict(result.after),
            "train_photos": result.train,
            "strangers_cosine": round(result.moved, 4),
            "skipped": [dataclasses.asdict(skip) for skip in report.skipped],
        }
        click.echo(json.dumps(record, ensure_ascii=False))
        return
    for skip in report.skipped:
        click.echo(f"Skipped: {skip.file}: {skip.reason}")
    click.echo(
        f"Learned from {result.train} photos, tried on {result.before.photos} kept aside (30 % of each person's)."
    )
    for what, a, b in (
        (f"right name at {100 * far:g} % false accepts", result.before.named, result.after.named),
        ("nearest to the right person", result.before.rank1, result.after.rank1),
    ):
        click.echo(f"{what}: {100 * a:.1f} % before, {100 * b:.1f} % after ({100 * (b - a):+.1f} points)")
    click.echo(f"Strangers stayed where they were to a mean cosine of {result.moved:.3f}.")
    if result.better:
        click.echo(f"Kept: iznet label VIDEO -g {out / GALLERY} --embedder {out / NETWORK}")
    else:
        click.echo("Not kept: it is no better than the embedder as it is, which stays the one to use.")
