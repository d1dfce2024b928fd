"""What every script owes a user who made a mistake: one line that says so, exit code 2, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def complaint_of(script: str | Path, *arguments: str | Path, folder: Path) -> str:
    """The line, after "error: ", with which the script ends when it is called in this empty folder."""
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not list(folder.iterdir())
    return line.removeprefix("error: ")
