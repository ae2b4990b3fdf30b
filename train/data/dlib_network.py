"""Reading the face recognition network of dlib from its own file format.

dlib writes a network as a chain of objects: integers of variable length (a control byte with sign and size, then the
bytes, little-endian), floating-point numbers as mantissa and exponent, strings with their length, and tensors as four
sizes and raw 32-bit floats. The outer layers write their version numbers first, one around the other; then come the
input layer and the layers from the picture to the embedding, each with its name, its settings and its parameters.

Source: the `serialize` functions of dlib's `serialize.h`, `dnn/core.h` and `dnn/layers.h` (Boost licence). The weights
that this reader is made for (`dlib_face_recognition_resnet_model_v1.dat`, D. E. King) are in the public domain (CC0).
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, MissingError

WEIGHTS = "models/dlib_face_recognition_resnet_model_v1.dat"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution and the affine map after it: `gain · (x * kernel + bias) + shift`."""

    kernel: NDArray[np.float32]
    """`[H,W,I,O]`"""
    bias: NDArray[np.float32]
    """`[O]`"""
    gain: NDArray[np.float32]
    """`[O]`"""
    shift: NDArray[np.float32]
    """`[O]`"""
    stride: int
    """In pixels, the same down and across."""
    padding: int
    """Pixels of zeros around the picture."""


@dataclass(frozen=True, slots=True)
class DlibNetwork:
    """Everything that the file says about the network."""

    side: int
    """Side of the picture it was trained on, in pixels."""
    mean: tuple[float, float, float]
    """Taken off red, green and blue (0…255) before they are divided by 256."""
    convolutions: tuple[Convolution, ...]
    """From the picture on."""
    dense: NDArray[np.float32]
    """`[I,O]`, no bias."""
    layers: tuple[str, ...]
    """The kind of every layer from the picture on, for example `con_4`."""


class _Reader:
    """A position in the file's bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise ValueError(f"it ends at byte {len(self.data)}, {self.at + count} are needed")
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self) -> int:
        control = self.take(1)[0]
        size = control & 0x0F
        if not 1 <= size <= 8 or control & 0x70:
            raise ValueError(f"byte {self.at - 1} ({control:#04x}) begins no integer")
        value = int.from_bytes(self.take(size), "little")
        return -value if control & 0x80 else value

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= 32000:
            raise ValueError(f"byte {self.at}: a number that is infinite or none")
        return math.ldexp(mantissa, exponent)

    def text(self) -> str:
        return self.take(self.integer()).decode("ascii")

    def expect(self, *allowed: int) -> int:
        value = self.integer()
        if value not in allowed:
            raise ValueError(f"byte {self.at}: {value} where only {allowed} can be read")
        return value

    def tensor(self) -> NDArray[np.float32]:
        self.expect(2)
        shape = self.integers(4)
        return np.frombuffer(self.take(4 * math.prod(shape)), "<f4").reshape(shape).astype(np.float32)

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def alias(self) -> tuple[int, ...]:
        """The shape of a part of a tensor."""
        self.expect(1)
        return tuple(self.integers(4))


def read_dlib_network(path: Path) -> DlibNetwork:
    """Read `dlib_face_recognition_resnet_model_v1.dat` or another network of the same kinds of layer.

    Raises:
        InputError: the file is missing, damaged, or holds a layer that is not known here.
    """
    try:
        reader = _Reader(path.read_bytes())
        return _network(reader)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}; give dlib's face recognition network") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} is no face recognition network of dlib: {error}; get a fresh copy") from error


def installed_weights() -> Path:
    """Where the package `face_recognition_models` keeps the weights, which are found without importing it.

    Raises:
        MissingError: it is not installed.
    """
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or found.origin is None:
        raise MissingError("dlib's weights are not here; install face_recognition_models or name the file")
    return Path(found.origin).parent / WEIGHTS


def _network(reader: _Reader) -> DlibNetwork:
    reader.expect(1)
    loss = reader.text()
    if loss != "loss_metric_2":
        raise ValueError(f"its loss is {loss!r}, not loss_metric_2")
    reader.real()
    reader.real()
    name = b"input_rgb_image_sized"
    while reader.data[reader.at : reader.at + 2 + len(name)] != bytes([1, len(name)]) + name:
        reader.expect(1, 2, 3)
    reader.text()
    mean = (reader.real(), reader.real(), reader.real())
    rows, columns = reader.integers(2)
    if rows != columns:
        raise ValueError(f"it takes pictures of {columns}×{rows} px, not square ones")
    return _Layers(reader).read(rows, mean)


class _Layers:
    """The layers in the order of the file."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.kinds: list[str] = []
        self.convolutions: list[Convolution] = []
        self.dense: NDArray[np.float32] | None = None

    def read(self, side: int, mean: tuple[float, float, float]) -> DlibNetwork:
        while self.dense is None:
            self._layer()
            if len(self.kinds) == 1:
                self.reader.expect(1)  # the first layer also says how many pictures one sample becomes
        return DlibNetwork(side, mean, tuple(self.convolutions), self.dense, tuple(self.kinds))

    def _layer(self) -> None:
        r = self.reader
        kind = r.text()
        match kind:
            case "con_4":
                self._convolution()
            case "affine_":
                self._affine()
            case "max_pool_2" | "avg_pool_2":
                r.integers(6)
            case "fc_2":
                self._dense()
            case "relu_" | "add_prev_":
                pass
            case _:
                raise ValueError(f"byte {r.at}: the layer {kind!r} is not known here")
        self.kinds.append(kind)
        r.take(3)  # whether it was set up, whether its gradient is stale, whether its output is hidden
        for _ in range(3):
            r.tensor()

    def _convolution(self) -> None:
        r = self.reader
        parameters = r.tensor().ravel()
        _, _, _, stride, across, padding, _ = r.integers(7)
        shape = r.alias()
        r.alias()
        for _ in range(4):
            r.real()
        if stride != across:
            raise ValueError(f"byte {r.at}: a convolution with strides {stride} and {across}")
        count = math.prod(shape)
        kernel, bias = parameters[:count].reshape(shape).transpose(2, 3, 1, 0), parameters[count:]
        if len(bias) != shape[0]:
            raise ValueError(f"byte {r.at}: {len(bias)} offsets for {shape[0]} filters")
        self.convolutions.append(
            Convolution(kernel, bias, np.ones(shape[0], np.float32), np.zeros(shape[0], np.float32), stride, padding)
        )

    def _affine(self) -> None:
        r = self.reader
        gain, shift = r.tensor().reshape(2, -1)
        r.alias()
        r.alias()
        r.expect(0)  # one gain per channel
        if not self.kinds or self.kinds[-1] != "con_4" or len(gain) != len(self.convolutions[-1].bias):
            raise ValueError(f"byte {r.at}: an affine layer that follows no convolution of its size")
        self.convolutions[-1] = replace(self.convolutions[-1], gain=gain, shift=shift)

    def _dense(self) -> None:
        r = self.reader
        outputs, inputs = r.integers(2)
        self.dense = r.tensor().reshape(inputs, outputs)
        r.alias()
        r.alias()
        r.expect(1)  # no bias
        for _ in range(4):
            r.real()
