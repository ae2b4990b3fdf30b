"""The help of a benchmark, out of its module's docstring."""

from __future__ import annotations

import re


def shown(text: str | None) -> str:
    """`text` with its commands, which are indented, marked to be shown line by line as they stand.

    Example:
        >>> shown("What it does.\\n\\n    one\\n    two\\n\\nMore.")
        'What it does.\\n\\n\\x08\\n    one\\n    two\\n\\nMore.'
    """
    return re.sub(r"(?m)(?<=\n\n)(?= )", "\b\n", text or "")
