"""A demo from its start to Ctrl-C, and the change from the page without a model to the demo of the one just trained."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from core.blas import limit_blas_threads
from core.demo.begin import Beginning, Plan
from core.demo.launch import LaunchSettings, is_loopback, launch, require_gradio

Settings = TypeVar("Settings", bound=LaunchSettings)
WAIT = 0.2  # seconds; Ctrl-C does not interrupt a longer wait everywhere


def serve_demo(make_demo: Callable[[Settings, Beginning], Any], settings: Settings, plan: Plan) -> None:
    """Serve what `make_demo` makes until Ctrl-C.

    Where it makes the page without a model, and a visitor has one trained there by `plan`, the demo takes its place at
    the same address. SIGTERM and Ctrl-C end a training that was started so.
    """
    require_gradio()  # first, because without it there is nothing to prepare
    limit_blas_threads()  # one picture is no work to share, and visitors have a thread each already
    with Beginning(plan, offered=is_private(settings)) as beginning:
        end_tidily()
        demo = make_demo(settings, beginning)
        address = launch(demo, settings)
        try:
            wait_for(beginning.trained)
            successor = make_demo(settings, beginning)  # while the page is still there
            demo.close(verbose=False)
            demo = successor
            launch(demo, replace(settings, port=urlsplit(address).port or 0))
            wait_for(threading.Event())
        except KeyboardInterrupt:
            demo.close(verbose=False)


def is_private(settings: LaunchSettings) -> bool:
    """Whether nobody but people at this computer can open the demo."""
    return not settings.share and is_loopback(settings.host)


def wait_for(event: threading.Event) -> None:
    """Return when the event is set; Ctrl-C interrupts."""
    while not event.wait(WAIT):
        pass


def end_tidily() -> None:
    """Let SIGTERM end the program as an exception does, so that what it has started is ended too."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
