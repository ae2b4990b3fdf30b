"""What of a labelling runs on a GPU, and what does not: decided once the networks are open, and said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import MissingError
from stream.eyes import Eyes, HostEyes
from stream.frames import VideoInfo
from stream.labelled_copy import Canvas, CopyPlan
from stream.stages import StageClock

if TYPE_CHECKING:
    from stream.gpu_eyes import GpuEyes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a video's pictures are looked at and drawn on."""

    eyes: Eyes
    _gpu: GpuEyes | None = None
    """The same eyes, where they are a GPU's."""
    _why: str = ""
    """Why they are not, where networks run on a GPU."""

    @classmethod
    def of(
        cls, info: VideoInfo, detector: Detector, embedder: Embedder | None, clock: StageClock | None = None
    ) -> Placement:
        """On the GPU where the networks are there, and the kernels can be had; else on the CPU."""
        why = ""
        if detector.device == "gpu" and (embedder is None or embedder.device == "gpu"):
            from stream.gpu_eyes import GpuEyes

            try:
                eyes = GpuEyes(info, detector, embedder, clock)
            except MissingError as error:
                why = str(error)
            else:
                return cls(eyes, eyes)
        return cls(HostEyes(info, detector, embedder, clock), None, why)

    @property
    def on_gpu(self) -> bool:
        """Whether pictures are best decoded on the GPU."""
        return self._gpu is not None

    @property
    def canvas(self) -> Canvas | None:
        """What draws on pictures in a GPU's memory."""
        return self._gpu

    def plan(self, plan: CopyPlan) -> CopyPlan:
        """The plan, with frames encoded in the GPU's memory where the encoder is a part of the GPU.

        Raises:
            MissingError: the encoder's device or driver is not here.
        """
        encoder = plan.encoder.for_gpu_frames() if self.on_gpu else None
        if encoder is None:
            return plan
        encoder.open()
        return replace(plan, encoder=encoder)

    def notes(self, decoded_on_gpu: bool, plan: CopyPlan | None, hides: bool) -> list[str]:
        """What the user should know.

        Args:
            decoded_on_gpu: whether the GPU's decoder took the video.
            plan: of the copy; None where none is made.
            hides: whether faces are wiped out in it.
        """
        if self._why:
            return [
                f"on the GPU: the networks alone; pictures are decoded, scaled and cut on the CPU, since {self._why}"
            ]
        if self._gpu is None:
            return []
        there = ["decoding"] * decoded_on_gpu + ["scaling", "networks", "cutting of faces"]
        crossings = [] if decoded_on_gpu else ["the frames that are looked at go up once"]
        if plan is not None:
            encoder = plan.encoder
            if not encoder.on_gpu:
                crossings += [f"frames come down to be drawn on and encoded by {encoder.encoder}"] * decoded_on_gpu
            elif hides or not decoded_on_gpu:
                there.append("encoding")
                crossings.append("faces are wiped out on the CPU" if hides else "drawing is done on the CPU")
            else:
                there += ["drawing", "encoding"]
        return [f"on the GPU: {', '.join(there)}" + "".join(f"; {crossing}" for crossing in crossings)]

    def close(self) -> None:
        """Give back what is held on the GPU, once all is done."""
        if self._gpu is not None:
            self._gpu.close()
