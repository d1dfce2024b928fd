#!/usr/bin/env python3
"""Install what the tests need, and run them.

    python3 scripts/run_tests.py                          # everything, on up to four cores; no network, no GPU
    python3 scripts/run_tests.py tests/layers/test_gradients.py -v
    python3 scripts/run_tests.py -k checkpoint
    python3 scripts/run_tests.py --with demo              # also the tests of the demos, which need Gradio
    python3 scripts/run_tests.py --with demo --with browser   # and of the demos in Chromium, if it is installed

Uses the active environment, or makes .venv in the clone. All other arguments go to pytest; paths count from the
repository's root. The exit code is pytest's, or 2 with a line of reason where the environment could not be made or an
argument is wrong.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import ROOT, SetupError

EXTRAS = ("audio", "browser", "demo", "export", "search", "tensorboard")  # without one of them its tests are skipped
ON_SEVERAL_CORES = ["-n", "auto", "--dist", "worksteal"]  # pytest-xdist's, which pay for many tests only
WRONG_ARGUMENT = 4  # pytest's exit code


def main() -> int:
    parser = environment.Parser(__doc__, allow_abbrev=False)
    parser.add_argument("--here", action="store_true", help="use the running Python, even if it is no environment")
    parser.add_argument("--with", action="append", default=[], choices=EXTRAS, dest="extras", help="install this too")
    own, for_pytest = parser.parse_known_args()
    python = environment.prepare(extras=["test", *own.extras], here=own.here).python
    pytest = [str(python), "-m", "pytest", *(for_pytest or ON_SEVERAL_CORES)]
    if for_pytest:
        refuse_mistakes(pytest)
    code = environment.run(pytest)
    return 2 if code == WRONG_ARGUMENT else code


def refuse_mistakes(pytest: Sequence[str]) -> None:
    """SetupError, in one line where pytest prints its usage too, for flags that it does not understand."""
    reading_only = [*pytest, "--markers"]  # reads the flags and no tests
    asked = subprocess.run(reading_only, cwd=ROOT, capture_output=True, text=True)
    if asked.returncode == WRONG_ARGUMENT:
        _, reason = re.split(r"(?:error|ERROR): (?!usage:)", asked.stderr, maxsplit=1)
        raise SetupError(f"pytest: {reason.splitlines()[0]}")


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
