"""One process of several that want the same engine at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine.engine_cache import EngineCache
from engine.output_file import is_temporary
from engine.runtime import open_session
from tests.engine.tensorrt.double.install import installed
from tests.engine.tensorrt.double.machine import Machine


def want_engine(network: Path, caches: Path, start: Any, inside: Any, locked: bool, answers: Any) -> None:
    """Open a network as another process would, and tell how many engines were built here.

    Args:
        network: an ONNX file.
        caches: where all the processes keep their engines.
        start: a barrier that all pass before they look for the engine.
        inside: None, or a barrier in the middle of building that only all of them together can pass.
        locked: whether they keep out of each other's way.
        answers: a queue that is given (engines built, path of the engine), or the words of an exception.
    """
    try:
        with contextlib.ExitStack() as stack:
            machine = stack.enter_context(installed(Machine(), "pycuda", caches))
            if not locked:
                stack.enter_context(patch.object(EngineCache, "building", _nobody_waits))
            if inside is not None:
                from engine import tensorrt_engines
                from engine.tensorrt_build import build_plan

                def meet(*arguments: Any) -> bytes:
                    inside.wait()
                    return build_plan(*arguments)

                stack.enter_context(patch.object(tensorrt_engines, "build_plan", meet))
            start.wait()
            session = open_session(network, "gpu", precision="f32", size=128)
            session.close()
            machine.settled()
            # What the other one is still writing lies there too, under a name that is not its own yet.
            (kept,) = (path for path in (caches / "iznet" / "tensorrt").glob("*.plan") if not is_temporary(path))
            answers.put((machine.builds, str(kept)))
    except BaseException as error:
        answers.put(f"{type(error).__name__}: {error}")
        raise


@contextlib.contextmanager
def _nobody_waits(cache: EngineCache) -> Iterator[None]:
    yield
