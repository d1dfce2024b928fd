"""The pieces of a demo's page as HTML text: pure functions, and every text in them is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def heading(title: str, subtitle: str) -> str:
    """The name of the demo and a sentence about it."""
    return f'<div class="bn-heading"><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></div>'


def banner(notice: str) -> str:
    """The notice of data that are not the complete official ones, in large letters; "" when there is none."""
    return f'<div class="bn-banner" role="alert">{escape(notice)}</div>' if notice else ""


def answers(classes: Sequence[str], probabilities: NDArray[Any], top: int = 3) -> str:
    """The most probable class in large letters, and the `top` ones of K with bars."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    rows = "".join(_bar(classes[k], float(probabilities[k])) for k in best)
    name = classes[best[0]]
    size = " bn-long" if any(len(classes[k]) > 3 for k in best) else ""
    return (
        f'<div class="bn-answer{size}" role="status"><div class="bn-top">{escape(name)}</div>'
        f'<div class="bn-bars">{rows}</div></div>'
    )


def _bar(name: str, probability: float) -> str:
    shown = "> 99.9%" if 0.9995 <= probability < 1 else f"{probability:.1%}"  # no network is as sure as 100.0 %
    return (
        f'<div class="bn-row"><span class="bn-name">{escape(name)}</span>'
        f'<span class="bn-track"><span class="bn-fill" style="width: {probability:.1%}"></span></span>'
        f'<span class="bn-percent">{escape(shown)}</span></div>'
    )


def pictures(*captioned: tuple[NDArray[np.uint8], str, str]) -> str:
    """Small pictures side by side, enlarged without smoothing: (uint8 (H, W) or (H, W, 3), title, explanation) each.

    The explanation may hold the colour keys `{for}` and `{against}`.
    """
    figures = "".join(
        f'<figure class="bn-picture"><img src="{as_data_uri(picture)}" alt="{escape(title)}">'
        f"<figcaption><b>{escape(title)}</b><br>{with_keys(text)}</figcaption></figure>"
        for picture, title, text in captioned
    )
    layout = {1: " bn-one", 3: " bn-three"}.get(len(captioned), "")
    return f'<div class="bn-pictures{layout}">{figures}</div>'


def with_keys(text: str) -> str:
    """The text with the colour keys `{for}` and `{against}` in their colours."""
    keys = {kind: f'<span class="bn-key bn-{kind}">{kind}</span>' for kind in ("for", "against")}
    return escape(text).format(**keys)


def as_data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture as a PNG inside an address, so that no file has to be served."""
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "png")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def message(text: str, kind: str = "hint") -> str:
    """A line in the place of the answer; `kind` is "hint" or "error"."""
    return f'<div class="bn-message bn-{escape(kind)}" role="status">{escape(text)}</div>'


def model_facts(report: Mapping[str, Any] | None, weights: Mapping[str, str], samples: str = "images") -> str:
    """What was measured, on what, and when, from report.json; without a report, how to make one.

    `weights` are further facts about the weights, name to text; `samples` is what the data set consists of.
    """
    facts = dict(weights)
    if report:
        share, dataset = report["accuracy"], report["dataset"]
        facts = {
            "Test accuracy": f"{share['value']:.2%}",
            "95 % interval": f"{share['low']:.1%} – {share['high']:.1%}",
            "Measured": report["date"][:10],
            "Data set": f"synthetic, not {dataset}" if report.get("origin") == "synthetic" else dataset,
            f"Test {report.get('samples', samples)}": f"{report['images']:,}",
            **facts,
        }
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items())
    missing = "" if report else '<p class="bn-missing">Not measured yet: run test_model.py for the accuracy.</p>'
    return f'<div class="bn-facts"><dl>{items}</dl>{missing}</div>'


def no_weights(what: str, commands: Sequence[str]) -> str:
    """What a visitor sees before there is a trained model: how to get one."""
    lines = "\n".join(escape(command) for command in commands)
    return (
        '<div class="bn-empty"><h2>No trained model yet</h2>'
        f"<p>{escape(what)}</p><pre><code>{lines}</code></pre><p>Then start this demo again.</p></div>"
    )
