"""Pictures of the search for good settings: the learning-rate range test, a sweep, a random search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from core.report.metrics import Floats
from core.report.style import BLUE, GREY, LINES, ORANGE, PAPER, SKY, add_grid, add_title, new_figure, styled

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
    changes: Sequence[Mapping[str, Any]], values: Sequence[float], best: int, figure_name: str, notice: str = ""
) -> Figure:
    """The validation figure of every finished trial against each setting that was searched; the best one is marked."""
    names = list(changes[0])
    figure = new_figure(4.2 * len(names) + 0.8, 4.2, notice)
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False, sharey=True)[0], strict=True):
        x, names_of_x = _places([trial[name] for trial in changes])
        label = f"best: {names_of_x[int(x[best])] if names_of_x else format(x[best], '.3g')}"
        axes.plot(x, values, "o", color=GREY, alpha=0.7)
        axes.plot(x[best], values[best], "o", color=ORANGE, markersize=9, label=label)
        if names_of_x:
            axes.set_xticks(range(len(names_of_x)), names_of_x)
            axes.set_xlim(-0.5, len(names_of_x) - 0.5)
        else:
            _log_if_wide(axes, x)
        axes.set_xlabel(name)
        axes.legend()
        add_grid(axes)
    figure.axes[0].set_ylabel(figure_name)
    add_title(figure, f"Search: {len(values)} trials")
    return figure


@styled
def parallel_coordinates(
    changes: Sequence[Mapping[str, Any]], values: Sequence[float], best: int, figure_name: str, notice: str = ""
) -> Figure:
    """Every finished trial as a line through its settings to its figure: the better, the darker; the best is marked."""
    names = [*changes[0], figure_name]
    columns = [*([trial[name] for trial in changes] for name in changes[0]), list(values)]
    figure = new_figure(2.2 * len(names) + 1.4, 4.6, notice)
    axes = figure.subplots()
    heights = np.stack([_axis(axes, place, column) for place, column in enumerate(columns)])  # (settings + 1, trials)
    rank = np.argsort(np.argsort(values)) / max(len(values) - 1, 1)
    rank = 1 - rank if figure_name.endswith("loss") else rank
    for trial in np.argsort(rank):
        axes.plot(heights[:, trial], color=BLUE, alpha=0.1 + 0.6 * float(rank[trial]), linewidth=1.2)
    axes.plot(heights[:, best], color=ORANGE, linewidth=2.6, label="best")
    axes.set(xlim=(-0.3, len(names) - 0.5), ylim=(-0.06, 1.06), yticks=[])
    axes.set_xticks(range(len(names)), names)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Search: {len(values)} trials")
    axes.legend(loc="upper right")
    return figure


def _axis(axes: Axes, place: int, values: Sequence[Any]) -> Floats:
    """Draw one of the parallel axes with its labels; returns the height of each value on it, from 0 to 1."""
    x, names = _places(values)
    shown = np.log(x) if not names and _is_wide(x) else x
    low, extent = shown.min(), np.ptp(shown) or 1.0
    heights = np.asarray((shown - low) / extent)
    axes.axvline(place, color=LINES, linewidth=1.5, zorder=0)
    for height in np.unique(heights) if names else (0.0, 1.0):
        nearest = int(np.abs(heights - height).argmin())
        text = names[int(x[nearest])] if names else f"{x[nearest]:.3g}"
        axes.text(place + 0.04, height, text, va="center", fontsize=9, bbox={"color": PAPER, "pad": 1, "alpha": 0.8})
    return heights


@styled
def time_against(
    seconds: Sequence[float], values: Sequence[float], best: int, figure_name: str, notice: str = ""
) -> Figure:
    """The figure of every finished trial against the seconds that it took to reach it."""
    figure = new_figure(7.0, 4.4, notice)
    axes = figure.subplots()
    axes.plot(seconds, values, "o", color=GREY, alpha=0.7)
    axes.plot(seconds[best], values[best], "o", color=ORANGE, markersize=9, label="best")
    axes.set(xlabel="seconds", ylabel=figure_name, title="Time and what it bought")
    _log_if_wide(axes, np.asarray(seconds, float))
    axes.legend()
    add_grid(axes)
    return figure


def _places(values: Sequence[Any]) -> tuple[Floats, list[str]]:
    """Numbers as they are; anything else numbered in order, with its names."""
    if all(type(value) in (int, float) for value in values):
        return np.asarray(values, float), []
    order = sorted(set(values), key=lambda value: (value if isinstance(value, tuple) else (), str(value)))
    names = ["x".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in order]
    return np.asarray([order.index(value) for value in values], float), names


def _is_wide(x: Floats) -> bool:
    return bool(x.min() > 0 and x.max() / x.min() >= LOG_FROM)


def _log_if_wide(axes: Axes, x: Floats) -> None:
    if _is_wide(x):
        _log_scale(axes)


def _log_scale(axes: Axes) -> None:
    """A logarithmic axis with labels such as 0.001; matplotlib's own are formulas, which the house style prints raw."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
