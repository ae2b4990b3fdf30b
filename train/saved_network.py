"""Networks of earlier trainings, to be gone on from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from engine.errors import InputError


@contextmanager
def saved_network(path: Path, wanted: str) -> Iterator[keras.Model]:
    """The network of a `.keras` file, for a block that takes from it what it needs.

    Args:
        path: the file.
        wanted: what it should hold, for the error.

    Raises:
        InputError: there is no such file, it is damaged, or the block asks for what this network does not have.

    Example:
        >>> with saved_network(Path("embedder.keras"), "an embedder") as earlier:  # doctest: +SKIP
        ...     network.set_weights(earlier.get_weights())
    """
    try:
        yield keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not {wanted} ({error})") from error
