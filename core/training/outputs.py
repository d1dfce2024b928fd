"""What a run shows of itself while it goes on: lines, history.csv, the picture, the window, TensorBoard events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.training.files import save_picture, write_checked
from core.training.folder import RunFolder
from core.training.history import Row
from core.training.progress import Progress
from core.training.settings import TrainingSettings
from core.training.state import TrainingState

FIRST_DRAWING = 5.0  # seconds; a shorter run draws its curves once, at the end
SHARE_OF_TIME = 0.05  # drawing may take this much of the training time, so that short epochs are not slowed down


class Outputs:
    """Everything that follows the history of a run; `begin` before the first epoch and `close` after the last."""

    def __init__(self, settings: TrainingSettings, folder: RunFolder, notice: str) -> None:
        """Raises UserError when the settings ask for what is not installed, before anything has been written."""
        self._settings, self._folder, self._notice = settings, folder, notice
        self.progress = Progress(settings.epochs)
        self._window: Any = None
        if settings.tensorboard:
            _summary_writer()  # what is missing is better known before an earlier run is moved aside
        self._events: Events | None = None
        self._next_drawing = time.monotonic() + FIRST_DRAWING

    def begin(self, step: int) -> None:
        """Open what the settings ask for; the training stands at `step`."""
        if self._settings.plot:
            self._window = _open_window()
        if self._settings.tensorboard:
            self._events = Events(self._folder.path / "tensorboard", step)

    def epoch(self, state: TrainingState, row: Row, best: bool) -> None:
        """Show a finished epoch."""
        self.progress.epoch(row, best)
        write_checked(self._folder.history, state.history.as_csv())
        if self._events is not None:
            self._events.write(row)
        if time.monotonic() >= self._next_drawing:
            self.draw(state)

    def draw(self, state: TrainingState) -> None:
        """Bring curves.png, and the window, up to date."""
        if not state.history.rows:
            return
        from core.report import plots

        begin = time.monotonic()
        figure = plots.learning_curves(
            state.history.columns(), self._notice, title=self._folder.path.name, best=state.best.get("epoch")
        )
        save_picture(figure, self._folder.curves)
        if self._window is not None:
            self._window.show(self._folder.curves)
        end = time.monotonic()
        self._next_drawing = end + (end - begin) / SHARE_OF_TIME

    def close(self) -> None:
        """Take the bar away and finish the event file."""
        self.progress.end()
        if self._events is not None:
            self._events.close()


def _open_window() -> Any:
    """The live window, or None with a line that says why there is none."""
    from core.report.window import PictureWindow, why_no_window

    reason = why_no_window()
    if reason:
        print(f"--plot: {reason}; the curves are saved as a picture all the same", flush=True)
        return None
    return PictureWindow("training")


def _summary_writer() -> Any:
    """The class that writes TensorBoard's event files; UserError when tensorboardX is not installed."""
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise UserError('--tensorboard needs tensorboardX: pip install -e ".[tensorboard]"') from None
    return SummaryWriter


class Events:
    """TensorBoard event files with one value for each column of the history."""

    def __init__(self, folder: Path, step: int) -> None:
        """Write into `folder`; TensorBoard drops what an earlier part of the run wrote after `step`."""
        self._writer = _summary_writer()(str(folder), purge_step=step + 1 if step else None)

    def write(self, row: Row) -> None:
        """Add the row of an epoch."""
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self._writer.add_scalar(name.replace("_", "/", 1), value, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
