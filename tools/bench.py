"""`iznet bench …`: measuring, for engineers."""

from __future__ import annotations

import click

from tools.cli import Entry, LazyGroup

COMMANDS = {
    "accuracy": Entry("tools.bench_accuracy:accuracy", "Names and tracks of a video or record against truth."),
}


@click.group(cls=LazyGroup, entries=COMMANDS)
def bench() -> None:
    """Measure how right and how fast the work is."""
