"""Networks as OpenVINO has compiled them, kept on disk: importing one takes half as long as compiling it anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from engine.cachefolder import cache_folder, keep, kept
from engine.modelfile import ModelFile
from engine.runtime import TensorSpec

Shapes = tuple[tuple[int, ...], ...]
"""Of all inputs."""
Specs = tuple[TensorSpec, ...]


class OpenVINOCache:
    """What is kept of one network, compiled with these properties by this version of OpenVINO.

    A file starts with a line about the inputs and outputs, so that a network which is kept need not be read at all.
    """

    def __init__(self, model: ModelFile, properties: Mapping[str, Any], version: str) -> None:
        about = json.dumps([model.sha256, dict(properties), version], sort_keys=True)
        self._stem = hashlib.sha256(about.encode()).hexdigest()[:32]

    def specs(self) -> tuple[Specs, Specs] | None:
        """The inputs and outputs before any shape is fixed, if anything is kept."""
        folder = cache_folder("openvino")
        for path in folder.glob(f"{self._stem}.*") if folder else ():
            with suppress(OSError, ValueError, TypeError), path.open("rb") as file:
                file.readline()  # the checksum
                inputs, outputs = json.loads(file.readline(1 << 16))
                return _specs(inputs), _specs(outputs)
        return None

    def load(self, shapes: Shapes) -> bytes | None:
        """The network compiled for inputs of these shapes, for `ov.Core.import_model`."""
        path = self._path(shapes)
        data = kept(path) if path else None
        return data.partition(b"\n")[2] if data else None

    def save(self, shapes: Shapes, inputs: Specs, outputs: Specs, blob: bytes) -> None:
        """Keep what `export_model` gave, if there is a place for it."""
        path = self._path(shapes)
        if path:
            keep(path, json.dumps([_plain(inputs), _plain(outputs)]).encode() + b"\n" + blob)

    def _path(self, shapes: Shapes) -> Path | None:
        folder = cache_folder("openvino")
        return folder / f"{self._stem}.{'_'.join('x'.join(map(str, shape)) for shape in shapes)}" if folder else None


def _plain(specs: Specs) -> list[Any]:
    return [[spec.name, spec.dtype.str, spec.shape] for spec in specs]


def _specs(plain: list[Any]) -> Specs:
    return tuple(TensorSpec(name, np.dtype(dtype), tuple(shape)) for name, dtype, shape in plain)
