#!/usr/bin/env python3
"""Everything that only a GPU can prove, in one go, for the day when there is one.

    pip install -e ".[gpu-cuda12]" -c constraints.txt        (or gpu-cuda13; with ".[torch]", PyTorch is timed beside)
    python scripts/gpu_check.py

Runs every case of `core.ops.proofs` on the GPU, checks the gradients of all layers by central differences and those of
mixed precision against float32, runs the cases again under compute-sanitizer where that is installed, and then
measures: GB/s of memory-bound operations against the card's copy bandwidth, our products of matrices against cuBLAS,
our convolutions against cuDNN, training steps against PyTorch, in float32 and in mixed precision. The results go to
scripts/results/gpu_NAME.json, with device, versions and commit.

Exit code 0 if all agree, 1 if something does not, 2 without a GPU.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment, machine
from scripts.environment import ROOT, SetupError

RESULTS = ROOT / "scripts" / "results"
PARTS = ("proofs", "gradients", "mixed", "sanitizer", "bandwidth", "products", "convolutions", "steps")
TOOLS = ("memcheck", "racecheck", "synccheck")
TOLERANCE = 1e-5  # of gradients in float64
MIXED_TOLERANCE = 0.1  # of a whole gradient with float16 in it: a rounding may choose another pixel of a max-pooling
GOOD_SHARE = 0.8  # of the copy bandwidth


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; the exit code."""
    parser = environment.Parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--out", type=Path, help="where the results go, instead of scripts/results/gpu_NAME.json")
    parser.add_argument("--no-save", action="store_true", help="write no file")
    chosen = parser.parse_args(arguments)
    try:
        from core.backend import why_no_gpu
        from core.files import replacing
    except ImportError as error:
        raise SetupError(f"{error}; install the project first: pip install -e .") from error
    if reason := why_no_gpu():
        raise SetupError(reason)
    found = setting()
    path = chosen.out or RESULTS / f"gpu_{found['device'].replace(' ', '_')}.json"
    if not chosen.no_save:
        environment.expect_no_loss(path, lambda results: set(PARTS) & results.keys(), chosen.only, "another --out")
    report = {**found, **check(chosen.only)}
    if not chosen.no_save:
        with replacing(path) as file:
            file.write(json.dumps(report, indent=1).encode() + b"\n")
        print(f"\nwritten to {path}")
    print("all agree" if not report["failures"] else f"{len(report['failures'])} FAILURES")
    return int(bool(report["failures"]))


def check(parts: Sequence[str], sizes: Any = None) -> dict[str, Any]:
    """Run the parts; returns what they found, with the `failures` in words. `sizes` is what to measure with."""
    from scripts.gpu import products, steps
    from scripts.gpu.clock import Sizes

    sizes = sizes or Sizes()
    report: dict[str, Any] = {"failures": []}
    run: dict[str, Callable[[], Any]] = {
        "proofs": lambda: proofs(report["failures"]),
        "gradients": lambda: gradients(report["failures"]),
        "mixed": lambda: mixed(sizes, report["failures"]),
        "sanitizer": lambda: sanitizer(report["failures"]),
        "bandwidth": lambda: bandwidth(sizes),
        "products": lambda: [_said(row) for row in products.products(sizes)],
        "convolutions": lambda: [_said(row) for row in products.convolutions(sizes)],
        "steps": lambda: [_said(row) for row in steps.training_steps(sizes)],
    }
    for part in parts:
        print(f"\n== {part}")
        report[part] = run[part]()
    return report


def setting() -> dict[str, Any]:
    """Device, versions, commit and date."""
    import numpy as np

    from core.backend import gpu_module
    from core.training.record import versions_of

    cupy = gpu_module()
    found = {"device": "emulated", "versions": {"Python": platform.python_version(), "NumPy": np.__version__}}
    if hasattr(cupy.cuda.runtime, "getDeviceProperties"):
        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
        found["device"] = properties["name"].decode()
        found["compute_capability"] = f"{properties['major']}.{properties['minor']}"
        found["versions"] |= {"CuPy": cupy.__version__, "CUDA runtime": runtime.runtimeGetVersion()}
        found["versions"] |= {"driver": runtime.driverGetVersion(), "NVRTC": list(cupy.cuda.nvrtc.getVersion())}
        found["versions"] |= {"PyTorch": versions_of("torch").get("torch", "none")}
    print("  ".join(f"{name} {value}" for name, value in found.items()))
    return {**found, "commit": machine.commit(ROOT), "date": datetime.now(timezone.utc).date().isoformat()}


def proofs(failures: list[str]) -> dict[str, int]:
    """Every case at all its sizes: how many there were and how many differ from the CPU."""
    from core.backend import to_cpu, to_device
    from core.ops.proofs import CASES
    from core.ops.proofs import check as compare

    count = 0
    for name, case in CASES.items():
        bad = []
        for dtype in case.dtypes:
            for size in case.sizes:
                count += 1
                try:
                    compare(case, dtype, size, lambda array: to_device(array, "gpu"), to_cpu)
                except Exception as error:  # any kind: the other cases still have something to say
                    bad.append(f"{type(error).__name__}: {error}")
        print(f"{name:<42}{'agrees' if not bad else 'DIFFERS'}")
        for line in bad[:3]:
            print(f"    {line}")
        failures.extend(bad)
    return {"cases": count, "differing": len(failures)}


def gradients(failures: list[str]) -> dict[str, float]:
    """The worst relative error of each layer's gradients on the GPU, by central differences in float64."""
    import numpy as np

    from core.gradcheck import layer_cases
    from scripts.gpu.gradients import gradient_error

    errors = {}
    for name, layer, x in layer_cases(np.random.default_rng(0)):
        errors[name] = gradient_error(layer, x)
        wrong = not errors[name] < TOLERANCE
        print(f"{name:<42}{errors[name]:.1e}{'  WRONG' if wrong else ''}")
        if wrong:
            failures.append(f"the gradient of {name} is off by {errors[name]:.1e}")
    return errors


def mixed(sizes: Any, failures: list[str]) -> dict[str, float]:
    """How far each network's gradient in mixed precision is from that in float32."""
    from scripts.gpu.steps import mixed_errors

    errors = {}
    for name, error in mixed_errors(sizes):
        errors[name] = error
        wrong = not error < MIXED_TOLERANCE
        print(f"{name:<42}{error:.1e}{'  WRONG' if wrong else ''}")
        if wrong:
            failures.append(f"the gradient of {name} in mixed precision is off by {error:.1e}")
    return errors


def find_sanitizer() -> str | None:
    """The toolkit's checker of memory accesses and races."""
    return shutil.which("compute-sanitizer")


def sanitizer(failures: list[str]) -> dict[str, Any]:
    """The proofs under each tool of compute-sanitizer: its exit code; empty where it is not installed."""
    program = find_sanitizer()
    if program is None:
        print("compute-sanitizer is not installed: left out")
        return {}
    found = {}
    for tool in TOOLS:
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__]
        done = subprocess.run(
            [*command, "--only", "proofs", "--no-save"], capture_output=True, text=True, cwd=ROOT, check=False
        )
        found[tool] = {"exit_code": done.returncode, "end": done.stdout[-600:]}
        print(f"{tool:<12}{'clean' if done.returncode == 0 else f'exit code {done.returncode}'}")
        if done.returncode:
            failures.append(f"compute-sanitizer --tool {tool} ended with {done.returncode}")
    return found


def bandwidth(sizes: Any) -> dict[str, Any]:
    """GB/s of each memory-bound operation, and its share of what a copy reaches."""
    from scripts.gpu.bandwidth import bandwidths, copy_bandwidth

    copied = copy_bandwidth(sizes)
    print(f"{'copy':<42}{copied:8.0f} GB/s")
    rows = {}
    for name, speed in bandwidths(sizes):
        rows[name] = {"gb_per_s": speed, "share": speed / copied}
        print(f"{name:<42}{speed:8.0f} GB/s{speed / copied:8.0%}{'' if speed / copied >= GOOD_SHARE else '  slow'}")
    return {"copy_gb_per_s": copied, "operations": rows}


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row of figures and pass it on."""
    print("  ".join(f"{name} {f'{value:.3g}' if isinstance(value, float) else value}" for name, value in row.items()))
    return row


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
