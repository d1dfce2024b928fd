"""Starting a demo: one set of flags, and settings under which it serves nothing but itself and asks nobody outside."""

from __future__ import annotations

import inspect
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from core.errors import UserError

UPLOAD_LIMIT = "8mb"  # a photograph from a telephone
FIRST_PORT, PORTS = 7860, 100


@dataclass
class LaunchSettings:
    """What every demo's own settings inherit; the string below a field is its help on the command line."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in your network open the demo."""
    port: int = 0
    """Port to listen at; 0 takes the first free one from 7860 on."""
    share: bool = False
    """Also open a public link through Gradio's servers, for anybody who has its address."""

    def __post_init__(self) -> None:
        """Check every value; UserError names the flag that is wrong."""
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port must lie in 0..65535, got {self.port}")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means the computer itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def require_gradio() -> Any:
    """Import Gradio with its reports to its makers switched off; UserError with the command that installs it."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_SSR_MODE="False")
    try:
        with _without_stubs():
            import gradio
    except ImportError:
        raise UserError('the demos need Gradio: pip install -e ".[demo]"') from None
    return gradio


@contextmanager
def _without_stubs() -> Iterator[None]:
    """Spare Gradio, at its import, the type stubs of its components, which it writes anew each time.

    That takes as long as all the rest of the import. It asks for a component's file first, and writes nothing where
    there is none, such as in a notebook.
    """
    find = inspect.getfile

    def find_others(thing: Any) -> str:
        if str(getattr(thing, "__module__", "")).startswith("gradio."):  # which is None of some functions in C
            raise OSError
        return find(thing)

    inspect.getfile = find_others  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = find


def launch(demo: Any, settings: LaunchSettings) -> str:
    """Serve a `gr.Blocks` in threads of its own, until `demo.close()`, and return its address.

    Raises UserError when the address or the port cannot be had.
    """
    gradio = require_gradio()
    from gradio.route_utils import FnIndexInferError

    demo.queue(max_size=64, default_concurrency_limit=4)
    host = settings.host.strip("[]")  # in which some write an address of IPv6
    try:
        _expect_own(host)
        _, address, _ = demo.launch(
            server_name=f"[{host}]" if ":" in host else host,  # as Gradio puts it into addresses
            server_port=settings.port or None,
            share=settings.share,
            inline=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            allowed_paths=[],
            max_file_size=UPLOAD_LIMIT,
            enable_monitoring=False,
            ssr_mode=False,
            strict_cors=True,
            state_session_capacity=100,
            footer_links=[],
            run_history=False,
            app_kwargs={"exception_handlers": dict.fromkeys((KeyError, FnIndexInferError), _no_such_function)},
            theme=_theme(gradio),
            css=(files("core.demo") / "cards.css").read_text("utf-8"),
        )
    except (OSError, UnicodeError) as error:  # the latter for what no name of a host can be
        where = (
            f"{settings.host}:{settings.port}" if settings.port else f"{settings.host}, {PORTS} ports from {FIRST_PORT}"
        )
        why = str(error).partition(" You can specify")[0]  # by means that are Gradio's, not ours
        raise UserError(f"cannot listen at {where}; another --port or --host may do ({why})") from error
    print(f"The demo is at {address} (Ctrl-C ends it)", flush=True)
    if demo.share_url:
        print(f"and for everybody at {demo.share_url}", flush=True)
    return str(address)


def _no_such_function(request: Any, error: Exception) -> Any:
    """The answer to a program, or to a page left open from an earlier demo, that asks for what is not there."""
    from fastapi.responses import JSONResponse

    return JSONResponse({"detail": "this demo has no such function; if a page says so, load it again"}, 404)


def _theme(gradio: Any) -> Any:
    """Gradio's own soft look, but with small texts and labels that can be read: a contrast of at least 4.5."""
    theme = gradio.themes.Soft(primary_hue="sky", font="sans-serif", font_mono="monospace")
    return theme.set(
        body_text_color_subdued="*neutral_600",
        block_label_text_color="*primary_800",
        block_title_text_color="*primary_800",
        block_title_background_fill_dark="*primary_800",
        block_label_background_fill_dark="*primary_800",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )


def _expect_own(host: str) -> None:
    """OSError unless the address is one of this machine: Gradio would try a hundred ports there, for minutes."""
    family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.create_server(address[:2], family=family):
        pass
