#!/usr/bin/env python3
"""Install what the tests need, and run them.

    python3 scripts/run_tests.py                          # everything; no network and no GPU needed
    python3 scripts/run_tests.py tests/layers/test_gradients.py -v
    python3 scripts/run_tests.py -k checkpoint
    python3 scripts/run_tests.py --with demo              # also the tests of the demos, which need Gradio
    python3 scripts/run_tests.py --with demo --with browser   # and of the demos in Chromium, if it is installed

Uses the active environment, or makes .venv in the clone. All other arguments go to pytest; paths count from the
repository's root. The exit code is pytest's, or 2 with one line of reason where the environment could not be made.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment

EXTRAS = ("audio", "browser", "demo", "export", "search", "tensorboard")  # without one of them its tests are skipped


def main() -> int:
    parser = environment.Parser(__doc__, allow_abbrev=False)
    parser.add_argument("--here", action="store_true", help="use the running Python, even if it is no environment")
    parser.add_argument("--with", action="append", default=[], choices=EXTRAS, dest="extras", help="install this too")
    own, for_pytest = parser.parse_known_args()
    python = environment.prepare(extras=["test", *own.extras], here=own.here).python
    return environment.run([python, "-m", "pytest", *for_pytest])


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
