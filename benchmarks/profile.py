"""Which functions are at work while a video is labelled, by thread, as py-spy sees them a hundred times a second.

    python -m benchmarks.profile clip.mp4 -g people.gallery

Native code is seen too, but only in threads that run Python: those that decoder, encoder and networks have for
themselves are not. The result goes to `profile.md`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import click

from benchmarks.help_text import shown
from stream.bench.report import table

RESULT = Path(__file__).with_suffix(".md")
OURS = re.compile(r"\((?:stream|engine|tools)/[\w/]+\.py")
LEAST = 0.01
"""Share of a thread's samples from which on a function is listed."""


def by_thread(raw: str) -> dict[str, Counter[str]]:
    """Samples by thread and innermost function of this project, from py-spy's `raw` lines: frames from the outermost
    to the innermost with `;` between, and a count.

    Example:
        >>> {k: dict(v) for k, v in by_thread("thread (1): iznet-write;draw (stream/a.py);memcpy (libc) 3").items()}
        {'iznet-write': {'draw (stream/a.py)': 3}}
    """
    threads: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        head, *frames = stack.split(";")
        name = head.partition("): ")[2] or "MainThread"
        own = [re.sub(r":\d+\)$", ")", frame) for frame in frames if OURS.search(frame)]
        if own:
            threads[name][own[-1]] += int(count)
    return dict(threads)


def text(threads: dict[str, Counter[str]]) -> str:
    """A table: thread, function, share of the thread's and of all samples."""
    whole = sum(sum(counts.values()) for counts in threads.values())
    rows = []
    for name, counts in sorted(threads.items(), key=lambda item: -sum(item[1].values())):
        of_thread = sum(counts.values())
        rows += [
            (name, function, f"{count / of_thread:.1%}", f"{count / whole:.1%}")
            for function, count in counts.most_common()
            if count / of_thread >= LEAST
        ]
    return table(("thread", "function", "of the thread", "of all"), rows)


@click.command(help=shown(__doc__))
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-g", "--gallery", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(video: Path, gallery: Path | None, output: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="iznet-profile-") as name:
        raw = Path(name, "raw")
        label = [sys.executable, "-m", "tools", "label", str(video), "-o", str(Path(name, f"out{video.suffix}"))]
        label += ["-g", str(gallery)] if gallery else []
        spy = [str(Path(sys.executable).with_name("py-spy")), "record", "--threads", "-f", "raw", "-o", str(raw), "--"]
        subprocess.run([*spy, *label], check=True, capture_output=True)
        found = text(by_thread(raw.read_text("utf-8")))
    output.write_text(
        f"# Profile of labelling {video.name}\n\n`python -m benchmarks.profile`, py-spy.\n\n{found}\n", "utf-8"
    )
    click.echo(found)


if __name__ == "__main__":
    main()
