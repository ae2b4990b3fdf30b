"""From an ONNX network to a TensorRT engine: types, sizes, timings kept from earlier builds, progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cuda_device import CudaDevice
from engine.errors import InputError, OutputError
from engine.modelfile import ModelFile
from engine.output_file import write_output
from engine.tensorrt_library import complaint, logger
from engine.tensorrt_precision import GpuPrecision, rewritten
from engine.tensorrt_profile import Profile

if TYPE_CHECKING:
    import tensorrt

log = logging.getLogger(__name__)
BEAT = 30.0
"""Seconds after which somebody who sees no progress is told that it goes on."""
Progress = Callable[[str, int, int], None]
"""Told (what is being done, steps done, steps in all); from any thread."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How long the builder looks for the fastest way, and how much memory that may take."""

    level: int = 3
    """TensorRT's optimisation level, 0 … 5: higher builds longer and may run faster."""
    workspace: int = 1024
    """MiB that one layer may use besides its tensors."""

    def as_dict(self) -> dict[str, int]:
        """Plain values for JSON."""
        return asdict(self)


def build_plan(
    model: ModelFile,
    precision: GpuPrecision,
    profiles: Sequence[Profile],
    device: CudaDevice,
    options: BuildOptions | None = None,
    timings: Path | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Build an engine for the GPU that is here.

    Args:
        model: the network.
        precision: its arithmetic.
        profiles: the sizes that it will take.
        device: whose GPU it is built on, and for.
        options: None takes the defaults.
        timings: a file that keeps how fast each layer was, which makes the next build quick; made if need be.
        progress: told how far it is; None says on the log now and then that it goes on.

    Returns:
        The plan: what `trtexec --loadEngine` reads.

    Raises:
        InputError: TensorRT cannot run the network; the message says where.
        KeyboardInterrupt: as usual; the builder stops at its next step.
    """
    source = rewritten(model, precision)
    monitor = _monitor(progress)

    def build() -> bytes | None:
        with device.current():
            plan = _built(model, source, precision, profiles, options or BuildOptions(), timings, monitor)
        if plan is None and monitor.failure is None:  # in this thread: by thread complaints are kept
            raise InputError(f"{model.path}: TensorRT cannot build an engine of it in {precision}: {complaint()}")
        return plan

    started = time.monotonic()

    def beat() -> None:
        if progress is None:
            log.warning("still building the engine of %s: %.0f s so far", model.name, time.monotonic() - started)

    plan = _aside(build, monitor, beat)
    if monitor.failure is not None:
        raise monitor.failure
    assert plan is not None
    return plan


def _aside(build: Callable[[], bytes | None], monitor: Any, beat: Callable[[], None]) -> bytes | None:
    """Build in a thread of its own. Ctrl-C reaches the main thread in whatever Python code it is in; were that TensorRT
    calling back, it would be printed, and lost.

    Args:
        build: gives the plan.
        monitor: ends it at its next step, where it has a `failure`.
        beat: called every `BEAT` seconds meanwhile.
    """
    with ThreadPoolExecutor(1, "tensorrt-build") as pool:
        future = pool.submit(build)
        while True:
            try:
                if wait([future], BEAT).done:
                    return future.result()
                beat()
            except KeyboardInterrupt as interrupt:
                if future.done():
                    raise
                monitor.failure = interrupt


def _built(
    model: ModelFile,
    source: bytes,
    precision: GpuPrecision,
    profiles: Sequence[Profile],
    options: BuildOptions,
    timings: Path | None,
    monitor: Any,
) -> bytes | None:
    """A function of its own, so that the builder and what belongs to it end while the context is still current."""
    import tensorrt as trt

    builder = trt.Builder(logger())
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger())
    if not parser.parse(source):
        errors = "; ".join(parser.get_error(n).desc() for n in range(parser.num_errors))
        raise InputError(f"{model.path}: TensorRT cannot read this network: {errors}")
    _check_inputs(model, network, profiles)
    config = builder.create_builder_config()
    config.builder_optimization_level = options.level
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    config.max_aux_streams = 0  # all of it on the one stream that the session waits for, and can capture
    if precision == "f32":
        config.clear_flag(trt.BuilderFlag.TF32)  # which has no more bits than f16
    for profile in profiles:
        made = builder.create_optimization_profile()
        made.set_shape(profile.name, profile.least, profile.usual, profile.most)
        if config.add_optimization_profile(made) < 0:
            raise InputError(f"{model.path}: TensorRT does not take the sizes {profile}: {complaint()}")
    config.progress_monitor = monitor
    cache = config.create_timing_cache(_read(timings))
    if cache is None or not config.set_timing_cache(cache, False):  # of another GPU or version: begin anew
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    plan = builder.build_serialized_network(network, config)
    if plan is not None and timings is not None:
        _write(timings, bytes(cache.serialize()))
    return None if plan is None else bytes(plan)


def _read(timings: Path | None) -> bytes:
    """What an earlier build has kept; nothing where it cannot be read, which costs time alone."""
    try:
        return timings.read_bytes() if timings is not None and timings.is_file() else b""
    except OSError as error:
        log.warning("the timings in %s cannot be read (%s); every layer is timed anew", timings, error.strerror)
        return b""


def _write(timings: Path, data: bytes) -> None:
    try:
        write_output(timings, data, overwrite=True)
    except OutputError as error:  # no reason to lose an engine that took minutes
        log.warning("the timings cannot be kept, so the next build takes longer (%s)", error)


def _check_inputs(model: ModelFile, network: tensorrt.INetworkDefinition, profiles: Sequence[Profile]) -> None:
    inputs = {network.get_input(n).name: tuple(network.get_input(n).shape) for n in range(network.num_inputs)}
    if len(inputs) != 1:
        raise InputError(f"{model.path}: has the inputs {', '.join(inputs)}; networks of one input run on a GPU")
    for profile in profiles:
        shape = inputs.get(profile.name)
        if shape is None or not _fits(shape, profile):
            have = ", ".join(f"{name} {'x'.join('?' if n < 0 else str(n) for n in s)}" for name, s in inputs.items())
            raise InputError(f"{model.path}: its input is {have}, which is not made for {profile}")


def _fits(shape: Sequence[int], profile: Profile) -> bool:
    """Whether a network's input of that shape, -1 where any size goes, can be made for a profile."""
    return len(shape) == len(profile.least) and all(
        n < 0 or n == least == most for n, least, most in zip(shape, profile.least, profile.most, strict=True)
    )


def _monitor(progress: Progress | None) -> Any:
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):
        """Reports the outermost phases: those inside come and go by the hundred."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.failure: BaseException | None = None
            self._steps: dict[str, int] = {}
            self._lock = threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                with self._lock:
                    self._steps[phase_name] = num_steps
                self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                self._tell(phase_name, step + 1)
            return self.failure is None

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self._steps:
                self._tell(phase_name, self._steps[phase_name])

        def _tell(self, phase: str, step: int) -> None:
            # An exception must not cross TensorRT, Ctrl-C's no more than another: it is kept, and ends the build.
            try:
                if progress is not None and self.failure is None:
                    progress(phase, step, self._steps[phase])
            except BaseException as failure:
                self.failure = failure

    return Monitor()
