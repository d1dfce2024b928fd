#!/usr/bin/env python3
"""Measure the memory of a training step: ours, and that of each PyTorch configuration, every one in its own process.

    python scripts/bench_memory.py                       # every network of benchmark.py
    python scripts/bench_memory.py cnn_mnist100

For each: how far the process grows from before the network is built until six steps have been made (its peak, in MB of
10^6 bytes), and how much of ours is neither weights nor activations: gradients, the optimizer's averages, and the
workspaces of the layers. The batch itself is there before. Linux only.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import SetupError

STEPS = 6
PEAK, NOW = "VmHWM", "VmRSS"


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to measure (all)")
    parser.add_argument("--contender", help=argparse.SUPPRESS)  # what the processes that this one starts measure
    arguments = parser.parse_args()
    if not Path("/proc/self/status").exists():
        raise SetupError("this reads /proc/self/status, which only Linux has")
    try:
        from core.errors import UserError
        from scripts.bench.models import CASES
    except ImportError as error:
        raise SetupError(f'{error.name} is missing: pip install -e ".[torch]" -c constraints.txt') from error
    cases = {case.name: case for case in CASES}
    unknown = sorted(set(arguments.names) - set(cases))
    if unknown:
        raise SetupError(f"no network is called {', '.join(unknown)}; there are {', '.join(cases)}")
    for name in arguments.names or cases:
        if arguments.contender:
            print(json.dumps(measure(cases[name], arguments.contender)))
            continue
        print(f"\n{cases[name].what}, batch {cases[name].training_batch}")
        try:
            contenders = list(cases[name].training(1))
        except UserError as error:  # data that are not prepared
            print(f"  left out: {error}")
            continue
        for contender in contenders:
            command = [sys.executable, __file__, name, "--contender", contender]
            result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            beyond = f"   {result['beyond']:6.1f} MB beyond weights and activations" if "beyond" in result else ""
            print(f"  {contender:32} {result['growth']:7.1f} MB{beyond}")
    return 0


def measure(case: Any, contender: str) -> dict[str, float]:
    """Make a few steps of one contender; returns megabytes."""
    from core.random import Stream
    from core.workers import workers
    from scripts.bench.table import OURS

    workers()  # the threads are no part of a step
    batch = case.batch(case.training_batch)
    network = case.build(Stream(0))
    weights = sum(parameter.data.nbytes for parameter in network.parameters())
    activations = sum_of_outputs(network, batch[0])
    step = None
    before = memory(NOW)
    for name, build in case.contenders(batch).items():
        if name == contender:
            step = build()
    assert step is not None, f"there is no contender {contender}"
    for _ in range(STEPS):
        step()
    growth = (memory(PEAK) - before) / 1e6
    if contender != OURS:
        return {"growth": growth}
    return {"growth": growth, "beyond": growth - (weights + activations) / 1e6}


def sum_of_outputs(network: Any, x: Any) -> int:
    """The bytes of all layers' outputs for the inputs `x`."""
    total = 0
    for _, layer in network.children():
        x = layer.forward(x)
        total += x.nbytes if hasattr(x, "nbytes") else x.rows.nbytes
    return total


def memory(which: str) -> int:
    """The memory of this process in bytes: that in use now, or the most that ever was."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {which}")


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
