"""The encoders that `--encoder` names, and what each wants to hear. Nothing is opened here.

KINDS["qsv-hevc"].codec        # "hevc_qsv"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Family = Literal["h264", "hevc", "av1"]

_YUV8 = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_YUV10 = ("yuv420p10le", "yuv422p10le", "yuv444p10le")
_YUV12 = ("yuv420p12le", "yuv422p12le", "yuv444p12le")


@dataclass(frozen=True, slots=True)
class Kind:
    """One encoder, in software or in a chip."""

    codec: str
    """FFmpeg's name."""
    family: Family
    preset: str | None
    """What is taken if nobody says; None where it has no presets."""
    crf: int
    """The same of the quality."""
    formats: tuple[str, ...]
    """Pixel formats that it takes and that names can be drawn in."""
    maker: str | None = None
    """Whose device it needs; None for software."""
    captions: bool = True
    """Whether it writes closed captions (A53)."""

    @property
    def worst(self) -> int:
        """The largest crf."""
        return 63 if self.family == "av1" else 51


_NV = ("yuv420p", "yuv444p")
KINDS: Mapping[str, Kind] = {
    "x264": Kind("libx264", "h264", "veryfast", 20, (*_YUV8, *_YUV10)),
    "x265": Kind("libx265", "hevc", "veryfast", 20, (*_YUV8, *_YUV10, *_YUV12)),
    "svtav1": Kind("libsvtav1", "av1", "10", 30, ("yuv420p", "yuv420p10le"), captions=False),
    "nvenc": Kind("h264_nvenc", "h264", "p4", 20, _NV, "NVIDIA"),
    "nvenc-hevc": Kind("hevc_nvenc", "hevc", "p4", 20, (*_NV, "p010le"), "NVIDIA"),
    "nvenc-av1": Kind("av1_nvenc", "av1", "p4", 30, ("yuv420p", "p010le"), "NVIDIA", captions=False),
    "qsv": Kind("h264_qsv", "h264", "veryfast", 20, ("nv12",), "Intel"),
    "qsv-hevc": Kind("hevc_qsv", "hevc", "veryfast", 20, ("nv12", "p010le"), "Intel", captions=False),
    "qsv-av1": Kind("av1_qsv", "av1", "veryfast", 30, ("nv12", "p010le"), "Intel", captions=False),
    "amf": Kind("h264_amf", "h264", "balanced", 20, ("yuv420p", "nv12"), "AMD", captions=False),
    "amf-hevc": Kind("hevc_amf", "hevc", "balanced", 20, ("yuv420p", "nv12", "p010le"), "AMD", captions=False),
    "amf-av1": Kind("av1_amf", "av1", "balanced", 30, ("yuv420p", "nv12", "p010le"), "AMD", captions=False),
    "videotoolbox": Kind("h264_videotoolbox", "h264", None, 20, ("yuv420p", "nv12"), "Apple"),
    "videotoolbox-hevc": Kind(
        "hevc_videotoolbox", "hevc", None, 20, ("yuv420p", "nv12", "p010le"), "Apple", captions=False
    ),
}
ENCODERS: tuple[str, ...] = ("auto", "hardware", *KINDS)
"""The words of `--encoder`. `auto` and `hardware` choose by the source, `hardware` a chip where one answers."""


def hardware(family: Family) -> list[str]:
    """The hardware encoders of a family, in the order in which they are tried.

    Example:
        >>> hardware("h264")
        ['nvenc', 'qsv', 'amf', 'videotoolbox']
    """
    return [name for name, kind in KINDS.items() if kind.family == family and kind.maker is not None]


def hardware_options(name: str, preset: str | None, crf: float) -> dict[str, str]:
    """Preset and constant quality in a hardware encoder's own words.

    Args:
        name: one of `KINDS` with a maker.
        preset: the encoder's own word; None for an encoder without presets.
        crf: 0 (best) … the kind's `worst`.

    Example:
        >>> hardware_options("qsv", "veryfast", 20)
        {'preset': 'veryfast', 'global_quality': '20'}
    """
    kind = KINDS[name]
    options = {} if preset is None else {"preset": preset}
    match kind.maker:
        case "NVIDIA":
            options |= {"rc": "vbr", "cq": f"{crf:g}"}
            if kind.family != "av1":
                options |= {"a53cc": "1", "udu_sei": "1"}
        case "Intel":
            # From 1 to 51, also for AV1; 0 would mean that nothing is said.
            options["global_quality"] = str(max(1, round(crf * 51 / kind.worst)))
        case "AMD":
            # The quantiser itself: AV1 counts it to 255.
            quantiser = str(round(crf * (255 / 63 if kind.family == "av1" else 1)))
            options |= {"rc": "cqp", "qp_i": quantiser, "qp_p": quantiser}
        case "Apple":
            # A quality from 1 to 100, in FFmpeg's unit of 118 for each.
            options |= {"flags": "+qscale", "global_quality": str(118 * max(1, round(100 - crf * 100 / kind.worst)))}
        case _:
            raise ValueError(f"{name} is no hardware encoder")
    return options
