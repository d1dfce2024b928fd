"""From no model to a small one: the project's own scripts, started from the demo's page and watched by their output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from core.data.fetch import downloads_folder

PATIENCE = 10.0  # seconds that a script has to save its work when the demo ends
LOOK_EVERY = 0.5  # seconds between two looks at the folder of downloads
# How a training tells of a finished epoch; where nothing is held out, there is no validation accuracy.
EPOCH = re.compile(r"epoch +(\d+)/(\d+) .*?(?:val accuracy ([\d.]+ %)|lr )")
USER_ERROR = "error: "  # how every script begins the line that says what the matter is

Phase = Literal["idle", "running", "failed", "trained"]


class Step(NamedTuple):
    """One of the scripts, with its flags, and how much of the whole time it takes, about."""

    title: str
    script: str
    flags: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Plan:
    """How a project gets its data and trains a small network in about a minute."""

    project: Path
    dataset: str
    """Name of the prepared data's folder in archive/."""
    title: str
    """What people call the data."""
    megabytes: float
    """Size of what has to be fetched."""
    stand_in: str
    """What the synthetic data is, in a few words."""
    small: tuple[str, ...] = ()
    """Flags that make the training a short one."""
    choose: tuple[str, ...] = ()
    """Flags of setup_data.py and training.py that choose the data set."""
    data_flag: str = "--data"
    """The flag of training.py and test_model.py that names another folder of prepared data."""

    def commands(self) -> list[str]:
        """What to type for a model of full size."""
        return [
            " ".join(["python", f"{self.project.name}/{script}.py", *self.choose])
            for script in ("setup_data", "training", "test_model")
        ]

    def steps(self, synthetic: bool) -> list[Step]:
        """The scripts for a small model; synthetic data lies beside the real data, which it must never replace."""
        run, setup = "first", self.choose
        data: tuple[str, ...] = ()
        if synthetic:
            folder = str(self.project / "archive" / f"{self.dataset}-synthetic")
            run, setup, data = "first-synthetic", (*setup, "--synthetic", "--archive", folder), (self.data_flag, folder)
        name = f"Make synthetic data: {self.stand_in}" if synthetic else f"Fetch {self.title}, {self.megabytes:g} MB"
        return [
            Step(name, "setup_data.py", setup, 0.2),
            Step("Train a small network", "training.py", (*self.choose, *self.small, "--name", run, *data), 0.7),
            Step("Measure it on the test data", "test_model.py", ("--run", run, *data), 0.1),
        ]


@dataclass(frozen=True)
class Progress:
    """How far it is, for the page."""

    phase: Phase = "idle"
    steps: tuple[Step, ...] = ()
    now: int = 0
    """Number of the step that runs, or that went wrong."""
    share: float = 0.0
    """How much of that step is done, 0 to 1."""
    line: str = ""
    """The latest news of that step; the reason where it went wrong."""

    @property
    def whole(self) -> float:
        """How much of everything is done, 0 to 1."""
        if self.phase == "trained" or not self.steps:
            return float(self.phase == "trained")
        return sum(step.share for step in self.steps[: self.now]) + self.steps[self.now].share * self.share


class StoppedError(Exception):
    """The visitor, or the end of the demo, stopped it."""


class FailedError(Exception):
    """A script ended with a mistake, which the message names in one line."""


class Beginning:
    """Runs a plan's scripts, one plan at a time however many visitors ask, and ends them when the context is left.

    `offered` says whether visitors may start it at all: not where strangers can open the page.
    """

    def __init__(self, plan: Plan, *, offered: bool = False) -> None:
        self.plan, self.offered = plan, offered
        self.trained = threading.Event()
        """Set when there is a model."""
        self._progress = Progress()
        self._lock = threading.Lock()  # for who starts and who stops
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __enter__(self) -> Beginning:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread:
            self._thread.join(PATIENCE)
        if self._child and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return self._progress

    def start(self, *, synthetic: bool) -> None:
        """Begin, unless it runs already or there is a model by now."""
        with self._lock:
            if not self.offered or self._progress.phase in ("running", "trained"):
                return
            self._stopping = False
            self._progress = Progress("running", tuple(self.plan.steps(synthetic)))
            self._thread = threading.Thread(target=self._run_all, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the script that runs save its work and end; nothing happens where none runs."""
        with self._lock:
            self._stopping = True
            if self._child and self._child.poll() is None:
                self._child.terminate()

    def _run_all(self) -> None:
        try:
            for number, step in enumerate(self._progress.steps):
                self._progress = replace(self._progress, now=number, share=0.0, line="")
                self._run(step)
        except StoppedError:
            self._progress = Progress()
        except (FailedError, OSError) as error:
            self._progress = replace(self._progress, phase="failed", line=str(error))
        else:
            self._progress = replace(self._progress, phase="trained")
            self.trained.set()

    def _run(self, step: Step) -> None:
        """Run one script to its end; raises FailedError or StoppedError."""
        said = ""
        child = self._begin([sys.executable, "-u", str(self.plan.project / step.script), *step.flags])
        with self._watching_download(step):
            for line in _lines(child):
                said = line if line.startswith(USER_ERROR) or not said.startswith(USER_ERROR) else said
                if epoch := EPOCH.match(line):
                    news, share = _in_words(epoch), int(epoch[1]) / int(epoch[2])
                    self._progress = replace(self._progress, line=news, share=share)
            code = child.wait()
        if self._stopping:
            raise StoppedError
        if code:
            raise FailedError(said.removeprefix(USER_ERROR) or f"{step.script} ended with code {code}")

    def _begin(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a script, unless it was to be stopped in the meantime."""
        with self._lock:
            if self._stopping:
                raise StoppedError
            self._child = subprocess.Popen(
                command,
                cwd=self.plan.project.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            )
            return self._child

    @contextmanager
    def _watching_download(self, step: Step) -> Iterator[None]:
        """Follow a download by the size of what has arrived: without a terminal, the script says nothing of it."""
        if step.script != "setup_data.py" or "--synthetic" in step.flags:
            yield
            return
        folder, whole, ended = downloads_folder(self.plan.project), self.plan.megabytes, threading.Event()
        before = _size(folder)

        def watch() -> None:
            while not ended.wait(LOOK_EVERY):
                if (arrived := (_size(folder) - before) / 1e6) > 0:
                    line, share = f"{arrived:.1f} of about {whole:g} MB", min(arrived / whole, 1.0)
                    self._progress = replace(self._progress, line=line, share=share)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _in_words(epoch: re.Match[str]) -> str:
    """A finished epoch for people who have not read the training script."""
    number, all_of_them, accuracy = epoch.groups()
    right = f": right in {accuracy} of the samples that are held out" if accuracy else ""
    return f"Pass {number} of {all_of_them} over the training data{right}"


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """What it prints, line by line, without those that say nothing."""
    assert child.stdout is not None
    with child.stdout as output:
        for line in output:
            if line.strip():
                yield line.strip()


def _size(folder: Path) -> int:
    """Bytes in all files below the folder; files come and go while it is read."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
