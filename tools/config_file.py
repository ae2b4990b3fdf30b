"""A TOML file instead of flags, for runs that a service manager starts: addresses with passwords need not stand on a
command line, where everybody on the computer can read them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from engine.errors import InputError, IznetError, UsageError
from tools.options import FILE, Command

CONFIG = "tools.config_file"
"""Where a context's `meta` holds the file that was read."""


def config_option(command: Command) -> Command:
    """`--config FILE`: its keys are the command's long flags and arguments; what the command line says wins.

    Example:
        A file for `iznet live`, equal to `iznet live door=rtsp://10.0.0.7/1 -g group.gallery --max-staleness 0.3`:

            sources = ["door=rtsp://10.0.0.7/1"]
            gallery = "group.gallery"
            max-staleness = 0.3
    """

    def read(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
        if path is not None:
            context.meta[CONFIG] = path
            context.default_map = _defaults(context, _parsed(path), path, str(parameter.name))

    return click.option(
        "--config",
        type=FILE,
        is_eager=True,
        expose_value=False,
        callback=read,
        help="A TOML file: its keys are these options without their dashes in front; flags win over it.",
    )(command)


def config_texts(arguments: Sequence[str]) -> list[str]:
    """The texts of the files that `--config` names, for taking secrets out of a report; a token as `--token=…`. What
    cannot be read has none."""
    texts = []
    for before, argument in pairwise(["", *arguments]):
        option, _, given = argument.partition("=")
        path = argument if before == "--config" else given if option == "--config" else ""
        with suppress(IznetError):
            for key, value in (_parsed(Path(path)) if path else {}).items():
                values = value if isinstance(value, list) else [value]
                texts += [f"--token={each}" if key == "token" else str(each) for each in values]
    return texts


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read().decode("utf-8-sig"))  # some editors put a mark before the text
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from None


def _defaults(context: click.Context, given: Mapping[str, Any], path: Path, own: str) -> dict[str, Any]:
    """The values by parameter. Each has to be one that its parameter takes: a flag takes true or false only."""
    known: dict[str, click.Parameter] = {}
    for parameter in context.command.params:
        spelt = [word.lstrip("-") for word in parameter.opts if word.startswith("--")] or [str(parameter.name)]
        if parameter.name != own:
            known |= dict.fromkeys(spelt, parameter)
    defaults: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{path}: there is no option {key!r}; it may hold {', '.join(sorted(known))}")
        parameter = known[key]
        several = parameter.nargs == -1 or parameter.multiple
        flag = isinstance(parameter, click.Option) and parameter.is_flag
        kind = list if several else bool if flag else (str, int, float)
        if not isinstance(value, kind) or (isinstance(value, bool) and not flag):
            wanted = "a list" if several else "true or false" if flag else "a text or a number"
            raise UsageError(f"{path}: {key} has to be {wanted}")
        for each in value if isinstance(value, list) else [value]:
            if several and (isinstance(each, bool) or not isinstance(each, (str, int, float))):
                raise UsageError(f"{path}: {key} has to be a list of texts or numbers")
            if isinstance(parameter.type, click.Path) and not isinstance(each, str):
                raise UsageError(f"{path}: {key} has to be the name of a file in quotes, not {each}")
            if isinstance(each, float) and isinstance(parameter.type, click.types.IntParamType):
                raise UsageError(f"{path}: {key} has to be a whole number, not {each}")  # click would take a part
        try:
            parameter.type_cast_value(context, value)
        except click.BadParameter as error:
            raise UsageError(f"{path}: {key}: {error.message}") from None
        defaults[str(parameter.name)] = value
    return defaults
