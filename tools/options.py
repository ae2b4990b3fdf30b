"""Options that several commands share, spelt the same everywhere."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.detector import Detector
    from engine.devices import Backend, Device
    from engine.embedder import Embedder
    from engine.runtime import Precision

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(readable=False, path_type=Path)
"""Whether a file exists and may be read is for the code that opens it to say, with the right exit code."""
TOKEN = "IZNET_TOKEN"
"""The variable that may hold the pages' token, which no report may show."""


class Number(click.FloatRange):
    """A number within limits. "nan" is within any limits, and "inf" where nothing bounds it: both are refused."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Which networks run, and on what."""

    device: Device = "auto"
    backend: Backend | None = None
    precision: Precision = "auto"
    detector: Path | None = None
    """None takes the network that is shipped."""
    embedder: Path | None = None
    size: int = 640
    """Longer side of the picture that the detector looks at, pixels."""
    threads: int | None = None

    def open_detector(self, *, video: bool = False, quiet: bool = True) -> Detector:
        """Load the detector, for a `video` or for photos, and unless `quiet` say on stderr what runs the networks; see
        `Detector.open`, also for what it raises.

        Whatever takes a network takes what opens it (`engine.network.opened`): hand it `partial(engine.open_detector)`,
        so that a misspelt file name is told before a second is spent on this.
        """
        from engine.detector import Detector

        detector = Detector.open(
            self.detector,
            device=self.device,
            backend=self.backend,
            size=self.size,
            threads=self.threads,
            precision=self.precision,
            video=video,
        )
        if not quiet:
            click.echo(f"Networks: {self.explain()}; faces are found in {detector.precision}", err=True)
        return detector

    def open_embedder(self, *, video: bool = False) -> Embedder:
        """Load the embedder, for a `video` or for photos; see `Embedder.open`, also for what it raises."""
        from engine.embedder import Embedder

        return Embedder.open(
            self.embedder,
            device=self.device,
            backend=self.backend,
            threads=self.threads,
            precision=self.precision,
            video=video,
        )

    def explain(self) -> str:
        """What the networks run on, in words, for people to read; `iznet doctor` says why."""
        from engine.devices import choose

        choice = choose(self.device, self.backend)
        return f"{choice.backend} on the {choice.device.upper()}"


def engine_options(command: Command) -> Command:
    """Give a command `--device --backend --precision --detector --embedder --size --threads`, as `engine=`."""

    @click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "gpu"]),
        default="auto",
        show_default=True,
        help="Where the networks run. What is named is used, or the command fails.",
    )
    @click.option(
        "--backend",
        type=click.Choice(["openvino", "onnxruntime", "tensorrt"]),
        default=None,
        help="What runs them; by default the best one for the device.",
    )
    @click.option(
        "--precision",
        type=click.Choice(["auto", "f32", "f16", "bf16", "int8"]),
        default="auto",
        show_default=True,
        help="Arithmetic of the networks.",
    )
    @click.option("--detector", type=FILE, default=None, help="A detector of your own (ONNX).")
    @click.option("--embedder", type=FILE, default=None, help="An embedder of your own (ONNX).")
    @click.option(
        "--size",
        type=click.IntRange(64, 4096),
        default=640,
        show_default=True,
        help="Longer side of the picture that faces are looked for in; larger finds smaller faces.",
    )
    @click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads of the networks.")
    @functools.wraps(command)
    def with_engine(
        device: Device,
        backend: Backend | None,
        precision: Precision,
        detector: Path | None,
        embedder: Path | None,
        size: int,
        threads: int | None,
        **others: Any,
    ) -> Any:
        engine = EngineOptions(device, backend, precision, detector, embedder, size, threads)
        return command(engine=engine, **others)

    return with_engine  # type: ignore[return-value]


def json_option(command: Command) -> Command:
    """`--json`, as `as_json=`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(command)


def bfloat16_option(command: Command) -> Command:
    """`--bfloat16` of a training."""
    option = click.option(
        "--bfloat16",
        is_flag=True,
        help="Learn in mixed precision: more than twice as fast on a CPU with AMX, slower on others.",
    )
    return option(command)


def mix_option(command: Command) -> Command:
    """`--mix` of a training, as `mixed=`."""
    option = click.option(
        "--mix",
        "mixed",
        type=Number(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="How much of the trained network is left, the rest being the .keras file of --warm-start: between the two "
        "lie better ones.",
    )
    return option(command)


def check_mix(mixed: float, warm_start: Path | None, wanted: str) -> None:
    """Refuse `--mix` without an earlier network to mix with, before anything is loaded.

    Args:
        mixed: what `--mix` says.
        warm_start: what `--warm-start` says.
        wanted: what such a file is called.

    Raises:
        UsageError: there is none.
    """
    if mixed < 1 and (warm_start is None or warm_start.suffix != ".keras"):
        raise UsageError(f"--mix is for a training that began with an earlier one: name its --warm-start {wanted}")


def workers_option(command: Command) -> Command:
    """`--workers` of a training."""
    option = click.option(
        "--workers",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Processes that make batches beside the training, each with the data in memory; several for a GPU.",
    )
    return option(command)
