#!/usr/bin/env python3
"""Time our networks against PyTorch, side by side in one process, and print how many times faster ours are.

    pip install -e ".[torch]" -c constraints.txt
    python scripts/benchmark.py                      # every network, about a minute each
    python scripts/benchmark.py mlp_mnist --rounds 60

Speed-up = PyTorch's median time / ours, so above 1 ours is faster; it is given for every PyTorch configuration, and the
smallest counts. All contenders use the same number of threads on the same cores and take turns. Before timing, the
losses of the first training steps and the outputs must agree. Each network's figures go to scripts/results/NAME.json,
unless the machine was busy with something else: on a crowded machine PyTorch's threads wait for each other, and a
ratio says little.
"""

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment, machine
from scripts.environment import ROOT

RESULTS = ROOT / "scripts" / "results"
AGREEMENT = 1e-3  # relative, over the first steps in float32
STEPS_COMPARED = 5


def main() -> int:
    arguments = _arguments()
    _pin(arguments.threads)
    try:
        import numpy as np
        import torch

        from core.errors import UserError
        from core.workers import set_threads
        from scripts import bench_models
    except ImportError as error:
        print(f'error: {error.name} is missing: pip install -e ".[torch]" -c constraints.txt', file=sys.stderr)
        return 2
    cases = {case.name: case for case in bench_models.CASES}
    unknown = sorted(set(arguments.names) - set(cases))
    if unknown:
        print(f"error: no network is called {', '.join(unknown)}; there are {', '.join(cases)}", file=sys.stderr)
        return 2
    set_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    setting = {
        "commit": machine.commit(ROOT),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "processor": machine.processor(),
        "threads": arguments.threads,
        "versions": {"Python": platform.python_version(), "NumPy": np.__version__, "PyTorch": torch.__version__},
    }
    print("  ".join(f"{name} {version}" for name, version in setting["versions"].items()), end="  ")
    print(f"{setting['processor']}, {arguments.threads} threads each")
    for name in arguments.names or cases:
        print(f"\n{cases[name].what}")
        try:
            rows = list(_measure(cases[name], arguments))
        except UserError as error:  # data that are not prepared
            print(f"  left out: {error}")
            continue
        assert torch.get_num_threads() == arguments.threads  # limiting our BLAS threads must not limit PyTorch's
        if not arguments.no_save:
            save(name, {"network": cases[name].what, **setting, "measurements": rows})
    return 0


def _measure(case: Any, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Time each kind of pass of one network; print its table and yield it for the result file."""
    from scripts import bench_models, bench_timing

    kinds = [("training step", case.training, case.training_batch)]
    kinds += [("inference", case.inference, batch) for batch in case.inference_batches]
    for kind, build, batch in kinds:
        actions = build(batch)
        if kind == "inference":
            _check_agreement(case.agreeing(actions), calls=1)
        elif not case.random:
            _check_agreement(case.agreeing(case.training(batch, bench_models.LEARNING_RATE)), STEPS_COMPARED)
        result = bench_timing.compare(actions, arguments.rounds, arguments.seconds)
        ours = result.timings[bench_models.OURS].median
        speedups = {name: timing.median / ours for name, timing in result.timings.items()}
        del speedups[bench_models.OURS]
        noise = f"{result.quiet} of {result.rounds} rounds quiet" + ("" if result.only_quiet else ": medians over all")
        print(f"  {kind}, batch {batch}  ({noise})")
        for name, timing in result.timings.items():
            speedup = f"   speed-up {speedups[name]:.2f}" if name in speedups else ""
            print(f"    {name:24} {timing.median:9.3f} ms, {timing.cores:.1f} cores busy{speedup}")
        if len(speedups) > 1:
            print(f"    {'over the fastest PyTorch':56}speed-up {min(speedups.values()):.2f}")
        yield {
            "pass": kind,
            "batch": batch,
            "speedup_over_fastest": round(min(speedups.values()), 3),
            "speedups": {name: round(value, 3) for name, value in speedups.items()},
            "milliseconds": {name: dataclasses.asdict(timing) for name, timing in result.timings.items()},
            "rounds": result.rounds,
            "quiet_rounds": result.quiet,
            "medians_over_quiet_rounds": result.only_quiet,
        }


def _check_agreement(actions: Mapping[str, Any], calls: int) -> None:
    """Stop unless all contenders compute the same: a faster way to another result is no speed-up."""
    import numpy as np

    values = {name: np.array([np.asarray(action()).copy() for _ in range(calls)]) for name, action in actions.items()}
    (first, expected), *others = values.items()
    for name, value in others:
        np.testing.assert_allclose(value, expected, rtol=AGREEMENT, atol=AGREEMENT, err_msg=f"{name} against {first}")


def _pin(threads: int) -> None:
    """Keep the whole process, and so every contender alike, on as many cores as it has threads, where that is possible.

    Has to come before anything starts a thread.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def save(name: str, result: Mapping[str, Any]) -> None:
    """Write the result file, unless other processes disturbed the measurement too much for it to mean anything."""
    if not all(row["medians_over_quiet_rounds"] for row in result["measurements"]):
        print("  not written: other processes were busy meanwhile; run it again on a quiet machine")
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"  written to {environment.shown(path)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to time (all)")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each contender (40)")
    parser.add_argument("--seconds", type=float, default=60.0, help="limit for one table, at least three rounds (60)")
    parser.add_argument("--threads", type=int, default=min(2, machine.usable_cores()), help="for each contender (2)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    if not 1 <= arguments.threads <= machine.usable_cores():
        parser.error(f"--threads takes 1 to {machine.usable_cores()} here, got {arguments.threads}")
    if arguments.rounds < 1:
        parser.error(f"--rounds takes 1 or more, got {arguments.rounds}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
