"""Puts the detector's measured figures where people read them: its page, its model card and the README.

    iznet train eval-detector --data val.zip … --write benchmarks
    python -m benchmarks.detector

Everything comes from `detector.json`; what stands between the marks in the card and the README is replaced.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from benchmarks.help_text import shown
from train.detector_text import card_figures, card_head, card_use, page, replaced, summary

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
PAGE = RESULT.with_suffix(".md")
CARD = ROOT / "engine" / "models" / "detector.card.md"
README = ROOT / "README.md"


def texts(values: dict[str, Any]) -> dict[Path, str]:
    """The three files as they should be."""
    card = CARD.read_text("utf-8")
    for mark, text in (("head", card_head), ("use", card_use), ("figures", card_figures)):
        card = replaced(card, mark, f"\n{text(values)}\n", str(CARD))
    readme = replaced(README.read_text("utf-8"), "detector", summary(values), str(README))
    return {PAGE: page(values), CARD: card, README: readme}


@click.command(help=shown(__doc__))
def main() -> None:
    for path, text in texts(json.loads(RESULT.read_text("utf-8"))).items():
        path.write_text(text, "utf-8")
        click.echo(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
