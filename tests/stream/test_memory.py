"""What pictures take: large blocks go back to the system when they are free, whatever was freed before, and no more are
held back than fit."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import pytest

from engine.detector import Detector
from stream.analysis import HELD_BYTES, Analyser
from stream.frames import VideoInfo
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


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p", "gbrp", "yuv420p12le", "yuv444p12le"])
def test_pictures_are_held_back_by_what_they_take(pixel_format: str, detector: Detector) -> None:
    wide, high = 3840, 2160
    info = VideoInfo("mv.mkv", wide, high, 0, Fraction(1, 30), None, Fraction(30), pixel_format)
    analyser = Analyser(info, detector, lookahead=100.0)
    one = sum(plane.buffer_size for plane in av.VideoFrame(wide, high, pixel_format).planes)
    assert 0.9 * HELD_BYTES < analyser._held_limit * one <= 1.02 * HELD_BYTES  # rows are padded a little
