"""The tensors of a network in TensorFlow.js's format, as they were written; and files that are not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.tfjs_network import read_tfjs_weights

RNG = np.random.default_rng(0)
TENSORS: dict[str, NDArray[Any]] = {
    "conv/kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32),
    "shape": np.array([-1, 128], np.int32),
    "scalar": np.array(0.5, np.float32),
}


def written(folder: Path, *, parts: int = 1, **changes: Any) -> Path:
    """A network of `TENSORS` whose bytes are in so many files."""
    entries = [
        {"name": name, "shape": list(t.shape), "dtype": str(t.dtype)} | changes.get("entry", {})
        for name, t in TENSORS.items()
    ]
    tensors = TENSORS | ({"conv/kernel": changes["tensor"]} if "tensor" in changes else {})
    data = b"".join(t.tobytes() for t in tensors.values())[: changes.get("length")] + changes.get("rest", b"")
    names = [f"net-{n}.bin" for n in range(parts)]
    for n, name in enumerate(names):
        (folder / name).write_bytes(data[n * len(data) // parts : (n + 1) * len(data) // parts])
    path = folder / "net.json"
    path.write_text(json.dumps({"modelTopology": {}, "weightsManifest": [{"paths": names, "weights": entries}]}))
    return path


@pytest.mark.parametrize("parts", [1, 3])
def test_what_was_written_is_read(tmp_path: Path, parts: int) -> None:
    read = read_tfjs_weights(written(tmp_path, parts=parts))
    assert list(read) == list(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(read[name], tensor)
        assert read[name].dtype == np.float32
        assert read[name].shape == tensor.shape


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"length": 100}, "not a network that can be read"),
        ({"rest": b"\0" * 7}, "7 bytes are left over"),
        ({"entry": {"shape": [-1]}}, "-1 is no size"),
        ({"entry": {"shape": [10**30]}}, "not a network that can be read"),
        ({"tensor": np.full((3, 3, 2, 4), np.nan, np.float32)}, "conv/kernel holds what is no number"),
        ({"entry": {"dtype": "string"}}, "'string'"),
        ({"entry": {"quantization": {"dtype": "uint8"}}}, "conv/kernel is compressed"),
    ],
)
def test_a_damaged_network_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=rf"net\.json .*{problem}"):
        read_tfjs_weights(written(tmp_path, **changes))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "net-0.bin").unlink()
    with pytest.raises(InputError, match=r"net\.json cannot be read .*its \.bin beside it"):
        read_tfjs_weights(path)
    for text in ("", "[]", '{"weightsManifest": 3}', "{}"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"net\.json is not a network"):
            read_tfjs_weights(path)
