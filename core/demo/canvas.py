"""The drawing pad that all demos share: ordered strokes from a pen, a finger, a mouse or the keyboard.

The browser side is pad.js; what it sends is checked by `core.demo.strokes.parse_strokes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from core.demo.launch import require_gradio
from core.demo.strokes import Stroke

KEYS = (
    "Arrow keys move the pen, shift makes the steps finer, space lowers and lifts it, backspace takes a stroke back, "
    "delete starts again"
)
MARGIN = 0.08  # of the pad, around an example


def drawing_pad(
    width: int = 280,
    height: int = 280,
    *,
    prompt: str = "Draw here",
    examples: Mapping[str, Sequence[Stroke]] | None = None,
    display: int | None = None,
    pen: float | None = None,
    elem_id: str = "pad",
) -> Any:
    """A `gr.HTML` whose value is a drawing as JSON, for `parse_strokes(value, width, height)`.

    `width` and `height` are the pad's own units, in which the strokes arrive, whatever its size on the screen;
    `display` is the most pixels it is wide there. `pen` is the width of the shown line in those units; it does not
    change what is sent. `examples` maps names to drawings of any size, shown as buttons under the pad.

    The pad is live: listen with `pad.input(fn, pad, ..., trigger_mode="always_last", show_progress="hidden")`, since
    with Gradio's default mode the strokes that arrive while an answer is pending would be lost.
    """
    gradio = require_gradio()
    here = files("core.demo")
    return gradio.HTML(
        value="[]",
        html_template=(here / "pad.html").read_text("utf-8"),
        css_template=(here / "pad.css").read_text("utf-8"),
        js_on_load=(here / "pad.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id=elem_id,
        width=width,
        height=height,
        display=display or max(480, width),
        pen=pen or min(width, height) / 16,
        prompt=prompt,
        keys=KEYS,
        columns=min(max(len(examples or {}), 1), 10 if width < 1.5 * height else 5),
        phone_columns=5 if width < 3 * height else 3,
        examples=[{"name": name, "strokes": fit(strokes, width, height)} for name, strokes in (examples or {}).items()],
    )


def fit(strokes: Sequence[Stroke], width: float, height: float) -> list[list[list[float]]]:
    """Scale a drawing to fill the pad, keeping its proportions, as lists that JSON can hold."""
    points = np.concatenate(list(strokes))
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    room = np.array([width, height]) * (1 - 2 * MARGIN) - min(width, height) / 16
    scale = float(np.min(room / np.maximum(extent, 1e-9)))
    offset = (np.array([width, height]) - extent * scale) / 2
    return [np.round((stroke - low) * scale + offset, 1).tolist() for stroke in strokes]
