#!/usr/bin/env python3
"""Time our networks against PyTorch, side by side in one process, and print how many times faster ours are.

    pip install -e ".[torch]" -c constraints.txt
    python scripts/benchmark.py                      # every network: training step, inference, making of batches
    python scripts/benchmark.py mlp_mnist --rounds 60 --passes training --no-save
    python scripts/benchmark.py --table              # what has been measured so far, beside what we aim at
    python scripts/benchmark.py --profile cifar_cnn  # where our step spends its time
    python scripts/benchmark.py --scaling            # how cost grows with batch, width and length

Speed-up = PyTorch's median time / ours, so above 1 ours is faster; it is given for every PyTorch configuration, over
ours as it trains and "at best" over our fastest form (in inference a frozen network), and the smallest counts. PyTorch
runs eagerly in each layout of memory that suits, frozen by torch.jit (inference) and, where there is a C++ compiler,
compiled by torch.compile. All contenders use the same number of threads on the same cores and take turns. Before
timing, the losses of the first training steps and the outputs must agree. Each network's figures go to
scripts/results/NAME.json, or to the folder after --results, unless the machine was busy with something else: on a
crowded machine PyTorch's threads wait for each other, and a ratio says little.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment, machine
from scripts.bench.table import OURS, RESULTS, table
from scripts.environment import ROOT, SetupError

AGREEMENT = 1e-3  # relative, over the first steps in float32
STEPS_COMPARED = 5  # the first ones; a frozen network replays the last of them
PASSES = ("training", "inference", "loading")
MAKING = "making"  # how the kind of the pass "loading" begins
SONG_BY_SONG = "music_cuda_epoch"  # measured by bench_music.py, in a process of its own with one thread


def main() -> int:
    arguments = _arguments()
    if arguments.table:
        if not arguments.results.is_dir():
            raise SetupError(f"--results {arguments.results}: there is no such folder")
        print(table(arguments.results))
        return 0
    _pin(arguments.threads)
    try:
        import torch

        from core.workers import set_threads
        from scripts.bench import models, profile, scaling
    except ImportError as error:
        raise SetupError(f'{error.name} is missing: pip install -e ".[torch]" -c constraints.txt') from error
    cases = {case.name: case for case in models.CASES}
    unknown = sorted(set(arguments.names) - {*cases, SONG_BY_SONG})
    if unknown:
        raise SetupError(f"no network is called {', '.join(unknown)}; there are {', '.join(cases)}")
    if arguments.profile and SONG_BY_SONG in arguments.names:
        raise SetupError(f"--profile: {SONG_BY_SONG} has no profile; there are {', '.join(cases)}")
    set_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    _expect_two_blas()
    setting = describe(arguments.threads)
    print("  ".join(f"{name} {version}" for name, version in setting["versions"].items()), end="  ")
    print(f"{setting['processor']}, {arguments.threads} threads each")
    if arguments.scaling:
        scaling.print_scaling()
        return 0
    if arguments.profile:
        ceilings = profile.measure_ceilings()
        for name in arguments.names or cases:
            profile.print_profile(cases[name], ceilings)
        return 0
    for name in arguments.names or [*cases, SONG_BY_SONG]:
        if name == SONG_BY_SONG:
            _song_by_song(arguments)
        else:
            _measure(cases[name], arguments, setting)
    if not arguments.no_save:
        print(f"\n{table(arguments.results)}")
    return 0


def _expect_two_blas() -> None:
    """NumPy's has been given one thread; where PyTorch has the same one, it has as many as PyTorch by now."""
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["user_api"] == "blas" and (library["num_threads"] or 1) > 1:
            raise SetupError(f"PyTorch seems to have NumPy's {library['internal_api']}: use PyTorch from its wheel")


def describe(threads: int) -> dict[str, Any]:
    """What a result file says of the machine and the software."""
    return {
        "commit": machine.commit(ROOT),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "processor": machine.processor(),
        "threads": threads,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Those of all that a measurement depends on."""
    import numpy as np
    import torch

    from core.training.record import blas_of_process

    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "BLAS": blas_of_process(),
        "PyTorch": torch.__version__,
    }


def _measure(case: Any, arguments: argparse.Namespace, setting: Mapping[str, Any]) -> None:
    """Time the passes of one network and write its result file."""
    import torch

    from core.errors import UserError

    path = arguments.results / f"{case.name}.json"
    if not arguments.no_save:
        _expect_no_loss(path, arguments.passes)
    print(f"\n{case.what}")
    try:
        rows = list(_rows(case if arguments.no_compile else case.with_all_engines(), arguments))
    except UserError as error:  # data that are not prepared
        print(f"  left out: {error}")
        return
    assert torch.get_num_threads() == arguments.threads  # limiting our BLAS threads must not limit PyTorch's
    if rows and not arguments.no_save:
        save(path, {"network": case.what, **setting, "measurements": rows})


def _rows(case: Any, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Time each kind of pass of one network; print its table and yield it for the result file."""
    from scripts.bench import data
    from scripts.bench.case import LEARNING_RATE
    from scripts.bench.timing import compare

    for kind, batch, actions in _passes(case, arguments.passes, data, LEARNING_RATE):
        result = compare(actions, arguments.rounds, arguments.seconds)
        medians = {name: timing.median for name, timing in result.timings.items()}
        theirs = {name: median for name, median in medians.items() if not name.startswith(OURS)}
        speedups = {name: median / medians[OURS] for name, median in theirs.items()}
        best = min(median for name, median in medians.items() if name.startswith(OURS))
        noise = f"{result.quiet} of {result.rounds} rounds quiet" + ("" if result.only_quiet else ": medians over all")
        print(f"  {kind}, batch {batch}  ({noise})")
        for name, timing in result.timings.items():
            speedup = f"   speed-up {speedups[name]:.2f}, {theirs[name] / best:.2f} at best" if name in theirs else ""
            print(f"    {name:36} {timing.median:9.3f} ms, {timing.cores:.1f} cores busy{speedup}", flush=True)
        yield {
            "pass": kind,
            "batch": batch,
            "speedup_over_fastest": round(min(theirs.values()) / best, 3),
            "speedups": {name: round(value, 3) for name, value in speedups.items()},
            "milliseconds": {name: dataclasses.asdict(timing) for name, timing in result.timings.items()},
            "rounds": result.rounds,
            "quiet_rounds": result.quiet,
            "medians_over_quiet_rounds": result.only_quiet,
        }


def _passes(case: Any, wanted: Any, data: Any, learning_rate: float) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """(kind, batch, contenders) of each wanted pass, once they have been seen to agree."""
    from core.errors import UserError

    if "training" in wanted:
        batch = case.training_batch
        if not case.random:
            _check_agreement(case.agreeing(case.training(batch, learning_rate)), STEPS_COMPARED)
        yield "training step", batch, case.training(batch)
    for batch in case.inference_batches if "inference" in wanted else ():
        actions = case.inference(batch)
        _check_agreement(case.agreeing(actions), STEPS_COMPARED)
        yield "inference", batch, actions
    if "loading" in wanted and case.name in data.LOADINGS:
        loading = data.LOADINGS[case.name]
        with contextlib.ExitStack() as stack:
            try:
                actions = stack.enter_context(data.contenders(loading))
            except UserError as error:  # data that are not prepared; what else was measured stays
                print(f"  {MAKING} of batches left out: {error}")
                return
            yield f"{MAKING} {data.BATCHES} batches ({loading.what})", loading.batch, actions


def _song_by_song(arguments: argparse.Namespace) -> None:
    """What bench_music.py measures."""
    options = ["--rounds", str(arguments.rounds), "--seconds", str(arguments.seconds)]
    options += ["--no-save"] if arguments.no_save else ["--results", str(arguments.results)]
    print("\nMLP 57-32-16-10, gradient descent song by song, one thread each", flush=True)
    subprocess.run([sys.executable, str(ROOT / "scripts" / "bench_music.py"), *options], check=True)


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


def save(path: Path, result: Mapping[str, Any]) -> None:
    """Write the result file, unless other processes disturbed the measurement too much for it to mean anything."""
    from core.files import replacing

    # The processes of a DataLoader look like somebody else's, so the making of batches can tell nothing of them.
    timed = [row for row in result["measurements"] if not row["pass"].startswith(MAKING)]
    if not all(row["medians_over_quiet_rounds"] for row in timed):
        print("  not written: other processes were busy meanwhile; run it again on a quiet machine")
        return
    with replacing(path) as file:
        file.write(json.dumps(result, indent=2).encode() + b"\n")
    print(f"  written to {environment.shown(path)}")


def _expect_no_loss(path: Path, passes: Iterable[str]) -> None:
    """SetupError where the result file holds other passes, which it would lose."""
    environment.expect_no_loss(
        path,
        lambda result: [row["pass"] for row in result["measurements"]],
        [MAKING if name == "loading" else name for name in passes],
        "another folder by --results",
    )


def _arguments() -> argparse.Namespace:
    parser = environment.Parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to time (all)")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each contender (40)")
    parser.add_argument("--seconds", type=float, default=60.0, help="limit for one table, at least three rounds (60)")
    parser.add_argument("--threads", type=int, default=min(2, machine.allowed_cores()), help="for each contender (2)")
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES, help="what to time (all)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile and torch.jit out")
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="of the result files")
    parser.add_argument("--table", action="store_true", help="time nothing: print the table of the result files")
    parser.add_argument("--profile", action="store_true", help="where our training step spends its time")
    parser.add_argument("--scaling", action="store_true", help="how our cost grows with batch, width and length")
    arguments = parser.parse_args()
    if not 1 <= arguments.threads <= machine.allowed_cores():
        raise SetupError(f"--threads takes 1 to {machine.allowed_cores()} here, got {arguments.threads}")
    if arguments.rounds < 1:
        raise SetupError(f"--rounds takes 1 or more, got {arguments.rounds}")
    return arguments


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
