"""Launching the kernels.

Everything is asynchronous: a launch returns at once, and the memory that it names must stay until its stream is done.
Addresses are whole numbers and point into the device's memory.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.alignment import SIZE, face_region, shifted
from engine.cuda import structs
from engine.cuda.loading import Module
from engine.cuda.pictures import LARGEST, Picture
from engine.decoding import CHANNELS
from engine.letterbox import Letterbox

Form = Literal["bytes", "f16", "f32"]
"""How pixels are handed over: `bytes` uint8 `[H,W,3]`, which the shipped networks take; `f16` and `f32` planes
`[3,H,W]` of value · scale + bias."""

PARTIAL_BYTES = 16
"""Of `nearest`'s scratch memory, for each embedding and block."""
_BLOCKS = 512
_ROWS_A_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What planes hold: RGB in 0…255, times `scale`, plus `bias`, for each channel."""

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)


PLAIN = Normalisation()


@dataclass(frozen=True, slots=True)
class HeadMap:
    """One output map of a detector: float32 `[N,rows,columns,15·boxes]` in the device's memory."""

    address: int
    rows: int
    columns: int
    stride: int
    """Pixels from a cell to the next."""
    boxes: int = 1
    """That every cell claims."""


@dataclass(frozen=True, slots=True)
class DeviceGallery:
    """Prototypes in the device's memory, as `engine.nearest.two_nearest` takes them."""

    prototypes: int
    """Address of float32 `[count,dimension]` unit vectors, a multiple of 16."""
    owners: int
    """Address of int32 `[count]`."""
    count: int
    dimension: int

    @property
    def blocks(self) -> int:
        """Into how many parts a search is cut."""
        return max(1, min(_BLOCKS, -(-self.count // _ROWS_A_BLOCK)))


@dataclass(frozen=True, slots=True)
class Mark:
    """An outline, or a plate with a name, in whole pixels of the stored picture."""

    left: int
    top: int
    right: int
    """Not included, as `bottom`."""
    bottom: int
    ink: tuple[int, int, int]
    """Samples of the outline or the plate."""
    thickness: int = 0
    """Pixels; an outline's strokes lie inside the rectangle."""
    text: tuple[int, int, int] = (0, 0, 0)
    """Samples of the name."""
    mask: int = 0
    """Address of uint8 `[bottom-top,mask_width]`, 255 where a plate shows text; 0 for an outline."""
    mask_width: int = 0

    def as_struct(self) -> structs.Mark:
        """For the kernel."""
        place = self.left, self.top, self.right, self.bottom
        return structs.Mark(*place, self.thickness, self.ink, self.text, self.mask_width, self.mask)


class Kernels:
    """The kernels, ready to run. May be used from several threads, each with its own stream."""

    def __init__(self, module: Module) -> None:
        """Take the kernels from a module that is loaded: see `engine.cuda.loading`."""
        jobs = {"letterbox": structs.LetterboxJob, "warp": structs.WarpJob}
        sizes = {f"{name}_{kind}": ctypes.sizeof(job) for name, job in jobs.items() for kind in _KINDS}
        sizes |= {f"cells_{bits}": ctypes.sizeof(structs.CellsJob) for bits in ("u8", "u16")}
        sizes |= {f"draw_{bits}": ctypes.sizeof(structs.DrawJob) for bits in ("u8", "u16")}
        sizes |= {
            "sharpness": ctypes.sizeof(structs.SharpnessJob),
            "decode": ctypes.sizeof(structs.DecodeJob),
            "normalise": ctypes.sizeof(structs.NormaliseJob),
            "nearest": ctypes.sizeof(structs.NearestJob),
            "nearest_of_all": ctypes.sizeof(structs.NearestJob),
        }
        self._module = module  # the kernels live as long as it does
        self._functions = {name: module.function(name, size) for name, size in sizes.items()}

    def letterbox(
        self,
        picture: Picture,
        box: Letterbox,
        out: int,
        *,
        form: Form = "bytes",
        turns: int = 0,
        normalisation: Normalisation = PLAIN,
        stream: int = 0,
    ) -> None:
        """Scale, turn, pad and convert a picture: what a detector looks at, in one pass over the samples.

        Each plane is halved by averaging while that goes evenly and then interpolated, as on the CPU
        (`stream.pictures.small_rgb`); the numbers agree but for its rounding in between.

        Args:
            picture: as stored.
            box: from `Letterbox.fit` for the picture as displayed; its padded width is a multiple of 4.
            out: where the padded picture goes, a multiple of 4.
            form: see `Form`.
            turns: quarter turns clockwise that a player makes.
            normalisation: of planes.
            stream: handle of the stream.

        Raises:
            ValueError: the letterbox is for another size.
        """
        stored = (box.height, box.width) if turns % 2 else (box.width, box.height)
        if stored != (picture.width, picture.height) or not 0 <= turns <= 3:
            raise ValueError(f"{box} is not for {picture.width}x{picture.height} in {turns} quarter turns")
        inner = (box.inner_height, box.inner_width) if turns % 2 else box.inner
        halvings, averaged = zip(*(scaling(plane.width, plane.height, *inner) for plane in picture.planes), strict=True)
        job = structs.LetterboxJob(
            _picture(picture),
            halvings,
            averaged,
            turns,
            *box.inner,
            *_outward(box.padded, out),
            _normalisation(normalisation),
            out,
        )
        grid = -(-box.padded_width // 32), -(-box.padded_height // 8), 1
        self._launch(f"letterbox_{_kind(picture, form)}", grid, (32, 8, 1), job, stream)

    def warp(
        self,
        picture: Picture,
        matrices: NDArray[Any],
        out: int,
        *,
        size: int = SIZE,
        form: Form = "bytes",
        normalisation: Normalisation = PLAIN,
        stream: int = 0,
    ) -> None:
        """Cut faces out of a picture and turn them upright: what an embedder looks at.

        The same geometry as `engine.alignment.warp_face`.

        Args:
            picture: as stored.
            matrices: `[N,2,3]`, pixels of the stored picture → crop, from `similarity_transform`.
            out: where the N crops go, one after the other, a multiple of 4.
            size: pixels along each side of a crop, a multiple of 4.
            form: see `Form`.
            normalisation: of planes.
            stream: handle of the stream.

        Raises:
            ValueError: a matrix without an inverse.
        """
        if matrices.shape[1:] != (2, 3):
            raise ValueError(f"expected matrices [N,2,3], got {matrices.shape}")
        faces = [_face(matrix, picture, size) for matrix in matrices]
        crop = size * size * 3 * {"bytes": 1, "f16": 2, "f32": 4}[form]
        tiles = -(-size // 16)
        for start in range(0, len(faces), structs.FACES):
            part = faces[start : start + structs.FACES]
            side, _ = _outward((size, size), out)
            job = structs.WarpJob(
                _picture(picture), _normalisation(normalisation), side, 0, out + start * crop, tuple(part)
            )
            self._launch(f"warp_{_kind(picture, form)}", (tiles, tiles, len(part)), (16, 16, 1), job, stream)

    def decode(
        self,
        heads: Sequence[HeadMap],
        sizes: Sequence[tuple[int, int]],
        threshold: float,
        faces: int,
        counts: int,
        capacity: int,
        *,
        stream: int = 0,
    ) -> None:
        """What a detector claims about a batch of pictures: `engine.decoding.candidates` over all its maps.

        The faces come in the order in which the CPU finds them, map by map, and are the same every time.

        Args:
            heads: the output maps, at most eight.
            sizes: width and height of each picture without its padding, in pixels of the padded one.
            threshold: the least score.
            faces: where float32 `[N,capacity,15]` goes.
            counts: where int32 `[N]` goes: how many faces are claimed. Where it says more than `capacity`, the
                first ones were kept.
            capacity: faces that there is room for on each picture; `claims(heads)` is always enough.
            stream: handle of the stream.

        Raises:
            ValueError: no map, or too many.
        """
        if not 1 <= len(heads) <= structs.HEADS:
            raise ValueError(f"1 to {structs.HEADS} output maps, got {len(heads)}")
        for start in range(0, len(sizes), structs.PICTURES):
            part = sizes[start : start + structs.PICTURES]
            maps = tuple(
                (h.address + start * _claims(h) * CHANNELS * 4, h.rows, h.columns, h.boxes, h.stride) for h in heads
            )
            job = structs.DecodeJob(
                maps,
                tuple((float(width), float(height)) for width, height in part),
                len(heads),
                claims(heads),
                capacity,
                threshold,
                faces + start * capacity * CHANNELS * 4,
                counts + start * 4,
            )
            self._launch("decode", (len(part), 1, 1), (512, 1, 1), job, stream)

    def cells(self, picture: Picture, columns: int, rows: int, out: int, *, stream: int = 0) -> None:
        """A picture in a few cells: `stream.colours.cell_means` of each of its components, to the last bit.

        Args:
            picture: as stored.
            columns: of cells.
            rows: likewise.
            out: where `[3,rows,columns]` of the samples' type goes.
            stream: handle of the stream.
        """
        job = structs.CellsJob(_picture(picture).components, columns, rows, out)
        self._launch(f"cells_u{8 * picture.sample_bytes}", (-(-columns * rows // 64), 1, 3), (64, 1, 1), job, stream)

    def sharpness(self, crops: int, count: int, out: int, *, size: int = SIZE, stream: int = 0) -> None:
        """The variances of the Laplacians of uint8 `[count,size,size,3]` RGB crops, as float32 `[count]` at `out`."""
        if count:
            job = structs.SharpnessJob(crops, out, count, size)
            self._launch("sharpness", (count, 1, 1), (256, 1, 1), job, stream)

    def draw(self, picture: Picture, marks: Sequence[Mark], *, stream: int = 0) -> None:
        """Draw into the samples of a picture, mark over mark: what `stream.overlay` draws on a CPU, to the last bit.

        Args:
            picture: as stored; written to.
            marks: in their order, each inside the picture.
            stream: handle of the stream.

        Raises:
            ValueError: a mark that is empty or reaches out of the picture.
        """
        for mark in marks:
            if not (0 <= mark.left < mark.right <= picture.width and 0 <= mark.top < mark.bottom <= picture.height):
                raise ValueError(f"{mark} is not inside {picture.width}x{picture.height}")
        for start in range(0, len(marks), structs.MARKS):
            part = marks[start : start + structs.MARKS]
            left, top = min(mark.left for mark in part), min(mark.top for mark in part)
            right, bottom = max(mark.right for mark in part), max(mark.bottom for mark in part)
            job = structs.DrawJob(
                _picture(picture).components,
                picture.width,
                picture.height,
                *(left, top, right, bottom),
                len(part),
                0,
                tuple(mark.as_struct() for mark in part),
            )
            # A subsampled component has one sample more where both ends fall between two.
            grid = -(-(right - left + 1) // 32), -(-(bottom - top + 1) // 8), 3
            self._launch(f"draw_u{8 * picture.sample_bytes}", grid, (32, 8, 1), job, stream)

    def normalise(self, vectors: int, out: int, rows: int, columns: int, *, stream: int = 0) -> None:
        """Scale float32 `[rows,columns]` at `vectors` to length one, into `out`, which may be the same place.

        As `engine.embedder.unit`: a row of zeros stays as it is.
        """
        if rows:
            job = structs.NormaliseJob(vectors, out, rows, columns)
            self._launch("normalise", (-(-rows // 4), 1, 1), (128, 1, 1), job, stream)

    def nearest(
        self,
        embeddings: int,
        count: int,
        gallery: DeviceGallery,
        scratch: int,
        owner: int,
        first: int,
        second: int,
        *,
        stream: int = 0,
    ) -> None:
        """For each embedding the nearest person, and how near the nearest and the second-nearest person are.

        The same answers as `engine.nearest.two_nearest`. Worth it from some ten thousand prototypes on; a small gallery
        is searched on the CPU in less time than a launch takes.

        Args:
            embeddings: float32 `[count,D]` unit vectors, at a multiple of 16.
            count: of embeddings.
            gallery: what to search.
            scratch: `PARTIAL_BYTES · count · gallery.blocks` bytes, at a multiple of 16.
            owner: where int32 `[count]` goes: -1 where there is nobody, as for an embedding that is not finite.
            first: where float32 `[count]` goes, the cosine to the nearest prototype, else -1.
            second: where float32 `[count]` goes, the cosine to the nearest prototype of anybody else, else -1.
            stream: handle of the stream.

        Raises:
            ValueError: D is no multiple of 4, or an address no multiple of 16.
        """
        if gallery.dimension % 4 or (embeddings | gallery.prototypes | scratch) % 16:
            raise ValueError(
                f"vectors lie at multiples of 16 bytes, got {embeddings = :#x}, {gallery}, {scratch = :#x}"
            )
        if not count:
            return
        job = structs.NearestJob(
            embeddings,
            gallery.prototypes,
            gallery.owners,
            scratch,
            count,
            gallery.count,
            gallery.dimension,
            gallery.blocks,
            owner,
            first,
            second,
        )
        self._launch("nearest", (gallery.blocks, -(-count // 8), 1), (256, 1, 1), job, stream)
        self._launch("nearest_of_all", (count, 1, 1), (32, 1, 1), job, stream)

    def _launch(
        self, name: str, grid: tuple[int, int, int], block: tuple[int, int, int], job: ctypes.Structure, stream: int
    ) -> None:
        self._functions[name].launch(grid, block, bytes(job), stream)


def claims(heads: Sequence[HeadMap]) -> int:
    """How many faces a picture can be claimed to have: cells times boxes, over all maps."""
    return sum(_claims(head) for head in heads)


def scaling(width: int, height: int, target_width: int, target_height: int) -> tuple[int, bool]:
    """How often a plane is halved, and whether it is then averaged over areas rather than interpolated.

    The rule of `stream.pictures.small_rgb`: halved while that goes evenly; what is then still twice as large as it
    should be is averaged.
    """
    halvings = 0
    while width % 2 == 0 and height % 2 == 0 and width >= 2 * target_width and height >= 2 * target_height:
        width, height, halvings = width // 2, height // 2, halvings + 1
    return halvings, width >= 2 * target_width or height >= 2 * target_height


_KINDS = tuple(f"u{8 * sample}_{form}" for sample in (1, 2) for form in ("bytes", "f16", "f32"))


def _kind(picture: Picture, form: Form) -> str:
    return f"u{8 * picture.sample_bytes}_{form}"


def _claims(head: HeadMap) -> int:
    return head.rows * head.columns * head.boxes


def _outward(size: tuple[int, int], out: int) -> tuple[int, int]:
    """The size of what is written, where it can be written in words."""
    width, height = size
    if width % 4 or out % 4 or max(size) > LARGEST:
        raise ValueError(f"expected a width and an address that are multiples of 4, got {width}x{height} at {out:#x}")
    return size


def _normalisation(normalisation: Normalisation) -> structs.Normalisation:
    return structs.Normalisation(normalisation.scale, normalisation.bias)


def _picture(picture: Picture) -> structs.Picture:
    components = tuple((p.address, p.stride, p.step, p.width, p.height, p.shift_x, p.shift_y) for p in picture.planes)
    return structs.Picture(components, tuple(picture.matrix.reshape(-1).tolist()))


def _face(matrix: NDArray[Any], picture: Picture, size: int) -> structs.FaceCrop:
    """Where a crop's pixels lie, region and halvings chosen as by `engine.alignment.warp_face`."""
    x1, y1, x2, y2 = face_region(matrix, picture.width, picture.height, size)
    width, height, times = x2 - x1, y2 - y1, 0
    affine = shifted(matrix, x1, y1).astype(np.float64)
    while math.hypot(affine[0, 0], affine[1, 0]) <= 0.5 and min(width, height) > 1:
        width, height, times = width // 2, height // 2, times + 1
        affine[:, 2] += affine[:, :2].sum(1) / 2
        affine[:, :2] *= 2
    back = np.linalg.inv(affine[:, :2])
    inverse = np.column_stack([back, -back @ affine[:, 2]])
    return structs.FaceCrop(tuple(inverse.reshape(-1).tolist()), x1, y1, width, height, times)
