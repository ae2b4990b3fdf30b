"""What a detector costs: parameters and multiply-adds from its file, and time next to others, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import InputError

HEIGHT, WIDTH = 384, 640
_WEIGHTED = {
    "Convolution": 1,
    "GroupConvolution": 1,
    "ConvolutionBackpropData": 1,
    "GroupConvolutionBackpropData": 1,
    "MatMul": 1,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one network for one picture of 640 × 384."""

    parameters: int
    multiply_adds: int

    def row(self) -> dict[str, float]:
        """Millions of parameters, and G floating-point operations (two for each multiply-add)."""
        return {"parameters_m": round(self.parameters / 1e6, 3), "gflop": round(2 * self.multiply_adds / 1e9, 3)}


def _read(path: Path) -> Any:
    from engine.quiet_openvino import core

    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise InputError(f"{path}: OpenVINO cannot read this network ({str(error).splitlines()[-1]})") from None


def _reshaped(path: Path, height: int, width: int) -> Any:
    """The network for one picture of that size, whichever order its input has."""
    network = _read(path)
    channels_last = network.inputs[0].partial_shape[3] == 3
    try:
        network.reshape([1, height, width, 3] if channels_last else [1, 3, height, width])
    except RuntimeError as error:
        raise InputError(f"{path}: takes no picture of {width}×{height} ({str(error).splitlines()[-1]})") from None
    return network


def cost_of(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Cost:
    """Count the multiply-adds of all convolutions and matrix products, and the numbers in constants they read.

    Raises:
        InputError: the network cannot be read, or takes no picture of this size.
    """
    multiply_adds = parameters = 0
    for node in _reshaped(path, height, width).get_ops():
        kind = node.get_type_name()
        if kind == "Constant" and node.get_element_type().is_real() and np.prod(node.get_output_shape(0)) > 1:
            parameters += int(np.prod(node.get_output_shape(0)))
        if kind not in _WEIGHTED:
            continue
        out, weights = node.get_output_shape(0), node.get_input_shape(1)
        if kind == "MatMul":
            multiply_adds += int(np.prod(out)) * int(node.get_input_shape(0)[-1])
        elif kind.endswith("BackpropData"):
            multiply_adds += int(np.prod(node.get_input_shape(0)[2:])) * int(np.prod(weights))
        else:
            multiply_adds += int(np.prod(out[2:])) * int(np.prod(weights))
    return Cost(parameters, multiply_adds)


def openvino_runner(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Callable[[], None]:
    """A function that runs the network once on one picture of noise: OpenVINO, f32 or as the file says, one thread."""
    from engine.quiet_openvino import core

    properties = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(_reshaped(path, height, width), "CPU", properties).create_infer_request()
    request.get_input_tensor().data[...] = np.random.default_rng(0).integers(
        0, 256, request.get_input_tensor().shape, np.uint8
    )
    return request.infer  # type: ignore[no-any-return]


def onnxruntime_runner(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Callable[[], None]:
    """The same on ONNX Runtime.

    Raises:
        InputError: the file has a fixed size, and another one.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    shape = (1, height, width, 3) if spec.shape[3] == 3 else (1, 3, height, width)
    if any(isinstance(have, int) and have != want for have, want in zip(spec.shape, shape, strict=True)):
        raise InputError(f"{path}: takes {spec.shape} only")
    dtype = np.uint8 if spec.type == "tensor(uint8)" else np.float32
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8).astype(dtype)
    return lambda: session.run(None, {spec.name: picture})


def time_in_turns(
    runners: Mapping[str, Callable[[], Any]],
    base: str,
    rounds: int = 40,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, dict[str, float]]:
    """Let all run once a round, in turns that start at another one each round.

    Returns:
        For each its median milliseconds and the median, over rounds, of its time against that of `base` in the same
        round: what a busy neighbour does in a round, it does to all of them. The clock counts this process's CPU.
    """
    names = list(runners)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        runners[name]()  # the first run allocates
    for turn in range(rounds):
        for k in range(len(names)):
            name = names[(turn + k) % len(names)]
            begun = clock()
            runners[name]()
            taken[name].append(clock() - begun)
    return {
        name: {
            "ms": round(1000 * statistics.median(times), 3),
            "ratio": round(statistics.median(a / b for a, b in zip(times, taken[base], strict=True)), 3),
        }
        for name, times in taken.items()
    }
