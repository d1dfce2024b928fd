#!/usr/bin/env python3
"""From a fresh clone to a network that reads handwritten digits, in one command.

    python3 scripts/quickstart.py

Makes .venv (or uses the active environment), installs the project, fetches MNIST (11 MB), trains the perceptron of
mlp_mnist/, tests it on the official test set, and says where everything is. Where no address can be reached it goes on
with synthetic digits, labelled as such. Run it again at any time: what is there already is not made again.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import ROOT, SetupError, say

PROJECT = ROOT / "mlp_mnist"
STAND_IN = PROJECT / "archive" / "synthetic"  # beside the real data, which it must never replace
USER_ERROR = 2


def main() -> int:
    arguments = _arguments()
    start = time.monotonic()
    step(1, "environment")
    python = environment.prepare(here=arguments.here).python
    say(f"{environment.shown(python)} is ready")
    step(2, "data")
    real = not arguments.synthetic and fetch_mnist(python, arguments.mirror)
    if not real:
        run_part(python, "setup_data.py", "--synthetic", "--archive", str(STAND_IN))
    run_name, data = ("quickstart", []) if real else ("quickstart-synthetic", ["--data", str(STAND_IN)])
    step(3, "training")
    before = time.monotonic()
    run_part(python, "training.py", "--name", run_name, *data)
    training = time.monotonic() - before
    step(4, "test")
    run_part(python, "test_model.py", "--run", run_name, *data)
    return summary(python, PROJECT / "runs" / run_name, training, time.monotonic() - start, arguments.at_least)


def fetch_mnist(python: Path, mirror: str) -> bool:
    """Prepare MNIST; False where nobody can be reached, unless a mirror was asked for: then that is an error."""
    code = environment.run([python, PROJECT / "setup_data.py", *(["--mirror", mirror] if mirror else [])])
    if code == 0:
        return True
    if code != USER_ERROR or mirror:
        raise SystemExit(code)  # it has said why
    say("MNIST cannot be had, so this goes on with SYNTHETIC digits; what they show says nothing about MNIST")
    return False


def run_part(python: Path, script: str, *flags: str) -> None:
    """Run one of the project's scripts; where it fails it has said why, and this command ends with its exit code."""
    code = environment.run([python, PROJECT / script, *flags])
    if code != 0:
        raise SystemExit(code)


def summary(python: Path, run: Path, training: float, everything: float, at_least: float) -> int:
    """Say how good the network is and where everything lies; raises SetupError where it is not good enough."""
    report = json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
    accuracy = report["accuracy"]
    percent = 100 * accuracy["value"]
    place = environment.shown(run)
    say("")
    if report["notice"]:
        say(f"*** {report['notice']} ***")
    say(f"test accuracy     {percent:.2f} %  (95 % interval {accuracy['low']:.2%} to {accuracy['high']:.2%})")
    say(f"seconds           {training:.0f} for training, {everything:.0f} in all")
    say(f"model             {place}/best.safetensors")
    say(f"learning curves   {place}/curves.png")
    say(f"confusion matrix  {place}/report/confusion_matrix.png")
    say(f"the whole report  {place}/report")
    say(f"draw a digit      {environment.shown(python)} mlp_mnist/app.py --run {run.name}")
    say(f"                  (first: {environment.shown(python)} -m pip install -e '.[demo]' -c constraints.txt)")
    if percent < at_least:
        raise SetupError(f"the test accuracy is {percent:.2f} %, below the {at_least:g} % asked for")
    return 0


def step(number: int, what: str) -> None:
    say(f"\n[{number}/4] {what}")


def _arguments() -> argparse.Namespace:
    parser = environment.Parser(__doc__)
    parser.add_argument("--mirror", default="", metavar="URL_OR_FOLDER", help="fetch MNIST from here")
    parser.add_argument("--synthetic", action="store_true", help="use synthetic digits: no network, no real result")
    parser.add_argument("--here", action="store_true", help="use the running Python, even if it is no environment")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="fail below this test accuracy")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
