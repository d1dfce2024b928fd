"""Pictures of the search for good settings: the learning-rate range test, a sweep, a random search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from core.report.metrics import Floats
from core.report.style import BLUE, GREY, ORANGE, SKY, add_grid, new_figure, styled

LOG_FROM = 20  # a range of at least this ratio gets a logarithmic axis


@styled
def lr_range(
    lrs: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float, notice: str = ""
) -> Figure:
    """The loss against the learning rate, and the suggested one, of a range test."""
    figure = new_figure(7.0, 4.4, notice)
    axes = figure.subplots()
    axes.plot(lrs, losses, color=SKY, linewidth=1, label="loss of the batch")
    axes.plot(lrs, smoothed, color=BLUE, label="smoothed")
    nearest = int(np.argmin(np.abs(np.log(np.asarray(lrs) / suggestion))))
    axes.plot(
        suggestion, smoothed[nearest], "o", color=ORANGE, markersize=9, zorder=3, label=f"steepest: lr {suggestion:.2g}"
    )
    # A loss that blows up at the end would flatten everything else.
    axes.set_ylim(min(smoothed) * 0.9, max(smoothed[: max(2, len(smoothed) // 2)]) * 1.3)
    axes.set(xlabel="learning rate", ylabel="loss", title="Learning-rate range test")
    _log_scale(axes)
    axes.legend(loc="lower left")
    add_grid(axes)
    return figure


@styled
def sweep(
    changes: Sequence[Mapping[str, object]], values: Sequence[float], figure_name: str, notice: str = ""
) -> Figure:
    """The best validation figure of each training of a sweep: a curve where one number was swept, else a list."""
    figure = new_figure(7.0, 4.4, notice)
    axes = figure.subplots()
    first = [next(iter(change.values())) for change in changes]
    if len(changes[0]) == 1 and all(type(value) in (int, float) for value in first):
        x = np.asarray(first, float)
        order = np.argsort(x)
        axes.plot(x[order], np.asarray(values)[order], "o-", color=BLUE)
        axes.set(xlabel=next(iter(changes[0])), ylabel=figure_name)
        _log_if_wide(axes, x)
        axes.set_xticks(x, [f"{number:g}" for number in x])
    else:
        labels = [", ".join(f"{name} {value}" for name, value in change.items()) for change in changes]
        axes.plot(values, range(len(values)), "o", color=BLUE)
        axes.set_yticks(range(len(values)), labels)
        axes.invert_yaxis()
        axes.set_xlabel(figure_name)
    axes.set_title("Sweep")
    add_grid(axes)
    return figure


@styled
def search(
    changes: Sequence[Mapping[str, float]], values: Sequence[float], best: int, figure_name: str, notice: str = ""
) -> Figure:
    """The validation figure of every finished trial against each setting that was searched; the best one is marked."""
    names = list(changes[0])
    figure = new_figure(4.2 * len(names) + 0.8, 4.2, notice)
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False, sharey=True)[0], strict=True):
        x = np.asarray([trial[name] for trial in changes], float)
        axes.plot(x, values, "o", color=GREY, alpha=0.7)
        axes.plot(x[best], values[best], "o", color=ORANGE, markersize=9, label=f"best: {x[best]:.3g}")
        _log_if_wide(axes, x)
        axes.set_xlabel(name)
        axes.legend()
        add_grid(axes)
    figure.axes[0].set_ylabel(figure_name)
    figure.suptitle(f"Search: {len(values)} trials", x=0.01, ha="left", fontsize=13)
    return figure


def _log_if_wide(axes: Axes, x: Floats) -> None:
    if x.min() > 0 and x.max() / x.min() >= LOG_FROM:
        _log_scale(axes)


def _log_scale(axes: Axes) -> None:
    """A logarithmic axis with labels such as 0.001; matplotlib's own are formulas, which the house style prints raw."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
