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
RUN_NAME = "quickstart"
USER_ERROR = 2


def main() -> int:
    arguments = _arguments()
    start = time.monotonic()
    step(1, "environment")
    place = environment.prepare(here=arguments.here)
    say(f"{place.python} is ready")
    step(2, "data")
    data = get_data(place.python, arguments.mirror, arguments.synthetic)
    step(3, "training")
    trained = time.monotonic()
    run_part(place.python, "training.py", "--name", RUN_NAME, *data)
    seconds = time.monotonic() - trained
    step(4, "test")
    run_part(place.python, "test_model.py", "--name", RUN_NAME)
    return summary(place.python, seconds, time.monotonic() - start, arguments.at_least)


def get_data(python: Path, mirror: str, synthetic: bool) -> list[str]:
    """Prepare MNIST, or its stand-in where nobody can be reached; returns the flags that make training use it."""
    if not synthetic:
        source = ["--mirror", mirror] if mirror else []
        code = environment.run([python, PROJECT / "setup_data.py", *source])
        if code == 0:
            return []
        if code != USER_ERROR or mirror:
            raise SystemExit(code)  # it has said why
        say("MNIST is out of reach: going on with SYNTHETIC digits, whose figures say nothing about MNIST")
    run_part(python, "setup_data.py", "--synthetic")
    return ["--synthetic"]


def run_part(python: Path, script: str, *flags: str) -> None:
    """Run one of the project's scripts; where it fails it has said why, and this command ends with its exit code."""
    code = environment.run([python, PROJECT / script, *flags])
    if code != 0:
        raise SystemExit(code)


def summary(python: Path, training: float, everything: float, at_least: float) -> int:
    folder = PROJECT / "runs" / RUN_NAME
    report = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    accuracy = report["accuracy"]
    percent = 100 * accuracy["value"]
    shown = folder.relative_to(ROOT)
    say("")
    if report["notice"]:
        say(f"*** {report['notice']} ***")
    say(f"test accuracy     {percent:.2f} %  (95 % interval {accuracy['low']:.2%} to {accuracy['high']:.2%})")
    say(f"seconds           {training:.0f} for training, {everything:.0f} in all")
    say(f"model             {shown / 'best.safetensors'}")
    say(f"learning curves   {shown / 'curves.png'}")
    say(f"confusion matrix  {shown / 'report' / 'confusion_matrix.png'}")
    say(f"the whole report  {shown / 'report'}")
    say(f"draw digits       {python} -m pip install -e '.[demo]' && {python} mlp_mnist/app.py --name {RUN_NAME}")
    if percent < at_least:
        raise SetupError(f"the test accuracy is {percent:.2f} %, below the {at_least:g} % asked for")
    return 0


def step(number: int, what: str) -> None:
    say(f"\n[{number}/4] {what}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", default="", metavar="URL_OR_FOLDER", help="fetch MNIST from here")
    parser.add_argument("--synthetic", action="store_true", help="use synthetic digits: no network, no real result")
    parser.add_argument("--here", action="store_true", help="use the running Python, even if it is no environment")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="fail below this test accuracy")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
