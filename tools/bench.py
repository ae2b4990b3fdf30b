"""`iznet bench …`: measuring, for engineers. `iznet bench [VIDEO]` is short for `iznet bench speed [VIDEO]`."""

from __future__ import annotations

import click

from tools.cli import Entry, LazyGroup

DEFAULT = "speed"
COMMANDS = {
    DEFAULT: Entry("tools.bench_speed:speed", "Where the time goes, against a plain transcode. The default."),
    "accuracy": Entry("tools.bench_accuracy:accuracy", "Names and tracks of a video or record against truth."),
}


class DefaultGroup(LazyGroup):
    """A group one of whose commands need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.entries and args[0] not in ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup, entries=COMMANDS)
def bench() -> None:
    """Measure how fast and how right the work is.

    `iznet bench [VIDEO]` measures speed; `iznet bench speed --help` lists its options.
    """
