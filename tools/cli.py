"""`iznet`: finds the command, runs it, and turns whatever goes wrong into a message and an exit code.

Commands are imported when they run, so that `iznet --help` is quick and a CPU user never imports what only
training needs. Errors go to stderr as `iznet: error: …`; with `--json`, to stdout as
`{"error": …, "code": …}` instead.
"""

from __future__ import annotations

import codecs
import errno
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import FrameType
from typing import NoReturn

import click

from engine.lazy import importing
from engine.version import VERSION

INTERRUPTED = 130
BAD_INPUT = 3
CANNOT_WRITE = 5
MISSING = 4
HOUSE = ("engine", "stream", "train", "tools")
NO_SPACE_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and what is to be known of it before it is imported."""

    target: str
    """`module:attribute` of a `click.Command`."""
    help: str
    """The line that `iznet --help` shows for it."""
    leaves: bool = False
    """Whether its process may end as soon as its work is done, with nothing freed first: the system does that in a
    tenth of the time. It has to have closed its files and joined whoever works for it."""
    algebra: bool = False
    """Whether it multiplies matrices large enough for several threads. Elsewhere OpenBLAS gets one: those it starts
    turn in circles while they wait, which costs a tenth of a start on two CPUs and more on many."""


COMMANDS = {
    "label": Entry("tools.label:label", "Label the known faces of a video or photo.", leaves=True),
    "live": Entry("tools.live:live", "Name the people on cameras and streams as they come.", leaves=True),
    "render": Entry("tools.render:render", "Draw a record on its video again, in another style or corrected."),
    "review": Entry("tools.review:review", "Correct a record's names on a page, beside its video.", leaves=True),
    "tracks": Entry("tools.tracks:tracks", "Convert, sum up, show and correct records."),
    "enroll": Entry("tools.enroll:enroll", "Make a gallery of people from folders of photos."),
    "gallery": Entry("tools.gallery:gallery", "Look into a gallery, take people out, rename them."),
    "engine": Entry("tools.engine:engine", "Make networks ready for a GPU (needs an extra: gpu or gpu-wheels)."),
    "demo": Entry("tools.demo:demo", "Build a short clip, label it, and show what came out."),
    "doctor": Entry("tools.doctor:doctor", "Say what is installed, what works, and what `auto` chooses."),
    "bench": Entry("tools.bench:bench", "Measure speed against a plain transcode, and accuracy against truth."),
    "analyse": Entry(
        "tools.analyse:analyse", "Measure an embedder on people: plots, tables, one HTML page.", algebra=True
    ),
    "train": Entry(
        "tools.train:train", "Train, evaluate and export the networks (needs the extra train).", algebra=True
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def __init__(self, *, entries: dict[str, Entry], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if ctx.parent is None and not entry.algebra:
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # which NumPy reads when it is imported
        module, attribute = entry.target.split(":")
        with importing():
            command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done · 1 a bug · 2 wrong use · 3 bad input · 4 something asked for is missing · "
    "5 cannot write · 6 part of a batch failed · 130 interrupted.",
)
@click.version_option(VERSION, prog_name="iznet", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an unexpected error.")
def iznet(debug: bool) -> None:
    """IZ*Net: a music video goes in; the same video comes out with every known face boxed and named,
    and a record of who was where in every frame."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with its code.

    Example:
        >>> main(["--version"])  # doctest: +SKIP
        iznet 0.1.0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # What was closed (`>&-`) leads nowhere, or the next file that is opened would get its number and what is printed.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    # SIGTERM and a terminal that is closed end a run as Ctrl-C does: what was finished is kept.
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        signal.signal(signal.SIGHUP, partial(_hung_up, [fd for fd in (1, 2) if os.isatty(fd)]))
    # What this terminal or file cannot hold (a Hangul name in Windows' cp1252) is a ? there, and no fault; JSON holds
    # everything.
    codecs.register_error("iznet.json", _escaped)
    for stream, errors in ((sys.stdout, "iznet.json" if "--json" in arguments else "replace"), (sys.stderr, "replace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    code = run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        gone = _reader_gone()
        code = code or (gone if isinstance(error, BrokenPipeError) else _failed(error, arguments, as_json=False))
    name = next((word for word in arguments if not word.startswith("-")), "")
    if name in COMMANDS and COMMANDS[name].leaves:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error has been printed."""
    as_json = "--json" in arguments
    try:
        # Not `iznet.main`, which has an opinion of its own on broken pipes and Ctrl-C.
        with iznet.make_context("iznet", list(arguments)) as context:
            iznet.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # a group without a command: its help says enough
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        if not as_json and isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
            click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
        return _fail(error.format_message(), 2, as_json)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED, as_json)
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:
        return _failed(error, arguments, as_json)
    return 0


def _failed(error: Exception, arguments: Sequence[str], as_json: bool) -> int:
    from engine.errors import IznetError  # not above: `iznet --help` need not load the engine

    if isinstance(error, IznetError):
        return _fail(str(error), error.exit_code, as_json)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in HOUSE:
        return _fail(f"the Python package {error.name} is not installed; see `iznet doctor`", MISSING, as_json)
    if isinstance(error, OSError) and error.errno in NO_SPACE_OR_READ_ONLY:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror}{where}; free some space or choose another folder", CANNOT_WRITE, as_json)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # of what is written it is told earlier
        return _fail(f"{error.filename}: no file has so long a name; check the spelling", BAD_INPUT, as_json)
    return _bug(error, arguments, as_json)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Letters that an encoding lacks, as JSON writes them in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _hung_up(terminals: Sequence[int], number: int, frame: FrameType | None) -> NoReturn:
    """As `_interrupt`, and nothing more is written to these descriptors: it would be an error each time."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for terminal in terminals:
        os.dup2(silence, terminal)
    _interrupt(number, frame)


def _fail(message: str, code: int, as_json: bool) -> int:
    if as_json:
        with suppress(OSError):  # stderr is told where the reader is gone, or the disk full
            click.echo(json.dumps({"error": message, "code": code}, ensure_ascii=False))
            return code
    with suppress(OSError):
        click.echo(f"iznet: {'' if code == INTERRUPTED else 'error: '}{message}", err=True)
    return code


def _reader_gone() -> int:
    """The reader of our output has closed it; say no more, not even when Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CANNOT_WRITE


def _bug(error: Exception, arguments: Sequence[str], as_json: bool) -> int:
    """An error that nobody foresaw: keep the traceback in a file, show it with `--debug`."""
    import tempfile
    import traceback

    from stream.live.address import HIDDEN, without_secrets
    from tools.config_file import config_texts
    from tools.options import TOKEN

    given, arguments = arguments, [*arguments, *config_texts(arguments), f"--token={os.environ.get(TOKEN, '')}"]
    text = without_secrets("".join(traceback.format_exception(error)), arguments)
    if "--debug" in arguments:
        click.echo(text, err=True)
        where = "the traceback is above"
    else:
        try:
            with tempfile.NamedTemporaryFile(
                "w", prefix="iznet-error-", suffix=".txt", delete=False, encoding="utf-8"
            ) as file:
                command = [
                    HIDDEN if before == "--token" else without_secrets(argument, arguments)
                    for before, argument in pairwise(["", *given])
                ]
                file.write(f"iznet {VERSION} {command}\n{sys.version}\n\n{text}")
            where = f"the traceback is in {file.name}"
        except OSError:
            where = "run it again as `iznet --debug …` to see the traceback"
    return _fail(
        f"this is a bug in IZ*Net, not your mistake: {type(error).__name__}: "
        f"{without_secrets(str(error), arguments)}; {where}. "
        "Please report it to the project together with that text",
        1,
        as_json,
    )


if __name__ == "__main__":
    main()
