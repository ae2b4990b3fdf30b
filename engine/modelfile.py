"""A network file: what it is, told from its own bytes, before any runtime opens it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import InputError, MissingError

SHIPPED = Path(__file__).resolve().parent / "models"
"""Where the networks that come with the project lie."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX file's place, fingerprint and own words about itself.

    Example:
        >>> ModelFile.read(SHIPPED / "detector.onnx", kind="detector").metadata["iznet.strides"]  # doctest: +SKIP
        '8,16,32'
    """

    path: Path
    sha256: str
    """64 hexadecimal digits."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The file's `metadata_props`."""

    @property
    def name(self) -> str:
        """What the network calls itself, else the file's name."""
        return self.metadata.get("iznet.name") or self.path.stem

    @property
    def integer(self) -> bool:
        """Whether it computes in 8-bit integers, as the metadata's `iznet.precision` says."""
        return self.metadata.get("iznet.precision") == "int8"

    @classmethod
    def shipped(cls, kind: str, variant: str = "") -> ModelFile:
        """The network of that kind that comes with the project; `variant` is what stands before its ending, as in
        `detector.int8.onnx`.

        Raises:
            MissingError: it is not there, which means that the installation is incomplete.
            InputError: it is damaged.
        """
        path = SHIPPED / (f"{kind}.{variant}.onnx" if variant else f"{kind}.onnx")
        if not path.is_file():
            raise MissingError(
                f"{path}: the {kind} network that comes with IZ*Net is missing; install the package again, "
                f"or name one of your own with --{kind} FILE.onnx"
            )
        return cls.read(path, kind)

    @classmethod
    def read(cls, path: Path | str, kind: str | None = None) -> ModelFile:
        """Read and check an ONNX file.

        Args:
            path: the file. Where `NAME.sha256` lies beside `NAME.onnx`, the contents must agree with it.
            kind: what the metadata's `iznet.kind` must be; None accepts any ONNX file.

        Raises:
            InputError: missing, unreadable, not ONNX, truncated, another kind, or not what its checksum says.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; name an ONNX network") from None
        except IsADirectoryError:
            raise InputError(f"{path}: is a folder; name the .onnx file inside it") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        digest = hashlib.sha256(data).hexdigest()
        _check_sum(path, digest)
        try:
            metadata = _metadata(data)
        except ValueError as error:
            raise InputError(f"{path}: not an ONNX network, or a damaged one ({error})") from None
        if kind is not None and metadata.get("iznet.kind") != kind:
            found = metadata.get("iznet.kind")
            raise InputError(
                f"{path}: {f'a network of kind {found!r}' if found else 'says nothing about what it is'}; "
                f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} carries the metadata iznet.kind={kind}"
            )
        return cls(path, digest, metadata)

    def number(self, key: str, default: float | None = None) -> float:
        """A number in the metadata; `default` where the file does not say.

        Raises:
            InputError: it is no number, or missing without a default.
        """
        if default is not None and key not in self.metadata:
            return default
        text = self.metadata.get(key, "")
        try:
            return float(text)
        except ValueError:
            raise InputError(
                f"{self.path}: the metadata {key} is {text!r}; it should be a number such as 0.5"
            ) from None


def _check_sum(path: Path, digest: str) -> None:
    beside = path.with_suffix(".sha256")
    if not beside.is_file():
        return
    words = beside.read_text("utf-8", "replace").split()
    if not words or words[0].lower() != digest:
        raise InputError(
            f"{path}: its SHA-256 is {digest[:16]}…, but {beside.name} says {(words or ['nothing'])[0][:16]}…; "
            "the file is damaged or was replaced: install it again, or renew the checksum with sha256sum"
        )


# An ONNX file is a protobuf message, ModelProto (onnx.proto): 1 ir_version, 7 graph, 14 metadata_props, which are
# StringStringEntryProto: 1 key, 2 value. Reading these few fields here keeps the `onnx` package out of the runtime
# and gives the same answer whichever backend runs the network.
_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14


def _metadata(data: bytes) -> dict[str, str]:
    metadata: dict[str, str] = {}
    seen = set()
    for number, value in _fields(memoryview(data)):
        seen.add(number)
        if number == _METADATA and isinstance(value, memoryview):
            entry = {k: bytes(v).decode("utf-8", "replace") for k, v in _fields(value) if isinstance(v, memoryview)}
            metadata[entry.get(1, "")] = entry.get(2, "")
    if not {_IR_VERSION, _GRAPH} <= seen:
        raise ValueError("no graph in it")
    return metadata


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one protobuf message: numbers and raw values (integers, or bytes for everything longer)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown field at byte {at}")
        if at + size > len(data):
            raise ValueError("it ends too early")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("it ends too early")
        if shift > 63:
            raise ValueError(f"unknown field at byte {at}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
