"""The frame of a demo's page: heading, notice, measured figures, and upload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.demo import cards
from core.demo.launch import require_gradio
from core.demo.raster import Picture
from core.demo.refuse import refuse_nonsense
from core.demo.upload import FAINTEST
from core.errors import UserError
from core.training.find import CONFIG

NOTHING_THERE = "There is nothing to see in this picture. Please show another one."
LIVE: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}  # for listeners of a drawing pad


@contextmanager
def page(title: str, subtitle: str, notice: str = "") -> Iterator[Any]:
    """Fill a new `gr.Blocks`; a heading comes first, and the notice of data that are not the complete real ones."""
    with require_gradio().Blocks(title=title, analytics_enabled=False, delete_cache=(3600, 3600)) as demo:
        html(cards.heading(title, subtitle), "heading")
        if notice:
            html(cards.banner(notice), "notice")
        refuse_nonsense(demo)
        yield demo
        # Whatever Gradio loads for its first event, it loads when the page opens, not when the first stroke waits.
        demo.load(lambda: None, show_progress="hidden", api_visibility="private")


def html(text: str, elem_id: str) -> Any:
    """A piece of HTML that listeners may replace."""
    return require_gradio().HTML(text, elem_id=elem_id, apply_default_css=False)


def upload(label: str) -> Any:
    """A place for a photograph, whose value is the path of an uploaded file or None."""
    photo = require_gradio().Image(
        label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=300, elem_id="photo"
    )
    # Gradio's own way (6.31) opens any picture of this machine whose path a program sends, and leaves the visitor of a
    # damaged one without a word.
    photo.preprocess = partial(uploaded, Path(photo.GRADIO_CACHE))
    return photo


def uploaded(folder: Path, file: Any) -> str | None:
    """The path of a file that was uploaded to `folder`, None for none; gradio.Error for a file from elsewhere."""
    if file is None:
        return None
    if not (file.path and Path(file.path).resolve().is_relative_to(folder.resolve())):
        raise require_gradio().Error("this file was not uploaded here", print_exception=False)
    return str(file.path)


def facts(weights: Path, samples: str = "images") -> Any:
    """What was measured of these weights, on what kind of samples, and the name of their run."""
    return html(cards.model_facts(read_report(weights), {"Run": weights.parent.name}, samples), "facts")


def read_report(weights: Path) -> dict[str, Any] | None:
    """What test_model.py measured for these very weights; None if it has not, or has for others."""
    try:
        report = json.loads((weights.parent / "report" / "report.json").read_text("utf-8"))
        same = report["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(report) if same else None


def setting_of(weights: Path, name: str) -> str:
    """A setting that these weights were trained with; "" when config.json cannot tell."""
    try:
        return str(json.loads((weights.parent / CONFIG).read_text("utf-8"))["settings"][name])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def picture_or_reason(make: Callable[[], Picture], empty: str = NOTHING_THERE) -> tuple[Picture | None, str]:
    """What `make` returns, or None and what to show instead, as HTML: `empty` for a picture that is the same all over.

    `make` raises UserError, in a line for the visitor, when what the browser sent is no picture.
    """
    try:
        picture = make()
    except UserError as error:
        return None, cards.message(str(error), "error")
    contrast = int(np.ptp(picture, axis=(0, 1)).max())  # of the colour that varies most
    return (picture, "") if contrast >= FAINTEST else (None, cards.message(empty))
