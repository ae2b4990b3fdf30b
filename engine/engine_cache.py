"""Engines kept between processes: which fits, why one no longer does, and that nobody builds one twice.

An engine is a plan, exactly as TensorRT wrote it, and a sidecar `NAME.json` beside it that says what it is an engine
of and what bytes it has. The sidecar is written last: a plan without one is nobody's, and one that is cut short or
replaced does not agree with it. Neither is ever handed to TensorRT.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engine.cachefolder import cache_folder
from engine.cuda_driver import GpuInfo
from engine.errors import OutputError
from engine.file_lock import locked
from engine.modelfile import ModelFile
from engine.output_file import is_temporary, write_output
from engine.tensorrt_build import BuildOptions
from engine.tensorrt_precision import GpuPrecision
from engine.tensorrt_profile import Profile

SCHEMA = "iznet.engine/1"
RECIPE = 1
"""Counted up whenever networks are rewritten or built in another way, so that older engines are built anew."""
PATIENCE = 3600.0
"""Seconds to wait for an engine that another process is building."""

_WORDS = {
    "tensorrt": "TensorRT",
    "gpu": "the GPU",
    "capability": "the compute capability",
    "cuda": "CUDA",
    "system": "the system",
    "recipe": "how IZ*Net builds engines",
    "options": "the builder's options",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that a plan depends on."""

    network: str
    """SHA-256 of the ONNX file."""
    precision: GpuPrecision
    profiles: tuple[Profile, ...]
    options: BuildOptions
    tensorrt: str
    gpu: str
    capability: str
    cuda: int
    """Major version of the newest CUDA that the driver has."""
    system: str
    recipe: int = RECIPE

    @classmethod
    def of(
        cls,
        model: ModelFile,
        precision: GpuPrecision,
        profiles: Sequence[Profile],
        gpu: GpuInfo,
        tensorrt: str,
        options: BuildOptions | None = None,
    ) -> Self:
        """The key of an engine that is built here and now."""
        return cls(
            network=model.sha256,
            precision=precision,
            profiles=tuple(profiles),
            options=options or BuildOptions(),
            tensorrt=tensorrt,
            gpu=gpu.name,
            capability=".".join(map(str, gpu.capability)),
            cuda=gpu.cuda,
            system=f"{platform.system()} {platform.machine()}",
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network,
            "precision": self.precision,
            "profiles": [profile.as_dict() for profile in self.profiles],
            "options": self.options.as_dict(),
            "tensorrt": self.tensorrt,
            "gpu": self.gpu,
            "capability": self.capability,
            "cuda": self.cuda,
            "system": self.system,
            "recipe": self.recipe,
        }

    @property
    def digest(self) -> str:
        """64 hexadecimal digits, the same for the same key everywhere."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Engine:
    """A plan and what is known of it."""

    plan: bytes
    profiles: tuple[Profile, ...]
    precision: GpuPrecision
    path: Path | None = None
    """Where the plan lies; None where nothing could be kept."""


class EngineCache:
    """A folder of engines.

    Example:
        >>> cache = EngineCache.open()                     # doctest: +SKIP
        >>> with cache.building():                         # doctest: +SKIP
        ...     engine = cache.find(key) or cache.store(key, "detector", build(), {})
    """

    def __init__(self, folder: Path | None) -> None:
        """Use a folder; None keeps nothing."""
        self.folder = folder

    @classmethod
    def open(cls) -> Self:
        """That of the user's caches."""
        return cls(cache_folder("tensorrt"))

    @property
    def timings(self) -> Path | None:
        """TensorRT's timing cache."""
        return None if self.folder is None else self.folder / "timings.cache"

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Be the only one who builds: the others wait, and then find the engine. A build also times every layer on the
        GPU, where a second one would get in its way.

        Raises:
            OutputError: another process has been building for an hour, or the folder cannot be written to.
        """
        if self.folder is None:
            yield
        else:
            with locked(self.folder / "engines", PATIENCE):
                yield

    def find(self, key: EngineKey, any_options: bool = False) -> Engine | None:
        """The engine of that key, or one that differs from it in taking more sizes; the newest, whole ones only.

        Args:
            key: of the engine that is wanted.
            any_options: whether the builder's options may differ too: they change how fast an engine is, not what it
                computes.
        """
        free: dict[str, Any] = {"profiles": None} | ({"options": None} if any_options else {})
        for path, values in self._sidecars():
            profiles = _profiles(values)
            if values["key"] | free != key.as_dict() | free or not _cover(profiles, key.profiles):
                continue
            plan = _whole(path.with_suffix(".plan"), values)
            if plan is None:
                log.warning("the engine %s is damaged, or was replaced; it is built anew", path.with_suffix(".plan"))
                continue
            for used in (path, path.with_suffix(".plan")):
                with contextlib.suppress(OSError):  # the file longest unused goes first
                    os.utime(used)
            return Engine(plan, profiles, key.precision, path.with_suffix(".plan"))
        return None

    def stale(self, key: EngineKey, any_options: bool = False) -> str | None:
        """Why an engine that was built for the same network and precision no longer serves, `find` not having found it;
        None where there is none.

        Example:
            >>> cache.stale(key)  # doctest: +SKIP
            'TensorRT was 11.3.0.99 and is 11.4.0.106'
        """
        wanted = key.as_dict()
        for _, values in self._sidecars():
            had = values["key"]
            if had["network"] == wanted["network"] and had["precision"] == wanted["precision"]:
                changed = [
                    f"{words} was {had.get(name)} and is {wanted[name]}"
                    for name, words in _WORDS.items()
                    if had.get(name) != wanted[name] and not (any_options and name == "options")
                ]
                if changed:
                    return "; ".join(changed)
                if not _cover(_profiles(values), key.profiles):
                    return f"other sizes are wanted: {', '.join(map(str, key.profiles))}"
        return None

    def store(self, key: EngineKey, name: str, plan: bytes, facts: Mapping[str, Any]) -> Engine:
        """Keep an engine; `facts` go into its sidecar."""
        engine = Engine(plan, key.profiles, key.precision)
        if self.folder is None:
            return engine
        stem = re.sub(r"[^\w.-]", "_", name)
        path = self.folder / f"{stem}-{key.precision}-{key.digest[:12]}.plan"
        sidecar = {
            "schema": SCHEMA,
            "name": name,
            "key": key.as_dict(),
            "plan": {"sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)},
            **facts,
        }
        try:
            for target, data in (
                (path, plan),
                (path.with_suffix(".json"), (json.dumps(sidecar, indent=2) + "\n").encode()),
            ):
                write_output(target, data, overwrite=True)
        except OutputError as error:
            log.warning("the engine cannot be kept and will be built again (%s)", error)
            return engine
        return Engine(plan, key.profiles, key.precision, path)

    def _sidecars(self) -> list[tuple[Path, dict[str, Any]]]:
        """Every sidecar that can be read, the newest first."""
        found = []
        for path in self.folder.glob("*.json") if self.folder is not None else ():
            if is_temporary(path):
                continue
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                values = json.loads(path.read_text("utf-8"))
                if values["schema"] == SCHEMA and isinstance(values["key"], dict):
                    found.append((path.stat().st_mtime_ns, path, values))
        return [(path, values) for _, path, values in sorted(found, key=lambda item: item[0], reverse=True)]


def _whole(path: Path, values: Mapping[str, Any]) -> bytes | None:
    try:
        plan = path.read_bytes()
    except OSError:
        return None
    return plan if hashlib.sha256(plan).hexdigest() == values.get("plan", {}).get("sha256") else None


def _profiles(values: Mapping[str, Any]) -> tuple[Profile, ...]:
    return tuple(Profile.from_dict(profile) for profile in values["key"]["profiles"])


def _cover(have: Sequence[Profile], wanted: Sequence[Profile]) -> bool:
    return all(
        any(one.name == want.name and one.covers(want.least) and one.covers(want.most) for one in have)
        for want in wanted
    )
