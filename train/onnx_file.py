"""An ONNX network as a file: the facts about it inside, its checksum beside it, and nothing that proved wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx

from train.output import replaced, write_whole


def write_onnx(model: Any, path: Path, metadata: Mapping[str, str], check: Callable[[Path], None] | None = None) -> str:
    """Write an ONNX `model` to `path` and `NAME.sha256` beside it; returns the checksum.

    The same model and metadata give the same bytes: nothing in them tells what made it.

    Args:
        model: changed in place.
        path: the file.
        metadata: stored as `metadata_props` instead of what the model has there, for example `iznet.kind`.
        check: is given the file before it takes its place, which it does not where this raises.

    Raises:
        OutputError: `path` cannot be written.
    """
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    model.producer_name, model.producer_version = "iznet", ""
    model.graph.doc_string = ""
    model.graph.name = metadata.get("iznet.kind", "network")
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    with replaced(path) as temporary:
        temporary.write_bytes(data)
        if check is not None:
            check(temporary)
    digest = hashlib.sha256(data).hexdigest()
    write_whole(path.with_suffix(".sha256"), f"{digest}  {path.name}\n")
    return digest
