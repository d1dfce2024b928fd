"""What this machine is: processor, usable cores, memory, disk, GPU and driver. Standard library only."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3


def processor() -> str:
    """The processor's name as its maker gives it."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    if found:
        return found[1].strip()
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]).strip() or platform.machine()
    return platform.processor() or platform.machine() or "unknown"


def allowed_cores() -> int:
    """Cores that this process may run on: a scheduler or `taskset` may allow fewer than there are.

    A container's share of their time, which `core.cores` counts too, is another matter.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def load() -> float | None:
    """The average number of running processes in the last minute, where the system tells."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def memory() -> tuple[float, float] | None:
    """Total and available memory in bytes, within a container's limit; None where the system does not tell."""
    text = _read("/proc/meminfo")
    total, available = (_kib(text, name) for name in ("MemTotal", "MemAvailable"))
    if total is None or available is None:
        return None
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and used.isdigit() and int(limit) < total:
        return float(limit), min(available, float(int(limit) - int(used)))
    return total, available


def free_disk(folder: Path) -> int:
    """Bytes free for new files in `folder`."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as its driver tells it."""

    name: str
    driver: str
    memory: str
    capability: str  # such as "9.0"


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs that the driver's own tool lists; empty without one."""
    fields = "name,driver_version,memory.total,compute_cap"
    table = _output(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"])
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines()]
    return [Gpu(*row) for row in rows if len(row) == 4]


def cuda_driver_version() -> str | None:
    """The newest CUDA version that the installed driver supports, None without a driver."""
    version = ctypes.c_int()
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            failed = ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(version))
        except (OSError, AttributeError):
            continue
        if not failed:
            return f"{version.value // 1000}.{version.value % 1000 // 10}"
    return None


def commit(root: Path) -> str:
    """The checked-out commit, with "+" where tracked files differ from it; "unknown" outside a git clone."""
    name = _output(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]).strip()
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"]).strip()
    return name + ("+" if changed else "") if name else "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _kib(text: str, name: str) -> float | None:
    found = re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024.0 if found else None
