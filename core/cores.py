"""How many cores this process may use, within what a scheduler or a container allows it."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """How many threads can work at once here; a limit of one and a half cores' time counts as two."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota() -> float | None:
    """The cores' worth of time that the control groups of Linux, by which containers are limited, leave this process.

    None where there is no limit. A group has at most what the groups around it have. Linux kernel documentation:
    admin-guide/cgroup-v2.rst (cpu.max), and scheduler/sched-bwc.rst for version 1.
    """
    limits = []
    for line in _text(OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS  # version 1 has a tree for each controller
        group = root / path.lstrip("/")  # which a container may not see: then the root is its own group
        limits += [_limit_of(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _limit_of(group: Path) -> float | None:
    """The limit of one group: "150000 100000" is one and a half cores, "max" or -1 is none."""
    text = _text(group / "cpu.max") or _text(group / "cpu.cfs_quota_us") + _text(group / "cpu.cfs_period_us")
    match text.split():
        case [quota, period] if quota.isdigit() and period.isdigit():
            return int(quota) / int(period)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
