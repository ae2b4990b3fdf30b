"""`iznet doctor`: what is installed, what works, and what `auto` chooses."""

from __future__ import annotations

import json
from typing import Any

import click

from engine.errors import MissingError
from engine.wording import count


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def doctor(as_json: bool) -> None:
    """Say what is installed, what works, and what `auto` chooses and why.

    Ends with exit code 4 where something that labelling needs is missing or damaged.
    """
    from tools.health import examine

    report = examine()
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        if report["problems"]:
            raise click.exceptions.Exit(MissingError.exit_code)
        return
    show(report)
    if report["problems"]:
        problems = report["problems"]
        assert isinstance(problems, list)
        raise MissingError("labelling does not work here yet: " + "; ".join(problems))
    click.echo("Everything that labelling needs is here.")


def show(report: dict[str, Any]) -> None:
    """Print the report as a table."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]IZ*Net {report['iznet']}[/] · Python {report['python']} · {report['platform']}")
    console.print(f"FFmpeg {report['ffmpeg'] or 'missing'} · {count(report['cpus'], 'CPU')} for this process")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("What")
    table.add_column("")
    table.add_column("Found", overflow="fold")
    for title in ("libraries", "devices", "models", "encoders", "decoders", "extras"):
        table.add_section()
        table.add_row(f"[bold]{title.capitalize()}[/]")
        for item in report[title]:
            mark = "[green]yes[/]" if item["ok"] else "[dim]no[/]"
            table.add_row(f"  {item['name']}", mark, escape(item["detail"]))
    console.print(table)
    auto = report["auto"]
    chosen = auto.get("error") or f"{auto['device']} with {auto['backend']}: {auto['reason']}"
    console.print(f"[bold]--device auto[/] takes {escape(chosen)}")
