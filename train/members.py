"""Fine-tuning an embedder on one's own people: a last linear layer, learned in seconds, added to the ONNX file.

The layer maps the embedding to itself, `y = x A / |x A|`, beginning with the identity: what fine-tuning the last
dense layer of a network comes to when it may only recombine its outputs. It needs nothing but embeddings, so it works
for any embedder, whatever it is made of and however it was quantised, and a hundred photos cannot spoil much of it.

It learns to tell the people apart with a margin (CosFace, Wang et al., CVPR 2018) on changed views of their photos,
and to leave strangers where they are: the drawn faces of the embedder's cohort, by distillation to the original
(learning without forgetting, Li and Hoiem, ECCV 2016). A part of every person's photos is kept aside; the new
embedder is kept only if more of those get their right name at the same false-accept rate, and then learns from all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engine.calibration import FAR, calibrate
from engine.cohort import Cohort
from engine.embedder import Embedder, unit
from engine.enrolment import Looked
from engine.errors import InputError
from engine.gallery import Gallery
from engine.output_file import check_folder, check_output
from train.data.faces import CROP, FACE
from train.data.views import Rng, Strength, degrade, scene
from train.onnx_file import write_onnx

FEWEST = 6
"""Photos of a person from which on some are kept aside."""
ASIDE = 0.3
"""Part of them that is."""
CHANGES = Strength(blend=0, splice=0, warp=0.1, tint=0.15, shade=0.2, occlude=0.1)
"""Of the views: turned, lit otherwise, partly covered, of worse quality; but always the same person's face alone."""
OUTPUTS = NETWORK, CHECKSUM, COHORT, GALLERY = (
    "embedder.onnx",
    "embedder.sha256",
    "embedder.cohort",
    "members.gallery",
)
"""What `export` leaves."""


@dataclass(frozen=True, slots=True)
class MemberRecipe:
    """Everything that decides the result, apart from the data."""

    steps: int = 400
    batch: int = 256
    rate: float = 2e-3
    views: int = 6
    """Changed views of every photo, besides the photo itself."""
    margin: float = 0.35
    """Cosine by which the right person must win."""
    scale: float = 16.0
    """Of the cosines before the softmax."""
    keep: float = 10.0
    """Weight of leaving strangers where they are."""
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The face of every used photo."""

    crops: NDArray[np.uint8]
    """`[N,112,112,3]` RGB."""
    people: tuple[str, ...]
    """`[N]`."""
    files: tuple[str, ...]
    """`[N]`."""


@dataclass(frozen=True, slots=True)
class DevFigures:
    """How the photos kept aside fare against a gallery of the others."""

    rank1: float
    """Share whose nearest person is the right one."""
    named: float
    """Share that is given the right name at the gallery's threshold."""
    threshold: float
    photos: int

    def beats(self, other: DevFigures) -> bool:
        """Whether more photos are named right; where as many are, whether more are nearest to the right person."""
        return (self.named, self.rank1) > (other.named, other.rank1)


@dataclass(frozen=True, slots=True, eq=False)
class MembersResult:
    """What came of it."""

    matrix: NDArray[np.float32]
    """`[D,D]`, learned from all photos where it is `better`, otherwise without those kept aside."""
    before: DevFigures
    after: DevFigures
    """With a layer that had not learned from the photos kept aside."""
    train: int
    """Photos that one learned from."""
    moved: float
    """Mean cosine between strangers before and after; 1 where they stayed where they were."""

    @property
    def better(self) -> bool:
        """Whether the layer is worth keeping."""
        return self.after.beats(self.before)


def faces_of(looked: Looked, gallery: Gallery) -> Faces:
    """The crops behind a gallery that was assembled of photos that were looked at with `crops`."""
    seen = {(photo.person, photo.file): photo for photo in looked.photos}
    crops, people, files = [], [], []
    for n, person in enumerate(gallery.persons):
        for file, embedding in zip(person.photos, gallery.of(n), strict=True):
            photo = seen[person.name, file]
            assert photo.crops is not None
            crops.append(photo.crops[int(np.argmax(photo.faces.embeddings @ embedding))])
            people.append(person.name)
            files.append(file)
    return Faces(np.stack(crops), tuple(people), tuple(files))


def kept_aside(people: Sequence[str], files: Sequence[str]) -> NDArray[np.bool_]:
    """`[N]` which photos are kept aside: `ASIDE` of each person's, rounded, where there are `FEWEST`. Which ones hangs
    on their names alone.

    Example:
        >>> int(kept_aside(["a"] * 10 + ["b"] * 3, [f"{n}.jpg" for n in range(13)]).sum())
        3
    """
    aside = np.zeros(len(people), np.bool_)
    order = np.argsort([hashlib.sha256(file.encode("utf-8", "replace")).hexdigest() for file in files])
    for person in sorted(set(people)):
        mine = [n for n in order.tolist() if people[n] == person]
        if len(mine) >= FEWEST:
            aside[mine[: round(ASIDE * len(mine))]] = True
    return aside


def train_members(
    faces: Faces,
    embedder: Embedder,
    cohort: Cohort,
    recipe: MemberRecipe = MemberRecipe(),
    far: float = FAR,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> MembersResult:
    """Learn the layer and measure it on the photos kept aside.

    Args:
        faces: of at least two people with `FEWEST` photos.
        embedder: what is fine-tuned.
        cohort: its strangers.
        recipe: sizes, weights, seed.
        far: at which names are compared.
        progress: called with what is being done, how far, and of how much.

    Raises:
        InputError: too few people or photos, or a cohort of another embedder.
    """
    cohort.check_embedder(embedder.name, embedder.sha256)
    aside = kept_aside(faces.people, faces.files)
    names = sorted(set(faces.people))
    if len({p for p, a in zip(faces.people, aside, strict=True) if a}) < 2:
        raise InputError(
            f"fewer than two people have {FEWEST} usable photos; without photos kept aside nobody could tell whether "
            "it helps: add photos"
        )
    label = np.array([names.index(p) for p in faces.people])
    plain = _embed(faces.crops, embedder, lambda done: progress("photos", done, len(faces.crops)))
    rng = np.random.default_rng(recipe.seed)
    views, crops = [plain], faces.crops
    for n in range(recipe.views):  # one of each at a time: all of them would be a gigabyte
        changed = np.stack([changed_view(rng, crop, crops[rng.integers(len(crops))]) for crop in crops])
        views.append(_embed(changed, embedder, partial(_further, progress, n * len(crops), recipe.views * len(crops))))

    def fit(which: NDArray[np.bool_], said: str) -> NDArray[np.float32]:
        own = np.concatenate([view[which] for view in views])
        labels = np.tile(label[which], len(views))
        return fit_layer(own, labels, cohort.draw(20_000, seed=1), recipe, lambda done, of: progress(said, done, of))

    matrix = fit(~aside, "steps")
    before = dev_figures(plain, faces.people, aside, cohort, far)
    after = dev_figures(unit(plain @ matrix), faces.people, aside, mapped_cohort(cohort, matrix, "", ""), far)
    if after.beats(before):  # which was shown without those kept aside; what is kept learns from all photos
        matrix = fit(np.ones_like(aside), "steps with all photos")
    strangers = cohort.draw(5_000, seed=2)
    moved = float(np.einsum("nd,nd->n", strangers, unit(strangers @ matrix)).mean())
    return MembersResult(matrix, before, after, train=int((~aside).sum()), moved=moved)


def changed_view(rng: Rng, crop: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same face as another photo might show it, `[112,112,3]`; pieces of the `other` face may cover it."""
    edge = (CROP - FACE) // 2
    framed, cover = (
        np.asarray(cv2.copyMakeBorder(face, edge, edge, edge, edge, cv2.BORDER_REFLECT), np.uint8)
        for face in (crop, other)
    )
    return degrade(rng, scene(rng, framed, cover, CHANGES), CHANGES)


def _further(progress: Callable[[str, int, int], None], before: int, total: int, done: int) -> None:
    progress("views", before + done, total)


def _embed(crops: NDArray[np.uint8], embedder: Embedder, said: Callable[[int], None]) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(crops), 64):
        parts.append(embedder.embed(crops[start : start + 64], mirrored=True))  # as photos are looked at
        said(min(len(crops), start + 64))
    return np.concatenate(parts)


def fit_layer(
    x: NDArray[np.float32],
    label: NDArray[np.integer],
    strangers: NDArray[np.float32],
    recipe: MemberRecipe,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """The layer `[D,D]`, learned from unit vectors `x` `[N,D]` of the people `label` `[N]` and of `strangers` `[M,D]`.

    Raises:
        InputError: the loss is no number any more.
    """
    count = int(label.max()) + 1
    centres = unit(np.stack([x[label == k].mean(axis=0) for k in range(count)]).astype(np.float32))
    matrix, weights = tf.Variable(np.eye(x.shape[1], dtype=np.float32)), tf.Variable(centres)
    optimizer = tf.keras.optimizers.Adam(recipe.rate)
    optimizer.build([matrix, weights])

    @tf.function
    def step(own: tf.Tensor, who: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            right = tf.one_hot(who, count)
            cosines = tf.math.l2_normalize(own @ matrix, -1) @ tf.transpose(tf.math.l2_normalize(weights, -1))
            apart = tf.nn.softmax_cross_entropy_with_logits(right, recipe.scale * (cosines - recipe.margin * right))
            stay = 1 - tf.reduce_sum(tf.math.l2_normalize(others @ matrix, -1) * others, -1)
            loss = tf.reduce_mean(apart) + recipe.keep * tf.reduce_mean(stay)
        variables = [matrix, weights]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    rng = np.random.default_rng([recipe.seed, 1])
    # Everybody counts the same, however many photos there are of them.
    chance = 1 / np.bincount(label)[label] / len(np.unique(label))
    for n in range(recipe.steps):
        own = rng.choice(len(x), recipe.batch, p=chance)
        others = strangers[rng.integers(len(strangers), size=recipe.batch)]
        loss = float(step(tf.constant(x[own]), tf.constant(label[own], tf.int32), tf.constant(others)))
        if not np.isfinite(loss):
            raise InputError(f"training broke down at step {n}: the loss is {loss}; try a lower --rate")
        progress(n + 1, recipe.steps)
    return np.asarray(matrix.numpy(), np.float32)


def dev_figures(
    x: NDArray[np.float32], people: Sequence[str], aside: NDArray[np.bool_], cohort: Cohort, far: float
) -> DevFigures:
    """The photos kept aside against a gallery (medoids, its own threshold) of the others.

    Args:
        x: `[N,D]` unit vectors.
        people: `[N]`.
        aside: `[N]` which are tried.
        cohort: strangers of the same space.
        far: false-accept rate of the threshold.
    """
    names = np.array(people)
    gallery = Gallery.build({n: x[~aside & (names == n)] for n in sorted(set(people))}, cohort.embedder_sha256, 0.0)
    gallery = calibrate(gallery, cohort, far)
    matches = gallery.identify(np.ascontiguousarray(x[aside]))
    nearest = np.array(gallery.people)[matches.nearest] == names[aside]
    named = nearest & (matches.similarities >= gallery.threshold)
    return DevFigures(float(nearest.mean()), float(named.mean()), gallery.threshold, int(aside.sum()))


def mapped_cohort(cohort: Cohort, matrix: NDArray[np.float32], name: str, sha256: str, each: int = 200) -> Cohort:
    """The cohort as the fine-tuned embedder sees it: `each` drawn stranger per cluster is mapped, and means and scatter
    are taken anew."""
    count = len(cohort.centroids)
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(cohort.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))).T
    cluster = np.repeat(np.arange(count), each)
    scatter = rng.standard_normal((len(cluster), len(root))) @ root * np.sqrt(cohort.scales[cluster])[:, None]
    seen = unit(unit((cohort.centroids[cluster] + scatter).astype(np.float32)) @ matrix).astype(np.float64)
    means = seen.reshape(count, each, -1).mean(axis=1)
    rest = seen - means[cluster]
    weight = (cohort.weights / cohort.weights.sum())[cluster] / each
    covariance = (rest * weight[:, None]).T @ rest
    around = (rest**2).sum(axis=1).reshape(count, each).mean(axis=1)
    return replace(
        cohort,
        centroids=means.astype(np.float32),
        scales=around / np.trace(covariance),
        covariance=covariance,
        embedder=name,
        embedder_sha256=sha256,
    )


def same_rate_threshold(cohort: Cohort, matrix: NDArray[np.float32], threshold: float) -> float:
    """The cosine that as many pairs of strangers reach after the layer as reached `threshold` before it."""
    drawn = cohort.draw(2_000, seed=3)
    upper = np.triu_indices(len(drawn), 1)
    share = float(((drawn @ drawn.T)[upper] >= threshold).mean())
    mapped = unit(drawn @ matrix)
    return float(np.quantile((mapped @ mapped.T)[upper], 1 - share)) if share > 0 else threshold


def with_layer(source: Path, matrix: NDArray[np.float32]) -> onnx.ModelProto:
    """The embedder at `source` with the layer behind it.

    Raises:
        InputError: `source` has no output `embeddings`.
    """
    model = onnx.load(source)
    graph = model.graph
    if [output.name for output in graph.output].count("embeddings") != 1:
        raise InputError(f"{source}: has no output embeddings; name an embedder")
    earlier = next((tensor for tensor in graph.initializer if tensor.name == "members_matrix"), None)
    if earlier is None:
        _append_layer(graph, matrix)
    else:  # unit(unit(x A) B) = unit(x A B), so one layer does for both
        both = numpy_helper.to_array(earlier) @ matrix
        earlier.CopyFrom(numpy_helper.from_array(both.astype(np.float32), "members_matrix"))
    return model


def _append_layer(graph: onnx.GraphProto, matrix: NDArray[np.float32]) -> None:
    """Let `embeddings` be what the layer makes of what it was."""
    for node in graph.node:  # what was the output becomes an inner tensor
        for names in (node.input, node.output):
            names[:] = ["members_before" if n == "embeddings" else n for n in names]
    graph.initializer.extend(
        [
            numpy_helper.from_array(matrix.astype(np.float32), "members_matrix"),
            numpy_helper.from_array(np.ones((len(matrix), 1), np.float32), "members_ones"),
        ]
    )
    graph.node.extend(  # operators that every version of the format has in the same form
        [
            helper.make_node("MatMul", ["members_before", "members_matrix"], ["members_raw"], "members_map"),
            helper.make_node("Mul", ["members_raw", "members_raw"], ["members_squares"], "members_square"),
            helper.make_node("MatMul", ["members_squares", "members_ones"], ["members_sum"], "members_add"),
            helper.make_node("Sqrt", ["members_sum"], ["members_length"], "members_norm"),
            helper.make_node("Div", ["members_raw", "members_length"], ["embeddings"], "members_unit"),
        ]
    )


def check_out(out: Path) -> None:
    """Refuse a folder for `export` that takes no files, before anything is learned. Nothing is made there.

    Raises:
        OutputError: it cannot be made, is a file, or one of the files in it cannot be replaced.
    """
    above = (out, *out.parents)
    there = next((place for place in above if os.path.lexists(place)), above[-1])
    if there == out:
        for name in OUTPUTS:
            check_output(out / name, overwrite=True)
    else:
        check_folder(there, out)


def export(
    result: MembersResult, gallery: Gallery, embedder: Embedder, cohort: Cohort, out: Path, far: float = FAR
) -> Gallery:
    """Write `OUTPUTS` to the folder `out`.

    Args:
        result: what was learned.
        gallery: of all photos, made with the original embedder.
        embedder: the original.
        cohort: its strangers.
        out: made where it is missing; files of an earlier run are replaced.
        far: false-accept rate of the new gallery's threshold.

    Returns:
        The gallery rebuilt for the new embedder, from all photos, those kept aside included.

    Raises:
        OutputError: `out` cannot be written.
        RuntimeError: ONNX Runtime does not answer as the layer says; nothing has been replaced.
    """
    name = f"{embedder.name}-members"
    threshold = same_rate_threshold(cohort, result.matrix, embedder.threshold)
    original = embedder.session.model
    digest = write_onnx(
        with_layer(original.path, result.matrix),
        out / NETWORK,
        {**original.metadata, "iznet.name": name, "iznet.threshold": f"{threshold:.3f}"},
        check=lambda written: _check_export(written, embedder, result.matrix),
    )
    moved = mapped_cohort(cohort, result.matrix, name, digest)
    moved.save(out / COHORT)
    people = {
        person.name: replace(gallery.photos(n), embeddings=unit(gallery.of(n) @ result.matrix))
        for n, person in enumerate(gallery.persons)
    }
    rebuilt = Gallery.build(people, digest, threshold, name, gallery.made_by, gallery.method)
    rebuilt = calibrate(rebuilt, moved, far)
    rebuilt.save(out / GALLERY, overwrite=True)
    return rebuilt


def _check_export(path: Path, embedder: Embedder, matrix: NDArray[np.float32]) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
    original = Embedder.open(embedder.session.model.path, backend="onnxruntime", precision="f32", threads=1)
    tuned = Embedder.open(path, backend="onnxruntime", precision="f32", threads=1)
    difference = float(np.abs(tuned.embed(faces) - unit(original.embed(faces) @ matrix)).max())
    original.close()
    tuned.close()
    if not difference < 1e-4:
        raise RuntimeError(f"the exported network answers otherwise than was learned, by {difference:.3g}")
