"""OpenVINO, imported so that nothing leaves this machine: the one place that imports it, and that makes a core.

Its converters of other formats count every import and send that home; they are left out.

    from engine.quiet_openvino import core
"""

from __future__ import annotations

from engine.errors import MissingError
from engine.lazy import without

try:
    with without("openvino.tools.ovc"):
        import openvino as ov
except ImportError as error:  # installed, but a library that it needs is not
    raise MissingError(f"openvino cannot be loaded ({error}); use --backend onnxruntime") from error

__all__ = ["core", "ov"]

core = ov.Core()
"""The one core of this process, which holds the loaded plugins.

Each core's CPU plugin gives the thread that loads it another stack for signals, and puts back the one before when it
goes. Of two that go in the order in which they came, the second puts back the first one's, which is no more: the next
Ctrl-C is a segmentation fault.
"""
