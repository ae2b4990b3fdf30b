"""Large blocks go back to the system when they are free, whatever was freed before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stream.memory import LARGE

PROGRAM = f"""
import ctypes, sys
from stream.memory import keep_large_blocks_apart
if sys.argv[1] == "apart":
    keep_large_blocks_apart()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def block(size):
    place = c.malloc(size)
    ctypes.memset(place, 1, size)
    return place

c.free(block(8 * {LARGE}))                                # glibc raises its limit to this
before = resident()
kept = []
for _ in range(8):
    picture = block(3 * {LARGE})
    kept.append(block(1000))                              # a small block behind each picture
    c.free(picture)
    kept.append(block(2 * {LARGE} - 50_000 * len(kept)))  # the gap is used again, but never whole
print(resident() - before - sum(2 * {LARGE} - 50_000 * n for n in range(1, 16, 2)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_gaps_between_large_blocks_do_not_add_up() -> None:
    wasted = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("apart", "left")
    }
    assert abs(wasted["apart"]) < LARGE
    assert wasted["left"] > wasted["apart"] + LARGE
