"""Learning curves, confusion matrix and reliability diagram, as matplotlib figures that need no display.

Each takes a `notice`, shown in large letters above the plot when it is not empty; `style.save` writes a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from core.data.colour import LUMA
from core.report.metrics import Floats, Indices, Reliability, wilson_interval
from core.report.style import BLUE, GREY, INK, LINES, ORANGE, PAPER, SKY, add_grid, add_title, new_figure, styled

RIGHT_COLOURS: Colormap = LinearSegmentedColormap.from_list("right", ["#F3F8FC", BLUE])
WRONG_COLOURS: Colormap = LinearSegmentedColormap.from_list("wrong", [PAPER, "#F6C9A0", ORANGE])
COUNTED_CLASSES = 30  # up to here each cell of a confusion matrix has room for its count


@styled
def learning_curves(
    history: Mapping[str, Sequence[float]], notice: str = "", title: str = "", best: float | None = None
) -> Figure:
    """Loss, accuracy and learning rate against the epoch; what the history lacks is left out.

    `history` maps "epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy" and
    "learning_rate" to equally many numbers; NaN stands for "not measured". Accuracies lie in [0, 1]. `best` is the
    epoch whose weights are kept: the same one is marked in both panels, even if the loss was lowest in another.
    """
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in history.items()}
    panels = [
        (what, label)
        for what, label in (("loss", "Loss"), ("accuracy", "Accuracy"), ("learning_rate", "Learning rate"))
        if any(_measured(columns, f"{prefix}{what}") for prefix in ("train_", "validation_", ""))
    ]
    if not panels:
        raise ValueError(f"no curve to draw in a history with the columns {sorted(columns)}")
    epochs = columns.get("epoch", np.arange(1.0, 1 + len(next(iter(columns.values())))))
    figure = new_figure(4.6 * len(panels) + 0.4, 4.0, notice)
    if title:
        add_title(figure, title)
    for (what, label), axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        _curve_panel(axes, columns, epochs, what, best)
        axes.set_title(label)
        axes.set_xlabel("epoch")
    return figure


def _measured(columns: Mapping[str, Floats], name: str) -> bool:
    return name in columns and bool(np.isfinite(columns[name]).any())


def _curve_panel(axes: Axes, columns: Mapping[str, Floats], epochs: Floats, what: str, best: float | None) -> None:
    names = [name for name in (f"train_{what}", f"validation_{what}", what) if _measured(columns, name)]
    for name in names:
        kind = name.removesuffix(what).rstrip("_") or what.replace("_", " ")
        shown = np.isfinite(columns[name])
        x, y = epochs[shown], columns[name][shown]
        # Train and validation differ in dash and marker too, so the plot reads without colour.
        look = {"train": (SKY, "--"), "validation": (BLUE, "-")}.get(kind, (GREY, "-"))
        axes.plot(x, y, color=look[0], linestyle=look[1], marker="o", markersize=4 if len(x) <= 30 else 0, label=kind)
        if kind == "validation" and best is not None and best in x:
            (value,) = y[x == best]
            number = f"{value:.2%}" if what == "accuracy" else f"{value:.4f}"
            axes.plot(best, value, "o", color=ORANGE, markersize=8, zorder=3, label=f"best epoch, {best:g}: {number}")
    add_grid(axes)
    if len(epochs) == 1:  # around a single epoch, matplotlib's axis would show a few hundredths of one
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    if what == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if what == "learning_rate":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(bottom=0)
    else:
        _leave_out_the_start(axes, columns, names, what)
        axes.legend()


def _leave_out_the_start(axes: Axes, columns: Mapping[str, Floats], names: Sequence[str], what: str) -> None:
    """Let the first two epochs of a longer run leave the plot: next to them the rest would look flat."""
    begin = min(2, len(columns[names[0]]) // 10)
    every, later = (np.concatenate([columns[name][start:] for name in names]) for start in (0, begin))
    every, later = every[np.isfinite(every)], later[np.isfinite(later)]
    if not begin or not later.size:
        return
    low = float((later if what == "accuracy" else every).min())
    high = float((every if what == "accuracy" else later).max())
    margin = 0.06 * ((high - low) or 0.1)
    axes.set_ylim(low - margin, high + margin)


@styled
def confusion_matrix(confusion: Indices, classes: Sequence[str], notice: str = "") -> Figure:
    """The counts of a confusion matrix (K, K): right answers in blue, mistakes in orange on a scale of their own.

    With one scale for both, the diagonal would leave every mistake white. A list names the most frequent mistakes.
    """
    n_classes = len(classes)
    if confusion.shape != (n_classes, n_classes):
        raise ValueError(f"expected a ({n_classes}, {n_classes}) matrix for {n_classes} classes, got {confusion.shape}")
    side = 6.5 if n_classes <= COUNTED_CLASSES / 2 else 11.0 if n_classes <= COUNTED_CLASSES else 15.0
    figure = new_figure(side + 3.2, side, notice)
    axes, list_axes = figure.subplots(1, 2, gridspec_kw={"width_ratios": [side, 2.6]})
    wrong = np.array(confusion, dtype=np.float64)
    np.fill_diagonal(wrong, 0)
    colours = _cell_colours(confusion, wrong)
    axes.imshow(colours)
    _label_cells(axes, classes)
    if n_classes <= COUNTED_CLASSES:
        _count_cells(axes, confusion, colours, 10 if n_classes <= 12 else 7)
    axes.set_title(f"Confusion matrix: {int(np.trace(confusion)):,} of {int(confusion.sum()):,} right")
    _list_confusions(list_axes, wrong, classes)
    return figure


def _cell_colours(confusion: Indices, wrong: Floats) -> Floats:
    support = np.maximum(confusion.sum(axis=1), 1)
    colours = WRONG_COLOURS(np.sqrt(wrong / max(wrong.max(), 1)))  # (K, K, 4); the root lifts single mistakes
    diagonal = np.arange(len(confusion))
    colours[diagonal, diagonal] = RIGHT_COLOURS(np.diag(confusion) / support)
    return np.asarray(colours)


def _label_cells(axes: Axes, classes: Sequence[str]) -> None:
    n_classes = len(classes)
    size = 10 if n_classes <= 12 else 8 if n_classes <= COUNTED_CLASSES else 6.5
    axes.set_xticks(range(n_classes), classes, fontsize=size)
    if n_classes > COUNTED_CLASSES:
        axes.tick_params(axis="x", rotation=90)
        for tenth in range(10, n_classes, 10):
            axes.axhline(tenth - 0.5, color=GREY, linewidth=0.6)
            axes.axvline(tenth - 0.5, color=GREY, linewidth=0.6)
    elif max(len(name) for name in classes) > 3:
        for name in axes.get_xticklabels():
            name.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n_classes), classes, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel("answer of the network")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(n_classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LINES, linewidth=0.8 if n_classes <= COUNTED_CLASSES else 0.4)
    axes.tick_params(which="minor", length=0)


def _count_cells(axes: Axes, confusion: Indices, colours: Floats, size: int) -> None:
    dark = colours[..., :3] @ np.array(LUMA) < 0.5
    for row, column in np.argwhere(confusion > 0):
        axes.text(
            column, row, f"{confusion[row, column]:,}",
            ha="center", va="center", fontsize=size, color=PAPER if dark[row, column] else INK,
        )  # fmt: skip


def _list_confusions(axes: Axes, wrong: Floats, classes: Sequence[str]) -> None:
    limit, size = (12, 10) if len(classes) <= COUNTED_CLASSES else (30, 12)
    axes.axis("off")
    axes.set_title("Most frequent mistakes")
    most = [flat for flat in np.argsort(-wrong, axis=None, kind="stable")[:limit] if wrong.flat[flat] > 0]
    line = 0.04 if len(classes) <= COUNTED_CLASSES else 0.02  # of the height of the plot
    for row, flat in enumerate(most):
        true, answer = np.unravel_index(flat, wrong.shape)
        y = 1 - line * (row + 0.5)
        axes.text(0.16, y, f"{int(wrong.flat[flat]):,} ×", ha="right", va="center", fontsize=size)
        axes.text(0.21, y, f"{classes[true]} → {classes[answer]}", va="center", fontsize=size)
    if not most:
        axes.text(0, 1 - line, "none", va="center", color=GREY)


@styled
def reliability_diagram(result: Reliability, notice: str = "", samples: str = "images") -> Figure:
    """Accuracy against confidence, with the expected calibration error, over a histogram of the confidence.

    `samples` is what was classified, in the plural.
    """
    figure = new_figure(6.4, 6.6, notice)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    width = np.diff(result.edges)
    filled = result.counts > 0
    left, height = result.edges[:-1][filled], result.accuracy[filled]
    gap = result.confidence[filled] - height
    upper.bar(left, height, width[filled], align="edge", color=BLUE, edgecolor=PAPER, label="accuracy")
    upper.bar(
        left, gap, width[filled], bottom=height, align="edge",
        color="#F6C9A0", edgecolor=ORANGE, hatch="////", linewidth=0.8, label="gap to the confidence",
    )  # fmt: skip
    upper.errorbar(
        (left + result.edges[1:][filled]) / 2, height, _bin_whiskers(result),
        fmt="o", markersize=4, color=INK, elinewidth=1.2, label="accuracy, 95 % interval",
    )  # fmt: skip
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.5, label="as right as it is sure")
    upper.set(ylim=(0, 1), xlim=(0, 1), ylabel="share of right answers")
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    upper.set_title(f"Reliability: expected calibration error {result.ece:.2%}")
    figure.legend(loc="outside lower center", ncols=2)  # the bars may reach into any corner
    add_grid(upper)
    lower.bar(result.edges[:-1], result.counts / result.counts.sum(), width, align="edge", color=GREY, edgecolor=PAPER)
    lower.set(xlabel="confidence of the answer", ylabel=f"share of {samples}", ylim=(0, 1))
    for axis in (lower.xaxis, lower.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    add_grid(lower)
    lower.tick_params(axis="x", pad=7)
    return figure


def _bin_whiskers(result: Reliability) -> Floats:
    """How far below and above its accuracy the Wilson interval of each filled bin reaches: (2, filled bins)."""
    filled = result.counts > 0
    right = np.rint(result.accuracy[filled] * result.counts[filled]).astype(int)
    ends = np.array([wilson_interval(int(r), int(n)) for r, n in zip(right, result.counts[filled], strict=True)])
    return np.asarray(np.abs(ends.T - result.accuracy[filled]))
