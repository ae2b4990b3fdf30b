"""Options of the commands that make a labelled copy: how people are drawn, and how it is encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.core import ParameterSource

from engine.errors import UsageError
from stream.decoders import DECODERS
from stream.encoders import ENCODERS
from stream.styles import STYLES
from tools.options import Command, Number


def style_options(command: Command) -> Command:
    """How people are drawn: `--style`, as `styles=`, `--unknown` and `--soft`."""
    options = (
        click.option(
            "--style",
            "styles",
            type=click.Choice(STYLES),
            multiple=True,
            help="How people are drawn (boxes; colours: one a person; corners; names) or hidden (blur, pixelate: "
            "everybody, with -unknown only those without a name). One of each kind may be given. Default: boxes.",
        ),
        click.option(
            "--unknown",
            type=click.Choice(["none", "box"]),
            default=None,
            help="What to draw for people nobody knows. Default: none, or a grey box where there is no gallery.",
        ),
        click.option(
            "--soft",
            is_flag=True,
            help="Re-encode nothing: copy every packet, with boxes and names as a subtitle track (MKV).",
        ),
    )
    return _with_options(command, options)


def encoder_options(command: Command) -> Command:
    """How a copy is made: `--encoder --preset --crf --deinterlace --omit --resume`."""
    options = (
        click.option(
            "--encoder",
            type=click.Choice(ENCODERS),
            default="auto",
            show_default=True,
            help="auto keeps the source's family, in software; hardware does too, in a chip where one answers.",
        ),
        click.option("--preset", default=None, help="The encoder's own word, for example veryfast or slow."),
        click.option("--crf", type=Number(0), default=None, help="Quality: smaller is better and larger."),
        click.option("--deinterlace", is_flag=True, help="Interlaced video in, progressive video out."),
        click.option(
            "--omit",
            type=int,
            multiple=True,
            metavar="NUMBER",
            help="Leave this track of the source out; may be repeated.",
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Go on with what an earlier run of the same command, killed or interrupted, has finished.",
        ),
    )
    return _with_options(command, options)


def decoder_option(command: Command) -> Command:
    """What decodes a video: `--decoder`."""
    return click.option(
        "--decoder",
        type=click.Choice(DECODERS),
        default="auto",
        show_default=True,
        help="auto is software (with --device gpu: nvdec, where it takes the video); hardware is the first chip that "
        "does, else software, and says so. A chip that is named is used, or the command fails. Of the chips only "
        "NVDEC has been tried.",
    )(command)


ENCODING = ("encoder", "preset", "crf", "deinterlace", "resume")
"""What has no meaning where nothing is encoded."""
OF_VIDEOS = (*ENCODING, "decoder", "omit", "soft", "lookahead", "two_pass", "every_frame")
"""What has no meaning for a photo."""


def refuse(context: click.Context, names: Iterable[str], where: str) -> None:
    """Raise `UsageError` if an option that would be ignored was given.

    Args:
        context: of the command.
        names: parameters; those that the command does not have do not matter.
        where: how the message goes on: "--crf would do nothing …".
    """
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        spelt = {parameter.name: parameter.opts[0] for parameter in context.command.params}
        raise UsageError(f"{', '.join(spelt[name] for name in given)} would do nothing {where}; leave it out")


def _with_options(command: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    for option in reversed(tuple(options)):
        command = option(command)
    return command
