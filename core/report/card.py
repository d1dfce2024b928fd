"""The model card: what a stranger should know before trusting a model, as one page of Markdown."""

from __future__ import annotations

from typing import Any


def model_card(figures: dict[str, Any]) -> str:
    """The card of the model that the figures of report.json describe (see `core.report.report`)."""
    share = figures["accuracy"]
    data = figures["dataset"] + (f", from: {figures['origin']}" if figures["origin"] else "")
    sections = [
        f"# {figures['model']}",
        f"> **{figures['notice']}**" if figures["notice"] else "",
        "A classifier written by hand in NumPy: no deep-learning framework has computed anything in it. "
        f"It tells {len(figures['classes'])} classes apart: {', '.join(row['name'] for row in figures['classes'])}.",
        "## Measured",
        f"**{share['value']:.2%}** of {figures['images']:,} test {figures['samples']} right "
        f"(95 % interval {share['low']:.2%} to {share['high']:.2%}, Wilson), on {figures['date'][:10]}. "
        f"Expected calibration error {figures['calibration_error']:.2%}, mean F1 {figures['macro_f1']:.2%}.",
        f"Repeat it with `{figures['command']}`." if figures["command"] else "",
        _class_table(figures["classes"], figures["samples"]),
        "![confusion matrix](confusion_matrix.png)\n\n![reliability diagram](reliability.png)",
        "## Data",
        f"{data}.",
        f"Licence of the data: {figures['licence']}." if figures["licence"] else "",
        f"Citation: {figures['citation']}" if figures["citation"] else "",
        "## Limits",
        _limits(figures),
        "## Weights",
        (f"SHA-256 `{figures['weights_sha256']}`; m" if figures["weights_sha256"] else "M")
        + "easured with "
        + ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
        + ".",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _limits(figures: dict[str, Any]) -> str:
    tested = [row for row in figures["classes"] if row["support"]]
    worst = min(tested, key=lambda row: float(row["recall"]))
    limits = [
        *figures["limits"],
        "It always names one of its classes, also for what belongs to none of them.",
        f'It finds "{worst["name"]}" least often: {worst["recall"]:.2%} of {worst["support"]:,}.',
    ]
    return "\n".join(f"- {limit}" for limit in limits)


def _class_table(rows: list[dict[str, Any]], samples: str) -> str:
    lines = [f"| class | precision | recall | F1 | {samples} |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {row['name'].replace('|', '/')} | {row['precision']:.2%} | {row['recall']:.2%} | {row['f1']:.2%} "
        f"| {row['support']:,} |"
        for row in rows
    ]
    return "\n".join(lines)
