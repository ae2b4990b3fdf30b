"""The detector in less than 32 bits: INT8 by static quantisation, and bfloat16 where the CPU has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.detector import Detector
from engine.errors import InputError
from engine.letterbox import Letterbox, letterbox
from engine.modelfile import ModelFile
from engine.openvino_session import OpenVINOSession, has_bf16
from train.data.boxes import Picture
from train.onnx_file import write_onnx
from train.quantize import quantize

KINDS = ("Conv", "MaxPool", "Relu")
"""What is computed in integers; a ReLU, so that no range is spent on what it cuts off, and maxima, so that they
stand between integers where their neighbours do."""
CALIBRATION = 60
"""Pictures that the ranges of the activations are taken from."""


def quantize_detector(
    source: Path,
    pictures: Sequence[Picture],
    target: Path,
    *,
    size: int = 640,
    count: int = CALIBRATION,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Write `source` with INT8 convolutions (weights per channel) to `target`, `NAME.sha256` beside it.

    Static quantisation of ONNX Runtime, as Q/DQ nodes: OpenVINO and ONNX Runtime both run it, and the file's facts
    (`iznet.threshold` …) are kept, with `iznet.precision=int8` added.

    Args:
        source: a detector that `engine` takes, in f32.
        pictures: to calibrate on, `count` of them evenly spread; from the training part, never those of a final figure.
        target: the file, written when complete.
        size: longer side in pixels that they are scaled to.
        count: how many are used.
        progress: told (pictures done, pictures in all).

    Returns:
        The checksum.

    Raises:
        InputError: `source` is no detector, or there is no picture.
        OutputError: `target` cannot be written.
    """
    file = ModelFile.read(source, "detector")
    if any(node.op_type == "QuantizeLinear" for node in onnx.load(source).graph.node):
        raise InputError(f"{source}: is quantised already; give the network in f32 that it was made from")
    if not pictures:
        raise InputError(f"{source}: no pictures to calibrate on; give a box set with --data")
    multiple = max(int(word) for word in file.metadata["iznet.strides"].split(","))
    chosen = [pictures[i] for i in np.unique(np.linspace(0, len(pictures) - 1, count).astype(int))]

    def pictures_to_go() -> Iterator[NDArray[np.uint8]]:
        for number, picture in enumerate(chosen):
            box = Letterbox.fit(picture.rgb.shape[1], picture.rgb.shape[0], size, multiple)
            yield letterbox(picture.rgb, box)[None]
            if progress is not None:
                progress(number + 1, len(chosen))

    integers = quantize(source, pictures_to_go(), kinds=KINDS, floats=_last_convolutions, whole_depthwise=True)
    return write_onnx(integers, target, {**file.metadata, "iznet.precision": "int8"})


def _last_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions behind the last ReLUs, if there are any: what they answer, scores, boxes and points,
    stays in f32."""
    if not any(node.op_type == "Relu" for node in model.graph.node):
        return []
    made_by = {name: node for node in model.graph.node for name in node.output}
    ahead, found = [output.name for output in model.graph.output], set()
    while ahead:
        node = made_by.pop(ahead.pop(), None)
        if node is not None and node.op_type != "Relu":
            ahead += node.input
            found |= {node.name} if node.op_type == "Conv" else set()
    return sorted(found)


class SimulatedBfloat16(OpenVINOSession):
    """A session that rounds to bfloat16 as CPUs with that arithmetic do, on one that has none: for accuracy only.

    OpenVINO simulates it where the CPU has AVX-512. `open_session` refuses it, rightly: it gains no time.
    """

    def __init__(self, model: ModelFile, threads: int | None = 1) -> None:
        super().__init__(model, "f32", threads)
        self._properties = {**self._properties, "INFERENCE_PRECISION_HINT": "bf16"}
        self.precision = str(self._compile(None).get_property("INFERENCE_PRECISION_HINT").to_string())


def bfloat16_detector(path: Path) -> tuple[Detector, bool] | None:
    """The detector in bfloat16, and whether the CPU really has it; None where it cannot even be simulated."""
    if has_bf16():
        return Detector.open(path, backend="openvino", threads=1, precision="bf16"), True
    session = SimulatedBfloat16(ModelFile.read(path, "detector"))
    if session.precision != "bf16":
        session.close()
        return None
    return Detector(session), False
