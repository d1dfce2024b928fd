"""Confusions of characters that look alike, apart from true mistakes; and characters apart from symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.backend import Array
from core.report.metrics import confusion_matrix, wilson_interval
from emnist.classes import LOOKALIKES

Figures = dict[str, Any]


def measure_parts(labels: Array, answers: Array, characters: int) -> Figures:
    """The accuracy on the characters, which are the first `characters` test images, and on the symbols after them."""
    right = labels == answers  # (N,)
    parts = {"characters": right[:characters], "symbols": right[characters:]}
    return {name: share(int(part.sum()), len(part)) for name, part in parts.items() if len(part)}


def measure_lookalikes(labels: Array, answers: Array, classes: Sequence[str]) -> Figures:
    """How the accuracy would be if nobody minded confusions within a group, and these confusions group by group.

    Takes labels and answers (N,). "without" is the accuracy on the images of all other classes.
    """
    counts = confusion_matrix(labels, answers, len(classes))  # (K, K)
    groups = [[classes.index(name) for name in group if name in classes] for group in LOOKALIKES]
    groups = [group for group in groups if len(group) > 1]
    concerned = np.zeros(len(classes), bool)
    forgiven, tables = 0, []
    for group in groups:
        inner = counts[np.ix_(group, group)]
        within = int(inner.sum() - np.trace(inner))
        confusions = {
            f"{classes[a]} → {classes[b]}": int(counts[a, b]) for a in group for b in group if a != b and counts[a, b]
        }
        tables.append(
            {
                "classes": [classes[k] for k in group],
                "images": int(counts[group].sum()),
                "right": int(np.trace(inner)),
                "confused_with_each_other": within,
                "confusions": dict(sorted(confusions.items(), key=lambda item: -item[1])),
            }
        )
        forgiven += within
        concerned[group] = True
    right, others = int(np.trace(counts)), counts[~concerned]
    without = int(np.diag(counts)[~concerned].sum())
    return {
        "with": share(right, len(labels)),
        "forgiven": share(right + forgiven, len(labels)),
        "without": share(without, int(others.sum())) if others.sum() else None,
        "groups": tables,
    }


def share(right: int, total: int) -> Figures:
    """A share of right answers with its 95 % interval."""
    low, high = wilson_interval(right, total)
    return {"value": right / total, "low": low, "high": high, "right": right, "images": total}


def as_lines(figures: Mapping[str, Any]) -> list[str]:
    """The figures for a terminal."""
    lines = [""] + [_line(f"on the {name}", part) for name, part in figures["parts"].items()]
    found = figures["lookalikes"]
    lines += ["", "Characters that look alike:", _line("as it is", found["with"])]
    lines.append(_line("confusions among them forgiven", found["forgiven"]))
    if found["without"]:
        lines.append(_line("on those of all other classes", found["without"]))
    for group in found["groups"]:
        most = ", ".join(f"{pair} {count}" for pair, count in list(group["confusions"].items())[:4]) or "none"
        names = "/".join(group["classes"])
        lines.append(f"  {names:16} {group['confused_with_each_other']:5,} of {group['images']:6,} confused: {most}")
    return lines


def _line(name: str, part: Mapping[str, Any]) -> str:
    interval = f"{part['low']:.2%} to {part['high']:.2%}"
    return f"  {name:32} {part['value']:7.2%}   95 % interval {interval}   {part['images']:,} characters"
