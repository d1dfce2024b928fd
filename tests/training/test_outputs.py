"""What a run shows besides its folder's files: TensorBoard, a window, the bar in a terminal."""

from __future__ import annotations

import sys

import pytest
from toy_run import settings_of, train

from core.errors import UserError
from core.training.outputs import Outputs
from core.training.progress import Progress

pytestmark = pytest.mark.usefixtures("quick")


def test_tensorboard_events(run_folder):
    pytest.importorskip("tensorboardX")
    train(settings_of(run_folder, "--epochs", "2", "--tensorboard"))
    (events,) = (run_folder / "tensorboard").glob("events.*")
    assert b"validation/accuracy" in events.read_bytes()


def test_tensorboard_without_its_package_is_one_line_and_leaves_an_earlier_run(run_folder, monkeypatch):
    train(settings_of(run_folder, "--epochs", "1"))
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[tensorboard\]"'):
        train(settings_of(run_folder, "--tensorboard"))
    assert (run_folder / "best.safetensors").exists()
    assert list(run_folder.parent.iterdir()) == [run_folder]


def test_plot_without_a_display_is_a_note(run_folder, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    train(settings_of(run_folder, "--plot", "--epochs", "1"))
    assert "--plot: there is no display; the curves are saved as a picture all the same" in capsys.readouterr().out


def test_a_window_that_does_not_open_is_a_note(run_folder, monkeypatch, capsys, quick):
    monkeypatch.setattr(Outputs, "draw", quick)
    monkeypatch.setattr("core.report.window.why_no_window", lambda: "")
    monkeypatch.setenv("MPLBACKEND", "agg")
    train(settings_of(run_folder, "--plot", "--epochs", "1"))
    assert "no window: matplotlib found no toolkit that works here" in capsys.readouterr().err
    assert (run_folder / "curves.png").exists()


def test_the_bar_is_for_terminals_only(monkeypatch, capsys):
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer, raising=False)
        progress = Progress(epochs=3)
        progress.begin(epoch=1, steps=4, done=2)
        progress.advance()
        progress.say("a line")
        captured = capsys.readouterr()
        assert captured.out == "a line\n"
        assert ("epoch 2/3" in captured.err) == is_terminal
