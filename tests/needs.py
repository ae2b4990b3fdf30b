"""What some tests need beside Python's packages: where it is missing they skip, saying so, unless it must be there."""

from __future__ import annotations

import os
from typing import Literal

import pytest

Need = Literal["browser", "ffprobe", "rtsp"]
REQUIRED = "IZNET_TESTS_REQUIRE"
"""The environment variable that lists, with spaces between, what must be there: to miss it is a failure."""


def need(what: Need, there: object, reason: str) -> None:
    """Skip the test, or at its top a module, that needs what is not `there`; fail where it must be.

    Example:
        >>> need("ffprobe", True, "ffprobe is not installed: apt install ffmpeg")
    """
    if there:
        return
    if what in os.environ.get(REQUIRED, "").split():
        pytest.fail(f"{reason} ({REQUIRED} says that it is there)", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
