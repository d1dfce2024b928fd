#!/usr/bin/env python3
"""Open the demos: one by its name, or a start page with all six.

    python scripts/launch.py                        # the start page; a demo starts when somebody opens it
    python scripts/launch.py --port 8000 --host 0.0.0.0
    python scripts/launch.py emnist --run cnn       # one demo; what follows its name are the demo's own flags

Each demo on the start page is a process of its own, on one of the ports after the page's, so that only what is looked
at takes memory. Ctrl-C ends all of them, and none outlives this program, however it ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import SetupError, say
from scripts.projects import BY_NAME, DEMOS
from scripts.start.children import Children, free_port
from scripts.start.server import StartServer, bracketed

FIRST_PORT = 7860


def main() -> int:
    flags = sys.argv[1:]
    if flags and not flags[0].startswith("-"):
        return open_demo(flags[0], flags[1:])
    arguments = _arguments()
    missing = [name for name in ("numpy", "gradio") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f'{" and ".join(missing)} missing: pip install -e ".[demo]" -c constraints.txt')
    signal.signal(signal.SIGTERM, _leave)
    return serve(arguments.host, arguments.port)


def open_demo(name: str, flags: list[str]) -> int:
    """Be the demo `name`, as if its app.py had been started with these flags."""
    if name not in BY_NAME:
        raise SetupError(f"there is no demo {name!r}; there are {', '.join(BY_NAME)}")
    app = BY_NAME[name].folder / "app.py"
    sys.argv = [str(app), *flags]
    sys.path[:] = [str(app.parent), *(place for place in sys.path if place != str(Path(__file__).parent))]
    runpy.run_path(str(app), run_name="__main__")
    return 0


def serve(host: str, port: int) -> int:
    """Serve the start page until Ctrl-C, and the demos that are asked for."""
    port = port or free_port(host, FIRST_PORT)
    children = Children({demo.project: demo.folder / "app.py" for demo in DEMOS}, host, port + 1)
    try:
        server = StartServer(host, port, children)
    except OSError as error:
        raise SetupError(f"cannot listen at {host}:{port}; another --port or --host may do ({error})") from error
    with server:
        try:
            say(f"All demos are at http://{bracketed(host)}:{port}/ (Ctrl-C ends them)")
            server.serve_forever()
        except KeyboardInterrupt:
            say("ending the demos")
        finally:
            children.close()
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = environment.Parser(__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one demo, and its flags: {', '.join(BY_NAME)}")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this computer only)")
    parser.add_argument("--port", type=int, default=0, help=f"port to listen at (the first free one from {FIRST_PORT})")
    arguments = parser.parse_args()
    if arguments.name:
        raise SetupError(f"the name of a demo comes first, and its flags after it: launch.py {arguments.name} ...")
    if not 0 <= arguments.port <= 65535:
        raise SetupError(f"--port must lie in 0..65535, got {arguments.port}")
    return arguments


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
