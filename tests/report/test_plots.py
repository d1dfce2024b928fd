"""The plots: what they say, that the notice is there, that they fit, and that saving is all or nothing."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from visiting import often_interrupted

from core.report import galleries, metrics, plots, style

NOTICE = "SYNTHETIC data: rendered digits, not MNIST; no figure here is a real result"
LABELS = np.arange(40) % 4
PROBABILITIES = np.roll(np.eye(4)[LABELS], 1, axis=1) * 0.7 + 0.075
PROBABILITIES[:30] = np.eye(4)[LABELS[:30]]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
CLASSES = ["cat", "$dog", "T-shirt/top", "_bird"]
HISTORY = {
    "epoch": [1, 2, 3],
    "train_loss": [1.0, 0.5, 0.4],
    "validation_loss": [1.1, 0.6, 0.7],
    "validation_accuracy": [0.5, float("nan"), 0.9],
    "learning_rate": [1e-3, 1e-3, 1e-4],
}


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(Text))


PLOTS: dict[str, Callable[[str], Figure]] = {
    "curves": lambda notice: plots.learning_curves(HISTORY, notice, best=3),
    "confusion": lambda notice: plots.confusion_matrix(
        metrics.confusion_matrix(LABELS, PROBABILITIES.argmax(axis=1), 4), CLASSES, notice
    ),
    "reliability": lambda notice: plots.reliability_diagram(metrics.reliability(LABELS, PROBABILITIES), notice),
    "mistakes": lambda notice: galleries.mistakes_gallery(IMAGES, LABELS, PROBABILITIES, CLASSES, notice),
    "no mistakes": lambda notice: galleries.mistakes_gallery(IMAGES, LABELS, np.eye(4)[LABELS], CLASSES, notice),
    "grid": lambda notice: galleries.image_grid(IMAGES, notice=notice),
}


@pytest.mark.parametrize("name", PLOTS)
def test_the_notice_is_shown_in_the_largest_letters(name):
    figure = PLOTS[name](NOTICE)
    (shown,) = [item for item in figure.texts if item.get_text().replace("\n", " ") == NOTICE]
    assert shown.get_fontsize() == max(item.get_fontsize() for item in figure.findobj(Text))
    figure.draw_without_rendering()
    box = shown.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1
    assert all(axes.get_tightbbox().y1 <= box.y0 for axes in figure.axes), "the notice lies over a plot"


@pytest.mark.parametrize("name", PLOTS)
def test_without_a_notice_there_is_none(name):
    assert "SYNTHETIC" not in texts(PLOTS[name](""))


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_reaches_beyond_the_paper(name):
    figure = PLOTS[name]("")
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= -1
        assert box.y1 <= figure.bbox.y1 + 1


def test_learning_curves_name_the_best_epoch_and_pass_over_what_was_not_measured():
    figure = PLOTS["curves"]("")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Loss", "Accuracy", "Learning rate"]
    loss, accuracy = ([item.get_text() for item in axes.get_legend().get_texts()] for axes in figure.axes[:2])
    assert loss == ["train", "validation", "best epoch, 3: 0.7000"], "not the one with the lowest loss"
    assert accuracy == ["validation", "best epoch, 3: 90.00%"]


def test_a_single_epoch_is_the_only_tick():
    figure = plots.learning_curves({name: values[:1] for name, values in HISTORY.items()}, best=1)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_a_bad_start_does_not_flatten_the_rest():
    long = {"train_loss": [9.0] + [0.5] * 19, "validation_accuracy": [0.1] + [0.9] * 19}
    loss, accuracy = plots.learning_curves(long).axes
    assert loss.get_ylim()[1] < 1
    assert accuracy.get_ylim()[0] > 0.8
    short = {name: values[:4] for name, values in long.items()}
    assert plots.learning_curves(short).axes[0].get_ylim()[1] > 9


def test_an_infinite_loss_leaves_a_gap():
    loss = plots.learning_curves({"train_loss": [9.0] + [0.5] * 18 + [float("inf")]}).axes[0]
    assert loss.get_ylim()[1] < 1


def test_learning_curves_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no curve"):
        plots.learning_curves({"epoch": [1, 2], "train_loss": [float("nan")] * 2})


def test_confusion_matrix_shows_each_count_and_the_most_frequent_mistake():
    figure = PLOTS["confusion"]("")
    words = texts(figure)
    assert "30 of 40 right" in words
    assert "3 ×\nT-shirt/top → _bird" in words


def test_counts_are_legible_on_every_colour():
    confusion = np.array([[1, 0, 99], [0, 100, 0], [40, 0, 60]])
    figure = plots.confusion_matrix(confusion, CLASSES[:3])
    cells = figure.axes[0].images[0].get_array()
    for count in (item for item in figure.axes[0].texts if item.get_text()):
        column, row = (int(place) for place in count.get_position())
        bright = cells[row, column, :3].mean() > 0.5
        assert count.get_color() == (style.INK if bright else style.PAPER), count.get_text()


def test_confusion_matrix_of_a_hundred_classes_has_a_legible_list_and_no_counts():
    confusion = np.diag(np.full(100, 1234))
    confusion[7, 1] = 5
    figure = plots.confusion_matrix(confusion, [f"{i:02d}" for i in range(100)])
    assert "07 → 01" in texts(figure)
    assert "1,234" not in texts(figure)
    assert len(figure.axes[0].get_xticklabels()) == 100


def test_confusion_matrix_must_fit_the_classes():
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        plots.confusion_matrix(np.eye(3, dtype=np.int64), CLASSES)


def test_reliability_diagram_says_the_calibration_error():
    expected = metrics.reliability(LABELS, PROBABILITIES).ece
    assert f"{expected:.2%}" in texts(PLOTS["reliability"](""))


def test_reliability_diagram_names_the_samples_and_hides_nothing_behind_its_legend():
    figure = plots.reliability_diagram(metrics.reliability(LABELS, PROBABILITIES), samples="songs")
    assert figure.axes[1].get_ylabel() == "share of songs"
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_mistakes_are_shown_with_truth_answer_and_confidence():
    words = texts(PLOTS["mistakes"](""))
    assert "true: T-shirt/top\nanswer: _bird\n77.5% sure" in words
    assert "10 mistakes" in words
    assert "No mistake in 40 images" in texts(PLOTS["no mistakes"](""))


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 5, 4, 1), (3, 5, 4, 3)])
def test_pictures_of_every_usual_shape(shape):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pictures = galleries.as_pictures(images)
    assert pictures.shape == (3, 5, 4, 3)
    assert (pictures.min(), pictures.max()) == (0, 255)


def test_a_pixel_that_is_no_number_spoils_no_other():
    images = np.array([[[0, 1], [2, 4]], [[np.nan, np.inf], [-np.inf, 4]]], np.float16)
    pictures = galleries.as_pictures(images)[..., 0]
    assert pictures.tolist() == [[[0, 64], [128, 255]], [[0, 0], [0, 255]]]


def test_pictures_of_a_wide_float16_range():
    images = np.array([[[-60_000, 60_000]]], np.float16)  # the range itself is beyond float16
    assert galleries.as_pictures(images)[0, ..., 0].tolist() == [[0, 255]]


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 5\)"):
        galleries.as_pictures(np.zeros((3, 5)))


def test_saving_writes_a_png_and_leaves_nothing_else(tmp_path):
    path = style.save(PLOTS["curves"](""), tmp_path / "curves.png")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) > (400, 400)
    assert [item.name for item in tmp_path.glob("[!.]*")] == ["curves.png"]


def test_a_failed_save_keeps_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        style.save(PLOTS["curves"](""), path)
    assert path.read_bytes() == b"old"
    assert not [item for item in tmp_path.iterdir() if item.suffix == ".tmp"]


def test_plots_look_the_same_whatever_the_users_settings():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        figure = PLOTS["reliability"]("")
        assert matplotlib.rcParams["font.size"] == 30
    assert figure.axes[0].get_facecolor() == (1, 1, 1, 1)


def test_plots_made_at_the_same_time_look_as_usual(tmp_path):
    """Matplotlib has one set of settings for all threads, and a demo has several visitors."""
    import matplotlib

    def draw(number: int) -> bytes:
        return style.save(PLOTS["reliability"](""), tmp_path / f"{number}.png").read_bytes()

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        expected, before = draw(0), dict(matplotlib.rcParams)
        with often_interrupted(), ThreadPoolExecutor(3) as visitors:
            assert all(picture == expected for picture in visitors.map(draw, range(6)))
        assert dict(matplotlib.rcParams) == before


def test_no_display_is_opened():
    code = "import core.report.plots, core.report.galleries, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_title_of_a_figure_stands_below_the_notice():
    figure = plots.learning_curves({"epoch": [1, 2], "train_loss": [2.0, 1.0]}, notice="SYNTHETIC data", title="best")
    FigureCanvasAgg(figure).draw()
    (band,) = [artist for artist in figure.artists if isinstance(artist, Rectangle)]
    title = next(text for text in figure.texts if text.get_text() == "best")
    assert title.get_window_extent().y1 <= band.get_window_extent().y0
    panel = next(text for text in figure.axes[0].findobj(Text) if text.get_text() == "Loss")
    assert title.get_window_extent().y0 >= panel.get_window_extent().y1
