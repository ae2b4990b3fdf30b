"""The state of a training, saved so that a run that was killed goes on as if nothing had happened.

A checkpoint is one `.npz` file: every variable of the network, its average and the optimiser, and a small JSON record
(step, position in the data, state of the random generator). It is written beside its name, flushed and renamed, so a
full disk or a kill at any moment leaves the last good checkpoint as it was.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, OutputError
from train.output import write_arrays

_RECORD = "record"
_VERSION = 1


def no_checkpoint(path: Path) -> InputError:
    """What to say where there is none to go on from."""
    return InputError(f"there is no checkpoint {path}; start without --resume")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint file holds."""

    arrays: dict[str, tuple[NDArray[Any], ...]]
    """For each part (`network`, `optimizer`, …) its variables in order."""
    record: dict[str, Any]
    """Step, position, random state: whatever was given to `save`, as JSON gives it back."""


def values(variables: Sequence[Any]) -> tuple[NDArray[Any], ...]:
    """The contents of Keras or TensorFlow `variables`, in order."""
    return tuple(np.asarray(v.numpy()) for v in variables)


def assign(variables: Sequence[Any], arrays: Sequence[NDArray[Any]]) -> None:
    """Write `arrays` into Keras or TensorFlow `variables`, in order.

    Raises:
        InputError: number or shapes do not agree.
    """
    if [tuple(v.shape) for v in variables] != [a.shape for a in arrays]:
        raise InputError("the checkpoint holds a network of another form; start without --resume, or in another folder")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def save(path: Path, architecture: str, parts: Mapping[str, Sequence[Any]], record: Mapping[str, Any]) -> None:
    """Write a checkpoint to `path`, replacing an older one only when complete.

    Args:
        path: the file.
        architecture: names the network and the optimiser; `load` refuses another one.
        parts: for each part its variables (Keras, TensorFlow) or arrays, in order.
        record: anything JSON can hold.

    Raises:
        OutputError: the file cannot be written; what was there before is untouched.
    """
    arrays = {
        f"{part}/{index:04d}": np.asarray(v.numpy() if hasattr(v, "numpy") else v)
        for part, variables in parts.items()
        for index, v in enumerate(variables)
    }
    text = json.dumps({"version": _VERSION, "architecture": architecture, "record": dict(record)})
    try:
        write_arrays(path, **{_RECORD: np.array(text)}, **arrays)
    except OutputError as error:
        raise OutputError(f"{error}; the older checkpoint, if any, is untouched") from error


def load(path: Path, architecture: str) -> Checkpoint:
    """Read the checkpoint at `path`.

    Raises:
        InputError: it is missing or damaged, or belongs to another architecture.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(str(file[_RECORD]))
            arrays: dict[str, list[NDArray[Any]]] = {}
            for key in sorted(k for k in file.files if k != _RECORD):
                arrays.setdefault(key.rpartition("/")[0], []).append(file[key])
    except FileNotFoundError:
        raise no_checkpoint(path) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no whole checkpoint ({error}); delete it and start afresh") from error
    if head.get("version") != _VERSION:
        raise InputError(
            f"{path} has checkpoint version {head.get('version')}, this program reads {_VERSION}; start afresh"
        )
    if head["architecture"] != architecture:
        raise InputError(
            f"{path} belongs to another network: it holds {head['architecture']!r}, the recipe is {architecture!r}; "
            "give the recipe of the checkpoint or another folder"
        )
    return Checkpoint({part: tuple(a) for part, a in arrays.items()}, head["record"])


class Kept:
    """What is trained, as its checkpoints hold it: the variables of `parts` and the step that it has come to."""

    step: int
    """Steps done."""

    @property
    def architecture(self) -> str:
        """What a checkpoint must have been made with."""
        raise NotImplementedError

    def parts(self) -> dict[str, Sequence[Any]]:
        """All variables by part, in order."""
        raise NotImplementedError

    def save(self, path: Path, record: Mapping[str, Any]) -> None:
        """Write a checkpoint with `record` beside the step.

        Raises:
            OutputError: as `save` of this module.
        """
        save(path, self.architecture, self.parts(), {"step": self.step, **record})

    def load(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint; gives back its record.

        Raises:
            InputError: there is none, or it is damaged, or of another architecture.
        """
        stored = load(path, self.architecture)
        for part, variables in self.parts().items():
            assign(variables, stored.arrays[part])
        self.step = int(stored.record["step"])
        return stored.record
