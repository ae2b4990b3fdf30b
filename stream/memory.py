"""What the C library does with memory that is free, where it can be told: glibc only, elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys

LARGE = 1 << 20
"""Bytes from which a block is a piece of the system's memory of its own."""
_M_MMAP_THRESHOLD = -3
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def keep_large_blocks_apart() -> None:
    """Have blocks of `LARGE` and more go back to the system as soon as they are free.

    Left alone, glibc raises that limit to the size of the first picture that is freed (mallopt(3)); pictures then lie
    between small blocks that outlive them, and the gaps add up: some 30 MB of 1080p at once, and more by the minute.
    """
    set_option = getattr(_LIBC, "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, LARGE)


def give_memory_back() -> None:
    """Have what is free go back to the system. glibc keeps a pool for every few threads, and each encoder brings
    threads of its own: without this, memory grows by the segment.
    """
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
