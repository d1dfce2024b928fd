"""The table of all result files: how many times faster than PyTorch we are, and how many times faster we want to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts import environment
from scripts.environment import ROOT, SetupError

RESULTS = ROOT / "scripts" / "results"
OURS, THEIRS = "ours", "PyTorch"  # how the names of contenders begin
NOT_EAGER = ("compiled", "frozen")  # how those of PyTorch end that prepare a network first

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
    "| network | pass | batch | ours, ms | over eager PyTorch | our best over PyTorch's | bar, aim | measured |\n"
    "|---|---|---|---|---|---|---|---|"
)


def table(folder: Path = RESULTS) -> str:
    """All measurements as a Markdown table.

    Ours as it trains beside the fastest eager form of PyTorch, and our fastest form beside PyTorch's fastest of all.
    """
    lines = [HEADER]
    for path in sorted(folder.glob("*.json")):
        try:
            lines += _lines(path.stem, json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{environment.shown(path)} is no result file ({error!r})") from error
    return "\n".join(lines)


def _lines(name: str, result: Any) -> list[str]:
    measurements = result.get("measurements", ()) if isinstance(result, dict) else ()  # those of the demos are a list
    return [_line(name, row, result) for row in measurements if "speedups" in row]


def _line(name: str, row: dict[str, Any], result: dict[str, Any]) -> str:
    bar = _bar(name, row["pass"], row.get("batch"))
    medians = {form: timing["median"] for form, timing in row["milliseconds"].items()}
    ours = next(iter(medians.values()))
    cells = [
        name,
        row["pass"],
        str(row.get("batch", "")),
        f"{ours:.3g}",
        _over_eager(row["speedups"]),
        _at_best(medians),
        "" if bar is None else f"{bar[0]:g}, {bar[1]:g}",
        f"{result['date']} {result['commit']}" + ("" if row["medians_over_quiet_rounds"] else ", busy"),
    ]
    return f"| {' | '.join(cells)} |"


def _bar(name: str, kind: str, batch: int | None) -> tuple[float, float] | None:
    if kind == "inference":
        return INFERENCE_BARS.get(batch or 0)
    return BARS.get(name) if kind.startswith(("training", "epoch")) else None


def _over_eager(speedups: dict[str, float]) -> str:
    """The smallest speed-up over eager forms of PyTorch, and over which one."""
    eager = {
        form: value for form, value in speedups.items() if form.startswith(THEIRS) and not form.endswith(NOT_EAGER)
    }
    rival = min(eager, key=eager.__getitem__)
    return f"{eager[rival]:.2f} ({_short(rival)})"


def _at_best(medians: dict[str, float]) -> str:
    """How many times as long PyTorch's fastest form takes as ours, and which two these are."""
    ours, theirs = (
        min((form for form in medians if form.startswith(whose)), key=medians.__getitem__) for whose in (OURS, THEIRS)
    )
    return f"{medians[theirs] / medians[ours]:.2f} ({ours} : {_short(theirs)})"


def _short(form: str) -> str:
    return form.removeprefix(THEIRS).removeprefix(", ") or "eager"
