"""What can go wrong, and the exit code each kind of failure ends the command line with.

Every message names the offending value or file and says what to do about it. Anything that is not an
`IznetError` is a bug and ends with exit code 1.
"""

from __future__ import annotations

from typing import ClassVar


class IznetError(Exception):
    """Base of every error that a user can cause or cure."""

    exit_code: ClassVar[int] = 1


class UsageError(IznetError):
    """An argument or option that cannot be meant: malformed, at odds with another one, or asking a sound file for
    somebody or something that is not in it."""

    exit_code = 2


class InputError(IznetError):
    """A file that is missing, cannot be read as what it should be, or does not belong to another one."""

    exit_code = 3


class MissingError(IznetError):
    """A device, backend, encoder or library that was asked for and is not here."""

    exit_code = 4


class OutputError(IznetError):
    """A file that cannot be written: it exists, the folder is missing, the disk is full."""

    exit_code = 5


class PartialError(IznetError):
    """A batch of which some items failed; the others are done."""

    exit_code = 6


class InterruptedByUser(IznetError):
    """Ctrl-C or SIGTERM; what was finished has been kept."""

    exit_code = 130
