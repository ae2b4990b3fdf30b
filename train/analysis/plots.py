"""The pictures of the report, as PNG files in memory, drawn without a display."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from numpy.typing import NDArray

from engine.metrics import OpenSet, Roc
from train.analysis.distances import Spread
from train.analysis.fonts import families
from train.analysis.recognition import FARS

INK, QUIET, ACCENT, SOFT = "#1d2733", "#7b8794", "#b3202c", "#d8dee6"
COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0",
    "#97592b", "#ff8ab7", "#9c9ea3", "#1f4e79", "#7a0f2b", "#86a500",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_FONTS = matplotlib.rc_context({"font.family": list(families())})
WIDTH = 5.6
"""Of a picture, inches: what a phone shows without making the letters small."""
DPI = 180


def _figure(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(which="both", colors=INK, labelsize=9, length=0)
    axes.set_axisbelow(True)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # the report's notes say which letters are missing
        figure.savefig(out, format="png", facecolor="white", metadata={"Software": ""})
    return out.getvalue()


def _cloud(
    axes: Axes, points: NDArray[np.floating], labels: NDArray[np.integer], shown: Sequence[int], scale: float = 1.0
) -> None:
    others = ~np.isin(labels, shown)
    size = scale * float(np.clip(4500 / max(len(points), 1), 5, 30))
    axes.scatter(points[others, 0], points[others, 1], s=size * 0.6, color=SOFT, linewidths=0)
    for n, person in enumerate(shown):
        mine = points[labels == person]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=size,
            color=COLOURS[n % len(COLOURS)],
            marker=MARKERS[n // len(COLOURS) % len(MARKERS)],
            linewidths=0,
            alpha=0.85,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(SOFT)


def _key(figure: Figure, axes: Axes, names: Sequence[str], shown: Sequence[int]) -> None:
    for n, person in enumerate(shown):
        axes.scatter(
            [],
            [],
            s=26,
            color=COLOURS[n % len(COLOURS)],
            marker=MARKERS[n // len(COLOURS) % len(MARKERS)],
            label=_short(names[person]),
        )
    figure.legend(
        loc="outside lower center", ncols=4, fontsize=8.5, frameon=False, handletextpad=0.2, columnspacing=1.0
    )


def _short(name: str, length: int = 16) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


@_FONTS
def tsne_plot(
    points: NDArray[np.floating], labels: NDArray[np.integer], names: Sequence[str], shown: Sequence[int]
) -> bytes:
    """The map `[N,2]`, a colour for each of the people `shown`; the others are grey."""
    figure, axes = _figure(5.2 + 0.18 * -(-len(shown) // 4))
    _cloud(axes, points, labels, shown)
    _key(figure, axes, names, shown)
    return _png(figure)


@_FONTS
def tsne_sequence(
    maps: Sequence[tuple[str, NDArray[np.floating]]],
    labels: NDArray[np.integer],
    names: Sequence[str],
    shown: Sequence[int],
) -> bytes:
    """Several maps of the same photos, two in a row, each under its title."""
    rows = -(-len(maps) // 2)
    figure = Figure(figsize=(WIDTH, 2.85 * rows + 0.4 + 0.18 * -(-len(shown) // 4)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = np.ravel(figure.subplots(rows, 2, squeeze=False))
    for axes, (title, points) in zip(grid, maps, strict=False):
        _plain(axes)
        _cloud(axes, points, labels, shown, scale=0.5)
        axes.set_title(title, fontsize=9, color=INK)
    for axes in grid[len(maps) :]:
        axes.set_axis_off()
    _key(figure, grid[0], names, shown)
    return _png(figure)


@_FONTS
def boxplots(spreads: Sequence[Spread], nearest: float) -> bytes:
    """Within-person distances, a box for each person: quartiles, whiskers to 1.5 times their distance, outliers.

    `nearest` is the smallest distance between two people's medoids, drawn as a line.
    """
    figure, axes = _figure(max(2.2, 0.32 * len(spreads) + 1.0))
    axes.boxplot(
        [s.pairs for s in spreads],
        orientation="horizontal",
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": "#dbe5f5", "edgecolor": COLOURS[0]},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": COLOURS[0]},
        capprops={"color": COLOURS[0]},
        flierprops={
            "marker": "o",
            "markersize": 2.2,
            "markerfacecolor": COLOURS[0],
            "markeredgewidth": 0,
            "alpha": 0.5,
        },
    )
    axes.set_yticks(range(1, len(spreads) + 1), [_short(s.name) for s in spreads])
    axes.invert_yaxis()
    axes.axvline(nearest, color=ACCENT, linewidth=1.2)
    axes.text(nearest, 0.35, " nearest two people", color=ACCENT, fontsize=8.5, va="bottom", clip_on=False)
    axes.set_xlim(0, 2)
    axes.grid(axis="x", color=SOFT, linewidth=0.6)
    axes.set_xlabel("Euclidean distance between two photos of one person", fontsize=9.5, color=INK)
    return _png(figure)


def _far_axis(axes: Axes, lowest: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    # None at the corner, where the other axis writes its 0 %.
    ticks = [10.0**-k for k in range(8) if 10.0**-k > lowest * 1.8]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    axes.grid(color=SOFT, linewidth=0.6)


@_FONTS
def roc_plot(roc: Roc, different: int) -> bytes:
    """True against false accepts, the latter on a logarithmic axis down to a single pair; marks at the usual rates."""
    figure, axes = _figure(4.0)
    lowest = max(1 / max(different, 10), 1e-6)
    axes.plot(np.maximum(roc.far, lowest), roc.tar, color=COLOURS[0], linewidth=2, drawstyle="steps-post")
    chance = np.geomspace(lowest, 1, 100)
    axes.plot(chance, chance, color=QUIET, linewidth=1, linestyle=(0, (3, 3)))
    _far_axis(axes, lowest)
    for far in FARS:
        if far >= lowest:
            tar = float(roc.tar[roc.far <= far + 1e-12][-1])
            axes.plot([far], [tar], "o", color=ACCENT, markersize=6)
            axes.annotate(
                f"{100 * tar:.1f} %", (far, tar), textcoords="offset points", xytext=(6, -13), fontsize=9, color=ACCENT
            )
    axes.set_xlabel("pairs of different people accepted (FAR)", fontsize=9.5, color=INK)
    axes.set_ylabel("pairs of one person accepted (TAR)", fontsize=9.5, color=INK)
    return _png(figure)


@_FONTS
def open_set_plot(curve: OpenSet, strangers: int) -> bytes:
    """Right names against strangers named, the latter on a logarithmic axis."""
    figure, axes = _figure(4.0)
    lowest = max(1 / max(strangers, 10), 1e-6)
    axes.plot(np.maximum(curve.far, lowest), curve.dir, color=COLOURS[3], linewidth=2, drawstyle="steps-post")
    _far_axis(axes, lowest)
    value, _ = curve.at(0.01)
    if lowest <= 0.01:
        axes.plot([0.01], [value], "o", color=ACCENT, markersize=6)
        axes.annotate(
            f"{100 * value:.1f} %", (0.01, value), textcoords="offset points", xytext=(6, -13), fontsize=9, color=ACCENT
        )
    axes.set_xlabel("strangers given a name (FAR)", fontsize=9.5, color=INK)
    axes.set_ylabel("known people given their name (DIR)", fontsize=9.5, color=INK)
    return _png(figure)


@_FONTS
def confusion_plot(matrix: NDArray[np.integer], names: Sequence[str], group: Sequence[int]) -> bytes:
    """Shares of each person's photos by the name they got; the people of `group` are printed in red."""
    count = len(names)
    side = max(3.2, 0.38 * count + 1.2)
    figure, axes = _figure(side, max(WIDTH, min(side + 0.4, 9.0)))
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for i in range(count):
        for j in range(count):
            if matrix[i, j] and count <= 20:
                wrong = i != j
                axes.text(
                    j,
                    i,
                    f"{100 * shares[i, j]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8.5 if count <= 14 else 7,
                    color=ACCENT if wrong else ("white" if shares[i, j] > 0.55 else INK),
                    fontweight="bold" if wrong else "normal",
                )
    short = [_short(name, 12) for name in names]
    axes.set_xticks(range(count), short, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), short)
    for label, n in [*zip(axes.get_xticklabels(), range(count)), *zip(axes.get_yticklabels(), range(count))]:  # noqa: B905
        if n in group:
            label.set_color(ACCENT)
            label.set_fontweight("bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("named (% of a person's photos)", fontsize=9.5, color=INK)
    axes.set_ylabel("shown", fontsize=9.5, color=INK)
    return _png(figure)
