"""What was measured of the demos: results/demos.json, one entry for each command that measured something."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from scripts import machine
from scripts.environment import ROOT

RESULTS = ROOT / "scripts" / "results" / "demos.json"
PACKAGES = ("numpy", "pillow", "gradio", "gradio_client", "playwright")


def record(figures: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Keep these figures beside the command that was started, in the place of what it measured before."""
    from core.files import replacing

    command = " ".join(["python", f"scripts/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    entry = {
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": machine.commit(ROOT),
        "processor": machine.processor(),
        "cores": machine.allowed_cores(),
        "load": machine.load(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "figures": figures,
    }
    entries = json.loads(path.read_text("utf-8")) if path.exists() else []
    entries = [other for other in entries if other["command"] != command] + [entry]
    with replacing(path) as file:
        file.write(json.dumps(sorted(entries, key=lambda each: each["command"]), indent=1).encode() + b"\n")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
