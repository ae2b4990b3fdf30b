"""TensorRT itself: a version that this package speaks to, and what it complains of kept for error messages."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

from engine.errors import MissingError
from engine.wording import install

if TYPE_CHECKING:
    import tensorrt

LEAST_VERSION = 11
"""The first major version with networks typed by themselves alone; what is called here does not exist before."""


def load() -> str:
    """Load TensorRT; its version.

    Raises:
        MissingError: it cannot be loaded, or is too old.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError, RuntimeError) as error:  # a library of it that is missing, or one for another CUDA
        raise MissingError(f"TensorRT cannot be loaded ({error}); {install('gpu-wheels')}") from error
    check_version(trt.__version__)
    return trt.__version__


def check_version(version: str) -> None:
    """Whether a version of TensorRT will do.

    Raises:
        MissingError: it is too old.
    """
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < LEAST_VERSION:
        raise MissingError(f"TensorRT {version} is too old; pip install 'tensorrt>={LEAST_VERSION}'")


@cache
def logger() -> tensorrt.ILogger:
    """TensorRT's one logger in this process; it has to outlive all that was made with it.

    Errors are kept, by thread, for the exception that follows; the rest is dropped.
    """
    import tensorrt as trt

    serious = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in serious:
                _said.errors = [*getattr(_said, "errors", []), msg][-3:]

    return Logger()


def complaint() -> str:
    """What TensorRT last complained of on this thread, which is forgotten thereby."""
    errors: list[str] = getattr(_said, "errors", [])
    _said.errors = []
    return "; ".join(errors) or "it gave no reason"


_said = threading.local()
