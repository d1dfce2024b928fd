"""What programs ask of a demo and its own page never does, refused in a sentence in place of a traceback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from core.demo.launch import require_gradio

NO_SENSE = "this demo cannot make sense of these values: there are too few, or one is of another kind"


def refuse_nonsense(demo: Any) -> None:
    """Let a `gr.Blocks` answer values that it cannot convert with a sentence, which Gradio (6.31) keeps to itself."""
    demo.preprocess_data = partial(_converted, demo.preprocess_data)


async def _converted(convert: Callable[..., Awaitable[Any]], *arguments: Any, **settings: Any) -> Any:
    gradio = require_gradio()
    try:
        return await convert(*arguments, **settings)
    except gradio.Error as error:
        error.print_exception = False
        raise
    except (ValueError, TypeError, LookupError, AttributeError):
        raise gradio.Error(NO_SENSE, print_exception=False) from None
