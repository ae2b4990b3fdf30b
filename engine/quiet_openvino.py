"""OpenVINO, imported so that nothing leaves this machine: the one place that imports it.

Its converters of other formats count every import and send that home; they are left out.

    from engine.quiet_openvino import ov
"""

from __future__ import annotations

from engine.errors import MissingError
from engine.lazy import without

try:
    with without("openvino.tools.ovc"):
        import openvino as ov
except ImportError as error:  # installed, but a library that it needs is not
    raise MissingError(f"openvino cannot be loaded ({error}); use --backend onnxruntime") from error

__all__ = ["ov"]
