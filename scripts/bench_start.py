#!/usr/bin/env python3
"""Measure how long a training takes from the command line to the end of its first batch, with the data prepared.

    python scripts/bench_start.py                      # every project whose data are prepared
    python scripts/bench_start.py mlp_mnist --times 5

Each training is started as a user would start it, in a process of its own, and ends after its first step; imports,
reading the data and building the network count. Its run folder is called bench-start and removed.
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import ROOT, SetupError

RUN = "bench-start"
PROJECTS = {  # project -> settings with which it goes step by step
    "mlp_mnist": [],
    "cnn_mnist100": [],
    "rnn_doodles": [],
    "emnist": [],
    "cifar": ["--preset", "cnn"],
    "music_cuda": ["--layers"],
}
# What the process runs: the script, with a step that ends it.
UNTIL_FIRST_STEP = """
import os, runpy, sys, time
script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = script
sys.path.insert(0, os.path.dirname(os.path.dirname(script)))
from core.training.run import Run
whole_step = Run.step
def step(run, *arguments, **metrics):
    whole_step(run, *arguments, **metrics)
    sys.stderr.flush()
    os.write(1, f"\\nfirst step at {time.time()}\\n".encode())
    os._exit(0)
Run.step = step
runpy.run_path(script, run_name="__main__")
"""


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="PROJECT", help=f"projects (all): {', '.join(PROJECTS)}")
    parser.add_argument("--times", type=int, default=3, help="starts of each (3)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(PROJECTS))
    if unknown:
        raise SetupError(f"no project is called {', '.join(unknown)}; there are {', '.join(PROJECTS)}")
    if arguments.times < 1:
        raise SetupError(f"--times takes 1 or more, got {arguments.times}")
    measured = [measure(name, arguments.times) for name in arguments.names or PROJECTS]
    if not any(measured):
        raise SetupError("nothing was measured")
    return 0


def measure(name: str, times: int) -> bool:
    """Start a project so many times and print how long that took; returns whether every start made a step."""
    seconds = [until_first_step(name) for _ in range(times)]
    found = [second for second in seconds if second is not None]
    if len(found) < times:
        print(f"{name}: left out, it did not make a step every time; are its data prepared?")
        return False
    print(f"{name}: median {statistics.median(found):.2f} s, slowest {max(found):.2f} s of {times} starts")
    return True


def until_first_step(name: str) -> float | None:
    """Seconds from the start of the process to the end of the first step; None where there was no step."""
    folder = ROOT / name / "runs" / RUN
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-c", UNTIL_FIRST_STEP, str(ROOT / name / "training.py"), "--name", RUN, *PROJECTS[name]]
    start = time.time()
    output = subprocess.run(command, capture_output=True, text=True).stdout
    shutil.rmtree(folder, ignore_errors=True)
    for line in output.splitlines():
        if line.startswith("first step at "):
            return float(line.split()[-1]) - start
    return None


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
