"""The detectors that can be trained, by name; nothing here loads a training library."""

from __future__ import annotations

MULTI_SCALE = ("small", "nano")
"""The production detector (`train.models.detector.ARCHITECTURES`)."""
ONE_GRID = ("darknet53", "mobilenet", "shufflenet")
"""The write-up's detector (`train.models.grid_detector.BACKBONES`)."""
DETECTORS = (*MULTI_SCALE, *ONE_GRID)
