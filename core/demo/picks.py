"""Small pictures to click, for data that nobody draws."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.prepared import load_prepared
from core.demo.cards import as_data_uri
from core.demo.launch import require_gradio
from core.demo.page import read_report
from core.demo.raster import Picture
from core.demo.upload import open_colour, open_grey
from core.errors import UserError

CSS = """
.picks { display: grid; grid-template-columns: repeat(5, 1fr); gap: 8px; }
button {
  padding: 0; overflow: hidden; line-height: 0; cursor: pointer; background: none;
  border: 2px solid var(--border-color-primary); border-radius: 10px;
}
button:hover, button:focus-visible { border-color: #56B4E9; outline: none; }
img { width: 100%; margin: 0; image-rendering: pixelated; }
"""
# Clicking the same picture again is a new choice, so the value counts the clicks too.
JS = """
let clicks = 0;
element.querySelectorAll('button').forEach((button, index) => button.addEventListener('click', () => {
  props.value = index + '/' + ++clicks;
  trigger('input');
}));
"""


def find_examples(weights: Path, data: Path, classes: Sequence[str], colour: bool = False) -> dict[str, Picture]:
    """A picture of each class, uint8 (H, W) or (H, W, 3), by the name of the class.

    They are the test images that the report on these weights has saved; where nothing was measured yet, the first
    training image of each class in the prepared data of the same classes; or none.
    """
    folder, report = weights.parent / "report", read_report(weights) or {}
    names = [name for name in report.get("examples", []) if (folder / name).is_file()]
    if names:
        return {Path(name).stem[3:]: (open_colour if colour else open_grey)(folder / name) for name in names}
    try:
        prepared = load_prepared(data, ["train_images", "train_labels"])
    except UserError:
        return {}
    images, labels = prepared.arrays.values()
    if tuple(prepared.info["classes"]) != tuple(classes):
        return {}
    return {name: np.asarray(images[np.argmax(labels == k)]) for k, name in enumerate(classes) if (labels == k).any()}


def picture_buttons(pictures: Mapping[str, NDArray[np.uint8]], elem_id: str = "picks") -> Any:
    """A `gr.HTML` that shows pictures as buttons, and whose value `picked` turns into the index of the one clicked."""
    buttons = "".join(
        f'<button type="button" title="{html.escape(name)}" aria-label="Example: {html.escape(name)}">'
        f'<img src="{as_data_uri(picture)}" alt=""></button>'
        for name, picture in pictures.items()
    )
    return require_gradio().HTML(
        value="",
        html_template=f'<div class="picks" role="group" aria-label="Examples">{buttons}</div>',
        css_template=CSS,
        js_on_load=JS,
        apply_default_css=False,
        elem_id=elem_id,
    )


def picked(value: object, count: int) -> int:
    """The index, below `count`, in the value of picture_buttons; UserError for anything that it never sends."""
    index = value.split("/")[0] if isinstance(value, str) and len(value) < 40 else ""
    if not (index.isascii() and index.isdigit() and int(index) < count):
        raise UserError("there is no such example")
    return int(index)
