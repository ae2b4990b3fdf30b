"""The detectors that can be trained, by name; nothing here loads a training library."""

from __future__ import annotations

YUNET = "yunet"
"""Begins with weights that are published (`train.models.yunet`)."""
MULTI_SCALE = ("small", "nano", YUNET)
"""The production detector (`train.models.detector.build_detector`)."""
ONE_GRID = ("darknet53", "mobilenet", "shufflenet")
"""The write-up's detector (`train.models.grid_detector.BACKBONES`)."""
DETECTORS = (*MULTI_SCALE, *ONE_GRID)
