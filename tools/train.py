"""`iznet train …`: the training commands, imported only when one of them runs."""

from __future__ import annotations

import importlib.util
import os

import click

from engine.errors import MissingError, UsageError
from engine.wording import install
from tools.cli import Entry, LazyGroup

TRAINING_LIBRARIES = ("tensorflow", "keras", "tf2onnx", "onnx")

SEED = click.IntRange(0, 2**32 - 1)
"""What NumPy, Keras and scikit-learn all take."""

ON_JAX = ("detector", "embedder", "rectangles")
"""Commands whose networks learn on JAX as well."""

COMMANDS = {
    "detector": Entry("tools.train_detector:detector", "Train the face detector."),
    "eval-detector": Entry("tools.train_eval_detector:eval_detector", "Measure a detector and its rivals."),
    "quantize-detector": Entry("tools.train_eval_detector:quantize", "Make an INT8 copy of a detector."),
    "rectangles": Entry("tools.train_rectangles:rectangles", "Prove the detection loss on plots of rectangles."),
    "faces": Entry("tools.train_faces:faces", "Cut the faces out of a folder of photos."),
    "embedder": Entry("tools.train_embedder:embedder", "Train the face embedder."),
    "join-embedders": Entry("tools.train_embedder:join_embedders", "Make one embedder of two."),
    "members": Entry("tools.train_members:members", "Fine-tune the embedder on your own people."),
    "cohort": Entry("tools.train_cohort:cohort", "Make the strangers that gallery thresholds are found with."),
    "eval-embedder": Entry("tools.train_embedder:eval_embedder", "Verification figures of an embedder."),
    "experiments": Entry("tools.train_experiments:experiments", "Three networks × two losses on twelve people."),
}


class TrainingGroup(LazyGroup):
    """Says what to install before a command fails in an import."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.entries:
            require_training()
            require_backend(cmd_name)
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow introduces itself at length otherwise
        return super().get_command(ctx, cmd_name)


def require_training() -> None:
    """Raise `MissingError` where a library that training needs is not installed."""
    absent = [name for name in TRAINING_LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingError(f"training needs {', '.join(absent)}; install with: {install('train')}")


def require_backend(command: str) -> None:
    """Raise `UsageError` where the environment asks Keras for a backend that the command cannot compute on."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow" and not (backend == "jax" and command in ON_JAX):
        raise UsageError(
            f"KERAS_BACKEND={backend}: iznet train {command} computes on TensorFlow"
            f"{' or jax' if command in ON_JAX else ' alone'}; unset it (jax: {', '.join(ON_JAX)})"
        )


@click.group(cls=TrainingGroup, entries=COMMANDS)
def train() -> None:
    """Train, evaluate and export the networks. A training that was stopped goes on with --resume."""
