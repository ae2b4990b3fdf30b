"""`iznet train cohort`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from tools.options import FILE, json_option


@click.command("cohort")
@click.option("--faces", type=FILE, required=True, help="Archive of aligned faces with people.csv (faces.zip).")
@click.option("--keep-aside", type=FILE, default=None, help="Table with a column `person`: more people to leave out.")
@click.option("--embedder", "network", type=FILE, default=None, help="Embedder (ONNX); default: the shipped one.")
@click.option("--out", type=FILE, required=True, help="The cohort to write, NAME.cohort; replaced if it exists.")
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads.")
@json_option
def cohort(
    faces: Path, keep_aside: Path | None, network: Path | None, out: Path, threads: int | None, as_json: bool
) -> None:
    """Make the cohort of strangers that gallery thresholds are found with.

    It holds means of clusters of people, no one's face; see `engine.cohort`. It belongs to the embedder that it was
    made with: make it anew whenever that is replaced. Prints how often real people kept aside would be given a name.
    """
    from engine.embedder import Embedder
    from engine.output_file import check_output
    from train.cohort import train_cohort

    check_output(out, True, [read for read in (faces, keep_aside, network) if read is not None])
    embedder = Embedder.open(network, backend="onnxruntime", precision="f32", threads=threads)
    if not as_json:
        click.echo(f"Embedding {faces} with {embedder.name} …", err=True)
    made, rates = train_cohort(faces, embedder, keep_aside)
    made.save(out)
    if as_json:
        result = {
            "cohort": str(out),
            "embedder": {"name": made.embedder, "sha256": made.embedder_sha256},
            "clusters": len(made.centroids),
            "people": made.people,
            "faces": made.faces,
            "fewest": made.fewest,
            "narrowing": made.narrowing,
            "rates": [dataclasses.asdict(rate) for rate in rates],
        }
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    click.echo(
        f"{out}: {len(made.centroids)} clusters of {made.people} people ({made.faces} faces), at least {made.fewest} "
        f"people each; narrowing {made.narrowing:g}; for {made.embedder} ({made.embedder_sha256[:12]}…)"
    )
    for rate in rates:
        click.echo(
            f"Gallery of {rate.gallery}: asked for {100 * rate.far:g} % false accepts, {rate.name} "
            f"{100 * rate.measured:.2f} % (threshold {rate.threshold:.3f}, {rate.strangers} faces)"
        )
