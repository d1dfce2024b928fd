"""What a network knows of a drawing that is not finished yet."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from core.report.metrics import Floats, wilson_interval
from core.report.style import BLUE, SKY, add_grid, new_figure, styled


@styled
def accuracy_by_share(shares: Sequence[float], top1: Floats, top3: Floats, drawings: int, notice: str = "") -> Figure:
    """Accuracy against the share of each drawing that has been seen, with its 95 % interval.

    shares: from 0 to 1, ascending; top1, top3 (S,): the share of right answers, and of those among the first three.
    """
    figure = new_figure(7.0, 4.6, notice)
    axes = figure.subplots()
    low, high = zip(*(wilson_interval(round(value * drawings), drawings) for value in top1), strict=True)
    axes.fill_between(shares, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(shares, top3, "o--", color=SKY, markersize=4, label="right answer among the first three")
    axes.plot(shares, top1, "o-", color=BLUE, markersize=5, label="right answer first")
    axes.set(ylim=(0, 1), xlim=(0, 1.02), xlabel="share of the drawing seen", ylabel="share of drawings")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(f"Guessing early: {drawings:,} test drawings")
    axes.legend(loc="lower right")
    add_grid(axes)
    return figure
