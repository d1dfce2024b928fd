"""The table of all result files: how many times faster than PyTorch we are, and how many times faster we want to be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.environment import ROOT

RESULTS = ROOT / "scripts" / "results"
NOT_EAGER = ("compiled", "frozen")

BARS = {  # network -> (bar, aim) of a training step; they were set against eager PyTorch
    "mlp_mnist": (1.0, 1.3),
    "emnist": (1.2, 2.0),
    "cnn_mnist100": (1.15, 1.5),
    "cifar_cnn": (1.1, 1.35),
    "cifar_resnet": (0.9, 1.2),
    "rnn_doodles": (1.2, 1.5),
    "rnn_doodles_ragged": (2.0, 2.5),  # over padded; over packed 4 and 6
    "music_cuda_epoch": (10.0, 16.0),
}
INFERENCE_BARS = {256: (1.0, 1.5), 1: (2.0, 5.0)}  # batch -> (bar, aim)
HEADER = (
    "| network | pass | batch | ours, ms | over eager PyTorch | over compiled or frozen | bar, aim | measured |\n"
    "|---|---|---|---|---|---|---|---|"
)


def table(folder: Path = RESULTS) -> str:
    """All measurements as a Markdown table: speed-ups over the fastest form of each kind."""
    lines = [HEADER]
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        for row in result.get("measurements", ()) if isinstance(result, dict) else ():  # those of the demos are a list
            if "speedups" in row:
                lines.append(_line(path.stem, row, result))
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any], result: dict[str, Any]) -> str:
    bar = _bar(name, row["pass"], row.get("batch"))
    ours = next(iter(row["milliseconds"].values()))["median"]
    cells = [
        name,
        row["pass"],
        str(row.get("batch", "")),
        f"{ours:.3g}",
        _smallest(row["speedups"], compiled=False),
        _smallest(row["speedups"], compiled=True),
        "" if bar is None else f"{bar[0]:g}, {bar[1]:g}",
        f"{result['date']} {result['commit']}" + ("" if row["medians_over_quiet_rounds"] else ", busy"),
    ]
    return f"| {' | '.join(cells)} |"


def _bar(name: str, kind: str, batch: int | None) -> tuple[float, float] | None:
    if kind == "inference":
        return INFERENCE_BARS.get(batch or 0)
    return BARS.get(name) if kind.startswith(("training", "epoch")) else None


def _smallest(speedups: dict[str, float], compiled: bool) -> str:
    """The smallest speed-up over forms of PyTorch of one kind, and which one that was."""
    chosen = dict(_of_kind(speedups, compiled))
    if not chosen:
        return ""
    rival = min(chosen, key=chosen.__getitem__)
    return f"{chosen[rival]:.2f} ({rival.removeprefix('PyTorch').removeprefix(', ') or 'eager'})"


def _of_kind(speedups: dict[str, float], compiled: bool) -> Iterator[tuple[str, float]]:
    for rival, speedup in speedups.items():
        if rival.startswith("PyTorch") and rival.endswith(NOT_EAGER) == compiled:
            yield rival, speedup
