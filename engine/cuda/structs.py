"""The structs that the kernels take, field by field as the headers have them; a test compares the two."""

from __future__ import annotations

import ctypes

FACES = 64
"""Crops that one launch makes, at most."""
HEADS = 8
"""Output maps that one launch decodes, at most."""
PICTURES = 32
"""Pictures that one launch decodes, at most."""
MARKS = 64
"""Marks that one launch draws, at most."""

_int = ctypes.c_int32
_float = ctypes.c_float
_address = ctypes.c_uint64


class Component(ctypes.Structure):
    """See picture.cuh."""

    _fields_ = (
        ("data", _address),
        ("stride", _int),
        ("step", _int),
        ("width", _int),
        ("height", _int),
        ("shift_x", _int),
        ("shift_y", _int),
    )


class Picture(ctypes.Structure):
    """See picture.cuh."""

    _fields_ = (("components", Component * 3), ("matrix", _float * 12))


class Normalisation(ctypes.Structure):
    """See picture.cuh."""

    _fields_ = (("scale", _float * 3), ("bias", _float * 3))


class LetterboxJob(ctypes.Structure):
    """See letterbox.cuh."""

    _fields_ = (
        ("picture", Picture),
        ("halvings", _int * 3),
        ("averaged", _int * 3),
        ("turns", _int),
        ("inner_width", _int),
        ("inner_height", _int),
        ("padded_width", _int),
        ("padded_height", _int),
        ("normalisation", Normalisation),
        ("out", _address),
    )


class FaceCrop(ctypes.Structure):
    """See warp.cuh."""

    _fields_ = (
        ("map", _float * 6),
        ("left", _int),
        ("top", _int),
        ("width", _int),
        ("height", _int),
        ("halvings", _int),
    )


class WarpJob(ctypes.Structure):
    """See warp.cuh."""

    _fields_ = (
        ("picture", Picture),
        ("normalisation", Normalisation),
        ("size", _int),
        ("reserved", _int),
        ("out", _address),
        ("faces", FaceCrop * FACES),
    )


class Head(ctypes.Structure):
    """See decode.cuh."""

    _fields_ = (("data", _address), ("rows", _int), ("columns", _int), ("boxes", _int), ("stride", _int))


class DecodeJob(ctypes.Structure):
    """See decode.cuh."""

    _fields_ = (
        ("heads", Head * HEADS),
        ("sizes", _float * 2 * PICTURES),
        ("head_count", _int),
        ("cells", _int),
        ("capacity", _int),
        ("threshold", _float),
        ("faces", _address),
        ("counts", _address),
    )


class NormaliseJob(ctypes.Structure):
    """See nearest.cuh."""

    _fields_ = (("in", _address), ("out", _address), ("rows", _int), ("columns", _int))


class NearestJob(ctypes.Structure):
    """See nearest.cuh."""

    _fields_ = (
        ("embeddings", _address),
        ("prototypes", _address),
        ("owners", _address),
        ("partial", _address),
        ("count", _int),
        ("prototype_count", _int),
        ("dimension", _int),
        ("blocks", _int),
        ("owner", _address),
        ("first", _address),
        ("second", _address),
    )


class CellsJob(ctypes.Structure):
    """See cells.cuh."""

    _fields_ = (("components", Component * 3), ("columns", _int), ("rows", _int), ("out", _address))


class SharpnessJob(ctypes.Structure):
    """See sharpness.cuh."""

    _fields_ = (("crops", _address), ("out", _address), ("count", _int), ("size", _int))


class Mark(ctypes.Structure):
    """See draw.cuh."""

    _fields_ = (
        ("left", _int),
        ("top", _int),
        ("right", _int),
        ("bottom", _int),
        ("thickness", _int),
        ("ink", _int * 3),
        ("text", _int * 3),
        ("mask_width", _int),
        ("mask", _address),
    )


class DrawJob(ctypes.Structure):
    """See draw.cuh."""

    _fields_ = (
        ("components", Component * 3),
        ("width", _int),
        ("height", _int),
        ("left", _int),
        ("top", _int),
        ("right", _int),
        ("bottom", _int),
        ("count", _int),
        ("reserved", _int),
        ("marks", Mark * MARKS),
    )


ALL: tuple[type[ctypes.Structure], ...] = (
    Component,
    Picture,
    Normalisation,
    LetterboxJob,
    FaceCrop,
    WarpJob,
    Head,
    DecodeJob,
    NormaliseJob,
    NearestJob,
    CellsJob,
    SharpnessJob,
    Mark,
    DrawJob,
)
