"""The command line `iznet`, one file a command. No logic lives here beyond reading arguments and printing."""

from importlib import metadata


def version() -> str:
    """The installed version of the package, for example `0.1.0`."""
    try:
        return metadata.version("iznet")
    except metadata.PackageNotFoundError:
        return "0+not.installed"
