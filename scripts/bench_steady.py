#!/usr/bin/env python3
"""Make a thousand training steps of our networks, twice: do they slow down, does memory grow, are the results the same?

    python scripts/bench_steady.py                        # the networks with short steps
    python scripts/bench_steady.py cnn_mnist100 --steps 1000

For each network of benchmark.py: the median step at the beginning (after a warm-up) and at the end, how much the
process grew in between, and whether the weights of two processes are the same in every bit afterwards.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment, machine
from scripts.environment import SetupError

SHORT = ("mlp_mnist", "mlp_mnist_default", "emnist", "music_cuda", "cnn_mnist100")
WARM_UP, PART = 20, 100


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"networks ({', '.join(SHORT)})")
    parser.add_argument("--steps", type=int, default=1000, help="steps of each run (1000)")
    parser.add_argument("--threads", type=int, default=2, help="workers (2)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)  # the processes that this one starts
    arguments = parser.parse_args()
    if arguments.steps < 2 * PART:
        raise SetupError(f"--steps takes at least {2 * PART}, got {arguments.steps}")
    if not 1 <= arguments.threads <= machine.allowed_cores():
        raise SetupError(f"--threads takes 1 to {machine.allowed_cores()} here, got {arguments.threads}")
    try:
        from scripts.bench.models import CASES
    except ImportError as error:
        raise SetupError(f'{error.name} is missing: pip install -e ".[torch]" -c constraints.txt') from error
    cases = {case.name: case for case in CASES}
    unknown = sorted(set(arguments.names) - set(cases))
    if unknown:
        raise SetupError(f"no network is called {', '.join(unknown)}; there are {', '.join(cases)}")
    for name in arguments.names or SHORT:
        if arguments.child:
            print(json.dumps(run(cases[name], arguments.steps, arguments.threads)))
        else:
            _print(name, *(_in_process(name, arguments) for _ in range(2)))
    return 0


def run(case: Any, steps: int, threads: int) -> dict[str, Any]:
    """Train for so many steps on one batch; returns times in milliseconds, megabytes, and a digest of the weights."""
    from core.losses import softmax_cross_entropy
    from core.workers import set_threads
    from scripts.bench.case import TIMED_LEARNING_RATE
    from scripts.bench_memory import NOW, memory

    set_threads(threads)
    model, stream = case.our_model()
    optimizer, (x, labels) = case.our_optimizer(model), case.batch(case.training_batch)
    times: list[float] = []
    before = 0
    for number in range(WARM_UP + steps):
        start = time.perf_counter()
        stream.seek(0, number)
        _, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(TIMED_LEARNING_RATE)
        times.append((time.perf_counter() - start) * 1e3)
        if number == WARM_UP:
            before = memory(NOW)
    times = times[WARM_UP:]
    return {
        "first": statistics.median(times[:PART]),
        "last": statistics.median(times[-PART:]),
        "growth": (memory(NOW) - before) / 1e6,
        "weights": hashlib.sha256(optimizer.flat.data.tobytes()).hexdigest(),
    }


def _in_process(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    options = ["--child", "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    output = subprocess.run([sys.executable, __file__, name, *options], stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, Any] = json.loads(output)
    return result


def _print(name: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    for result in (first, second):
        change = result["last"] / result["first"] - 1
        print(
            f"{name}: median of the first {PART} steps {result['first']:.3f} ms, of the last {result['last']:.3f} ms "
            f"({change:+.1%}), memory {result['growth']:+.1f} MB"
        )
    same = first["weights"] == second["weights"]
    print(f"{name}: the weights of the two runs are {'the same in every bit' if same else 'DIFFERENT'}", flush=True)


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
