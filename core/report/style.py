"""One look for every plot: sizes, colours that colour-blind readers can tell apart, the notice, and safe saving."""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from core.files import replacing

# Okabe and Ito's palette (2008), told apart by all common kinds of colour vision.
BLUE, ORANGE, SKY, GREY = "#0072B2", "#D55E00", "#56B4E9", "#6E6E6E"
INK, PAPER, LINES = "#222222", "#FFFFFF", "#DDDDDD"

DPI = 120
TITLE_HEIGHT = 0.35  # inches
NOTICE_SIZE = 15  # points: the largest letters in any figure
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a plot looks the same everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINES,
    "legend.edgecolor": LINES,  # without a frame, the marks in a legend look like data
    "legend.fancybox": False,
    "lines.linewidth": 2,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.usetex": False,
    "text.parse_math": False,  # class names and notices are text, even with a dollar in them
}

Plot = TypeVar("Plot", bound=Callable[..., Figure])

_drawing = threading.RLock()  # matplotlib's settings are those of all threads: the visitors of a demo take turns


@contextmanager
def _house_style() -> Iterator[None]:
    with _drawing, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def styled(plot: Plot) -> Plot:
    """Draw under the house style whatever the user's own matplotlib settings are."""

    @wraps(plot)
    def with_style(*arguments: Any, **settings: Any) -> Figure:
        with _house_style():
            return plot(*arguments, **settings)

    return with_style  # type: ignore[return-value]


def new_figure(width: float, height: float, notice: str = "") -> Figure:
    """A figure of `width` by `height` inches, with the notice in a band above when there is one."""
    lines = textwrap.wrap(notice, width=max(10, int(width * 72 / (0.66 * NOTICE_SIZE))))
    band = 0.28 * len(lines) + 0.22 if lines else 0.0  # inches
    share = band / (height + band)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, rect=(0, 0, 1, 1 - share))
    figure = Figure(figsize=(width, height + band), dpi=DPI, layout=layout)
    if lines:
        figure.add_artist(Rectangle((0, 1 - share), 1, share, transform=figure.transFigure, color=ORANGE, zorder=-1))
        figure.text(
            0.5, 1 - share / 2, "\n".join(lines), ha="center", va="center",
            color=PAPER, fontsize=NOTICE_SIZE, fontweight="bold", in_layout=False,
        )  # fmt: skip
    return figure


def add_title(figure: Figure, title: str) -> None:
    """Write a title of the whole figure below the notice, if there is one, and above everything else."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    top = float(engine.get()["rect"][3])  # of what the notice leaves, as a fraction of the figure's height
    share = TITLE_HEIGHT / figure.get_figheight()
    engine.set(rect=(0, 0, 1, top - share))
    figure.text(0.01, top - 0.6 * share, title, va="center", fontsize=13, in_layout=False)


def add_grid(axes: Axes, axis: str = "both") -> None:
    """Thin lines behind the data, without tick marks."""
    axes.grid(True, axis=axis, linewidth=0.8)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG in the house style, whole or not at all; OSError when the disk refuses."""
    picture = io.BytesIO()
    with _house_style():
        figure.savefig(picture, format="png")
    with replacing(path) as file:
        file.write(picture.getvalue())
    return path
