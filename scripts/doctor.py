#!/usr/bin/env python3
"""Look over this machine and this clone, and say what to do about each problem.

    python3 scripts/doctor.py

Prints versions, BLAS and its threads, cores, memory, disk, GPU, driver, CuPy and NVRTC, the data prepared and the runs
found. Needs nothing installed. Exit code 0 when networks can be trained here, 1 when something stops that.
"""

import contextlib
import importlib
import importlib.metadata
import json
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment, machine
from scripts.environment import CONSTRAINTS, ROOT

INSTALL = "python3 scripts/quickstart.py does all of it, or: pip install -e . -c constraints.txt"
PROJECTS = ("mlp_mnist", "cnn_mnist100", "rnn_doodles", "music_cuda", "emnist", "cifar")
OPTIONAL = ("gradio", "optuna", "tensorboardX", "torch")
CUPY_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x", "cupy")
ENOUGH_MEMORY, ENOUGH_DISK = 2 * machine.GIB, 2 * machine.GIB


class Report:
    """Prints one line a finding and remembers whether any of them stops training."""

    def __init__(self) -> None:
        self.stops = 0
        self.warnings = 0

    def section(self, name: str) -> None:
        print(f"\n{name}")

    def fine(self, text: str) -> None:
        print(f"    {text}")

    def warn(self, text: str, advice: str) -> None:
        self.warnings += 1
        print(f"  ! {text}\n    -> {advice}")

    def stop(self, text: str, advice: str) -> None:
        self.stops += 1
        print(f" !! {text}\n    -> {advice}")


def check_python(report: Report) -> None:
    report.section("Python")
    active = "an environment" if sys.prefix != sys.base_prefix else "no environment"
    report.fine(f"{sys.version.split()[0]} in {sys.prefix} ({active})")
    tested = re.findall(r"Python (\d\.\d+) to (\d\.\d+)", CONSTRAINTS.read_text(encoding="utf-8"))
    newest = tuple(int(part) for part in tested[0][1].split("."))
    if sys.version_info[:2] > newest:
        report.warn(f"newer than the newest tested Python, {tested[0][1]}", "if an install fails, use a tested version")
    if sys.prefix == sys.base_prefix and (ROOT / ".venv").is_dir():
        report.warn("there is a .venv, but this is not its Python", "run .venv/bin/python scripts/doctor.py")


def check_packages(report: Report) -> None:
    report.section("Packages")
    missing = []
    for name, needed in _requirements():
        version = _version(name)
        if version is None:
            missing.append(name)
        elif _numbers(version) < _numbers(needed):
            report.stop(f"{name} {version} is older than {needed}", INSTALL)
        else:
            report.fine(f"{name} {version}")
    if missing:
        report.stop(f"missing: {', '.join(missing)}", INSTALL)
    report.fine("optional: " + ", ".join(f"{name} {_version(name) or 'is absent'}" for name in OPTIONAL))
    place = _installed_from()
    if place is None:
        report.warn("the project is not installed here; its scripts find core in the clone all the same", INSTALL)
    elif place != ROOT:
        found = f"another clone is installed here, {place}: scripts use their own core, other programs that one"
        report.warn(found, "if that is not meant: pip install -e . -c constraints.txt, in this clone")
    try:
        importlib.import_module("core")
    except Exception as error:
        if not missing:
            report.stop(f"core cannot be imported: {_one_line(error)}", INSTALL)


def check_blas(report: Report) -> None:
    report.section("BLAS (NumPy's matrix products)")
    try:
        importlib.import_module("numpy")
        controller = importlib.import_module("threadpoolctl").ThreadpoolController()
    except Exception as error:
        report.fine(f"cannot look: {_one_line(error)}")
        return
    found = [entry for entry in controller.info() if entry["user_api"] == "blas"]
    for entry in found:
        kind = f" for {entry['architecture']}" if entry.get("architecture") else ""
        report.fine(f"{entry['internal_api']} {entry['version']}{kind}, {entry['num_threads']} threads")
    if found:
        report.fine("training gives each worker thread one BLAS thread (core/blas.py)")
    else:
        report.warn("no BLAS that threadpoolctl knows", "training works; its speed was measured with OpenBLAS and MKL")


def check_machine(report: Report) -> None:
    report.section("Machine")
    cores, threads, load = machine.allowed_cores(), _threads_of_training(), machine.load()
    report.fine(f"{machine.processor()}, {cores} usable cores")
    if threads is not None and threads < cores:
        report.fine(f"this container is not given the time of all cores: training uses {threads} threads")
    if load is not None and load > 0.5 * cores:
        report.warn(f"busy: {load:.1f} processes ran on average", "timings will be longer than those in the READMEs")
    memory = machine.memory()
    if memory is not None:
        total, free = (amount / machine.GIB for amount in memory)
        text = f"memory: {free:.1f} of {total:.1f} GiB available"
        report.fine(text) if memory[1] > ENOUGH_MEMORY else report.warn(text, "close other programs, or use --subset")
    free_disk = machine.free_disk(ROOT)
    text = f"disk: {free_disk / machine.GIB:.1f} GiB free at {ROOT}"
    report.fine(text) if free_disk > ENOUGH_DISK else report.warn(text, "free some: data sets and runs need about 2 GB")


def _threads_of_training() -> int | None:
    """How many threads a training uses unless it is told otherwise; None where core cannot be imported."""
    try:
        return int(importlib.import_module("core.cores").usable_cores())
    except Exception:
        return None


def check_gpu(report: Report) -> None:
    report.section("GPU (optional)")
    cards = machine.gpus()
    for card in cards:
        report.fine(f"{card.name}, {card.memory}, compute capability {card.capability}, driver {card.driver}")
    driver = machine.cuda_driver_version()
    report.fine(f"CUDA driver: {'none' if driver is None else 'up to CUDA ' + driver}")
    installed = [name for name in CUPY_PACKAGES if _version(name)]
    if len(installed) > 1:
        names = " ".join(installed)
        report.warn(f"more than one CuPy is installed: {names}", f"pip uninstall -y {names}, then install one extra")
    if not installed:
        extra = "gpu-cuda12" if driver is not None and driver.startswith("12") else "gpu-cuda13"
        if cards:
            report.warn("CuPy is not installed: the GPU is idle", f'pip install -e ".[{extra}]" -c constraints.txt')
        else:
            report.fine("no GPU and no CuPy: everything runs on the CPU")
        return
    _check_cupy(report, cards)


def _check_cupy(report: Report, cards: list[machine.Gpu]) -> None:
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:
        report.warn(f"CuPy cannot be imported: {_one_line(error)}", "reinstall the extra that fits the driver")
        return
    report.fine(f"CuPy {cupy.__version__}")
    try:
        major, minor = cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        report.warn(f"NVRTC cannot be loaded: {_one_line(error)}", 'pip install -e ".[gpu-cuda12]" brings it')
        return
    report.fine(f"NVRTC {major}.{minor}")
    if major >= 13 and any(_numbers(card.capability) < (7, 5) for card in cards):
        report.warn("NVRTC 13 compiles for compute capability 7.5 and newer only", 'use the extra ".[gpu-cuda12]"')
    if not cupy.cuda.is_available():
        report.warn("CuPy finds no usable GPU", "install or update the NVIDIA driver; the CPU serves meanwhile")


def check_data(report: Report) -> None:
    report.section("Data and runs")
    for project in PROJECTS:
        folder = ROOT / project
        if not (folder / "training.py").exists():
            continue
        prepared = list(_prepared(folder / "archive"))
        for name, info in prepared:
            notice = f" - {info['notice']}" if info.get("notice") else ""
            report.fine(f"{project}: {name} is prepared{notice}")
        if not prepared:
            advice = f"python {project}/setup_data.py (--synthetic needs no network)"
            report.warn(f"{project}: no data is prepared", advice)
        runs = sorted(path.name for path in (folder / "runs").glob("*") if path.is_dir())
        report.fine(f"{project}: runs: {', '.join(runs) or f'none yet (python {project}/training.py)'}")


def _prepared(archive: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The data sets in a project's archive whose description can be read."""
    for path in sorted(archive.glob("*/info.json")):
        with contextlib.suppress(OSError, ValueError):
            yield path.parent.name, json.loads(path.read_text(encoding="utf-8"))


def _requirements() -> Iterator[tuple[str, str]]:
    """Name and oldest version of each package that training needs, as pyproject.toml lists them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # tomllib came with Python 3.11
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r'"([\w-]+)>=([\d.]+)"', block[1] if block else "")


def _installed_from() -> Path | None:
    """The folder that the project was installed from in this environment, None where it is not installed."""
    places = [place for place in sys.path if Path(place).resolve() != ROOT]  # the clone holds a build's leftovers
    for distribution in importlib.metadata.distributions(name="barenets", path=places):
        address = json.loads(distribution.read_text("direct_url.json") or "{}").get("url", "")
        return Path(urllib.request.url2pathname(urllib.parse.urlparse(address).path))
    return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


CHECKS: tuple[Callable[[Report], None], ...] = (
    check_python,
    check_packages,
    check_blas,
    check_machine,
    check_gpu,
    check_data,
)


def main() -> int:
    parser = environment.Parser(__doc__)
    parser.parse_args()
    report = Report()
    print(f"barenets at {ROOT}, commit {machine.commit(ROOT)}")
    for check in CHECKS:
        check(report)
    if report.stops:
        print(f"\nNetworks cannot be trained here yet: {report.stops} lines above are marked !!")
        return 1
    print("\nNetworks can be trained here." + (" Lines marked ! are worth a look." if report.warnings else ""))
    return 0


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
