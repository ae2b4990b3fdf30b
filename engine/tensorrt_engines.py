"""From a network file to a session on the GPU: the kept engine where it fits, a new one, checked, where none does."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.cuda_device import CudaDevice, open_device
from engine.engine_cache import Engine, EngineCache, EngineKey
from engine.errors import InputError, MissingError
from engine.modelfile import ModelFile
from engine.onnx_session import OnnxSession
from engine.runtime import Precision
from engine.tensorrt_accuracy import EXACT, QUANTISED, Accuracy, Pictures, measure
from engine.tensorrt_build import BuildOptions, Progress, build_plan
from engine.tensorrt_library import load
from engine.tensorrt_precision import GpuPrecision
from engine.tensorrt_profile import USUAL_SIZE, Profile, default_profiles
from engine.tensorrt_session import TensorRTSession

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Built:
    """What building an engine came to."""

    engine: Engine
    accuracy: Accuracy | None
    """None where the engine was there already."""
    seconds: float


def open_engine(model: ModelFile, precision: Precision = "auto", size: int = USUAL_SIZE) -> TensorRTSession:
    """A network on the GPU. The first time, and whenever what it depends on has changed, its engine is built, which
    takes minutes and is said on the log.

    Args:
        model: a detector or an embedder.
        precision: `auto` is f16, also where the network was quantised: a CPU's integers fit a GPU badly.
        size: pixels of the longer side of the pictures that a detector gets.

    Raises:
        MissingError: there is no GPU that networks can run on, or not in this precision.
        InputError: the network cannot be run, or not accurately enough.
    """
    kind = gpu_precision(precision)
    device = open_device()
    built = build_engine(model, kind, default_profiles(model, size), device=device, size=size)
    return TensorRTSession(model, built.engine, device)


def build_engine(
    model: ModelFile,
    precision: GpuPrecision,
    profiles: Sequence[Profile],
    options: BuildOptions | None = None,
    pictures: Pictures | None = None,
    progress: Progress | None = None,
    *,
    device: CudaDevice | None = None,
    rebuild: bool = False,
    size: int = USUAL_SIZE,
) -> Built:
    """The engine of a network: the kept one, or a new one that has been checked.

    Args:
        model: the network.
        precision: its arithmetic.
        profiles: the sizes that it takes.
        options: of the builder; None takes a kept engine whatever it was built with, and builds with the defaults.
        pictures: uint8 `[H,W,3]` RGB with faces, to check it with; see `engine.tensorrt_accuracy.measure`.
        progress: told how far the builder is.
        device: None opens the GPU.
        rebuild: whether a kept one is built all the same.
        size: pixels of the longer side that a detector is checked with.

    Raises:
        MissingError: there is no GPU that networks can run on.
        InputError: the network cannot be run, or the engine says something else than it, beyond
            `engine.tensorrt_accuracy.EXACT` or `QUANTISED`; nothing is kept then.
    """
    device = device or open_device()
    key = EngineKey.of(model, precision, profiles, device.info, load(), options)
    cache, any_options = EngineCache.open(), options is None
    if not rebuild and (engine := cache.find(key, any_options)) is not None:
        return Built(engine, None, 0.0)
    with cache.building():
        # Another process may have built it while this one waited.
        if not rebuild and (engine := cache.find(key, any_options)) is not None:
            return Built(engine, None, 0.0)
        why = cache.stale(key, any_options)
        log.warning(
            "building the engine of %s in %s for the %s%s; this takes a few minutes and is done once",
            *(model.name, precision, device.info.name, f", because {why}" if why else ""),
        )
        started = time.perf_counter()
        plan = build_plan(model, precision, profiles, device, options, cache.timings, progress)
        accuracy = _checked(model, Engine(plan, key.profiles, precision), device, pictures, size)
        seconds = time.perf_counter() - started
        facts = {"accuracy": accuracy.as_dict(), "seconds": round(seconds, 1), "through": device.package}
        return Built(cache.store(key, model.name, plan, facts), accuracy, seconds)


def gpu_precision(precision: Precision) -> GpuPrecision:
    """What a precision means on a GPU.

    Raises:
        MissingError: GPUs do not compute in it here.
    """
    if precision == "bf16":
        raise MissingError("precision bf16: on a GPU networks run in f32, f16 or int8; use --precision auto")
    return "f16" if precision == "auto" else precision


def _checked(model: ModelFile, engine: Engine, device: CudaDevice, pictures: Pictures | None, size: int) -> Accuracy:
    session, reference = TensorRTSession(model, engine, device), OnnxSession(model)
    try:
        accuracy = measure(session, reference, pictures, size)
    finally:
        session.close()
        reference.close()
    if offences := accuracy.offences(QUANTISED if model.integer else EXACT):
        raise InputError(
            f"{model.path}: its engine in {engine.precision} is refused: {'; '.join(offences)} ({accuracy}); "
            f"{'use --precision f32' if engine.precision != 'f32' else 'keep to --device cpu, and report this'}"
        )
    return accuracy
