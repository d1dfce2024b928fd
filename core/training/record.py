"""What a run was made with: settings, data, versions, machine. Enough to repeat it, and to notice a difference."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from core.backend import Device
from core.data.prepared import training_checksums
from core.errors import UserError
from core.workers import workers

PACKAGES = ("barenets", "numpy", "safetensors", "cupy-cuda12x", "cupy-cuda13x")
DATA_KEYS = ("dataset", "origin", "complete", "notice", "counts", "files")
# Settings that say where and how to run, not what to compute. (Only emnist has --retrain.)
FREE_SETTINGS = {"name", "resume", "plot", "tensorboard", "checkpoint_seconds", "device", "threads", "retrain"}


class RunRecord:
    """The description of a run, which goes into config.json and, in part, into every checkpoint.

    `data_info` is the info of the prepared data; its `notice` is the run's unless another one is given.
    """

    def __init__(self, settings: Any, device: Device, data_info: Mapping[str, Any] | None, notice: str = "") -> None:
        info = data_info or {}
        self.notice = notice or str(info.get("notice", ""))
        self.identity: dict[str, Any] = _as_json(
            {
                "settings": dataclasses.asdict(settings),
                "data": {key: info[key] for key in DATA_KEYS if key in info} | {"arrays": training_checksums(info)},
                "notice": self.notice,
                "device": device,
                "threads": workers().count,
                "versions": versions_of(*PACKAGES),
                "git_commit": _git_commit(),
            }
        )

    def as_json(self) -> str:
        """What config.json holds: the identity, the machine and the command."""
        surroundings = {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "blas": blas_of_process(),
            "command": sys.argv,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        return json.dumps(self.identity | surroundings, indent=2) + "\n"

    def refuse_changes(self, folder: Path, saved: Mapping[str, Any]) -> None:
        """Raise UserError, in one line that says what differs, unless the saved run can go on with this record."""
        if not (isinstance(saved.get("settings"), dict) and isinstance(saved.get("data"), dict)):
            raise UserError(f"cannot resume {folder}: it does not say with which settings it was made")
        before, now = saved["settings"], self.identity["settings"]
        changes = [
            f"--{name.replace('_', '-')} was {before.get(name, 'unknown')} and is {now.get(name, 'unknown')}"
            for name in sorted((before.keys() | now.keys()) - FREE_SETTINGS)
            if before.get(name, False) != now.get(name, False)  # a flag that one side does not know is off
        ]
        old_data, new_data = saved["data"], self.identity["data"]
        changes += [f"the data's {key} changed" for key in DATA_KEYS if old_data.get(key) != new_data.get(key)]
        if old_data.get("arrays", new_data["arrays"]) != new_data["arrays"]:  # which runs of before do not tell
            changes.append("the data was prepared in another way")
        if changes:
            raise UserError(
                f"cannot resume {folder}: {'; '.join(changes)}. Resume with what the run was started with, "
                f"or start another one under another --name"
            )

    def other_machine(self, saved: Mapping[str, Any]) -> str:
        """A line that warns of another device or number of threads than the saved run's; "" if they are the same."""
        before, now = ([record.get("device"), record.get("threads")] for record in (saved, self.identity))
        if before == now:
            return ""
        return (
            f"note: it was started on the {before[0]} with {before[1]} threads and goes on on the {now[0]} with "
            f"{now[1]}, so the last digits may differ from an unbroken run's"
        )


def _as_json(record: Any) -> Any:
    """`record` as it will look when it comes back from a JSON file: tuples as lists, paths as text."""
    return json.loads(json.dumps(record, default=str))


def versions_of(*packages: str) -> dict[str, str]:
    """The version of Python, and of each of these packages that is installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def blas_of_process() -> str:
    """The libraries that multiply matrices, since another one rounds differently."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped, unused-ignore]

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}" for pool in pools)


def _git_commit() -> str | None:
    """The commit of the source, with "+" when files were changed since; None outside a repository."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        here = Path(__file__).parent
        return subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
