"""A window that shows a picture file and is told when the file has changed; for watching a training."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from core.report.style import DPI


def why_no_window() -> str:
    """The reason why no window can be opened here, in a few words; empty when one can."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    if not any(importlib.util.find_spec(toolkit) for toolkit in ("tkinter", "PyQt6", "PySide6", "PyQt5", "gi", "wx")):
        return "Python has no window toolkit such as tkinter here"
    return ""


class PictureWindow:
    """One window; it never takes the focus, and closing it leaves the training alone."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._figure: Any = None
        self._closed = False

    def show(self, path: Path) -> None:
        """Show the picture at `path`, in the window that is open already if there is one."""
        if self._closed:
            return
        try:
            self._show(path)
        except Exception as error:  # whatever a window toolkit may raise, it must not end a training
            self._closed = True
            print(f"no window: {error}", file=sys.stderr)

    def _show(self, path: Path) -> None:
        from matplotlib import pyplot

        picture = pyplot.imread(path)  # (H, W, 4)
        if self._figure is None:
            self._open(pyplot, picture)
        self._image.set_data(picture)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()

    def _open(self, pyplot: Any, picture: Any) -> None:
        if pyplot.get_backend().lower() == "agg":
            raise RuntimeError("matplotlib found no toolkit that works here")
        height, width = picture.shape[:2]
        self._figure = pyplot.figure(self._title, figsize=(width / DPI, height / DPI))
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        self._image = axes.imshow(picture)
        self._figure.canvas.mpl_connect("close_event", self._on_close)
        self._figure.show()

    def _on_close(self, event: Any) -> None:
        self._closed = True
