"""What answers the browsers of those who open the start page: that page and its pictures, and no other file."""

from __future__ import annotations

import re
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from scripts.environment import SetupError
from scripts.projects import BY_NAME, DEMOS, Model, find_model
from scripts.start.children import Children
from scripts.start.page import error_page, start_page

HOST = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?")  # what a browser sends as the name of this computer


class StartServer(ThreadingHTTPServer):
    """Serves the start page at `host` and `port`, and starts the demos that visitors open."""

    daemon_threads = True

    def __init__(self, host: str, port: int, children: Children) -> None:
        """Raises OSError where that address cannot be listened at."""
        from core.demo.launch import is_loopback

        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.children, self.is_loopback = children, is_loopback
        self.private = is_loopback(host)
        super().__init__((host, port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: StartServer

    def do_GET(self) -> None:
        picture = re.fullmatch(r"/picture/(\w+)\.png", self.path)
        if not self._is_meant():
            self._refuse()
        elif self.path == "/":
            addresses = {name: self._address(port) for name, port in self.server.children.open_ports().items()}
            self._send(200, start_page(DEMOS, find_models(), addresses))
        elif picture and picture[1] in BY_NAME and BY_NAME[picture[1]].picture.is_file():
            self._send(200, BY_NAME[picture[1]].picture.read_bytes(), "image/png")
        else:
            self._send(404, error_page("Not found", "There is no such page."))

    def do_POST(self) -> None:
        name = self.path.removeprefix("/open/")
        origin = urlsplit(self.headers.get("Origin", f"http://{self._host()}")).netloc
        if not self._is_meant() or origin != self._host():
            self._refuse()
        elif not self.path.startswith("/open/") or name not in BY_NAME:
            self._send(404, error_page("Not found", "There is no such demo."))
        else:
            self._open(name)

    def _open(self, name: str) -> None:
        try:
            port = self.server.children.open(name)
        except SetupError as error:
            self._send(502, error_page(f"{BY_NAME[name].title} could not be started", str(error)))
            return
        self.send_response(303)
        self.send_header("Location", self._address(port))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _is_meant(self) -> bool:
        """Whether the browser means this server, and was not led here by another site's name for this address."""
        if not HOST.fullmatch(self._host()):
            return False
        return not self.server.private or self.server.is_loopback(self._host_name())

    def _refuse(self) -> None:
        self._send(403, error_page("Refused", "Open the start page by the address that was printed."))

    def _host(self) -> str:
        return self.headers.get("Host", "")

    def _host_name(self) -> str:
        return urlsplit(f"//{self._host()}").hostname or ""

    def _address(self, port: int) -> str:
        """Where a demo is for this visitor, who may know this computer by another name than we do."""
        return f"http://{bracketed(self._host_name())}:{port}/"

    def _send(self, status: int, content: str | bytes, kind: str = "text/html; charset=utf-8") -> None:
        body = content if isinstance(content, bytes) else content.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what is asked for is no news."""


def find_models() -> dict[str, Model | str]:
    """By project, the newest network, or the reason why there is none."""
    from core.errors import UserError

    models: dict[str, Model | str] = {}
    for demo in DEMOS:
        try:
            models[demo.project] = find_model(demo)
        except UserError as error:
            models[demo.project] = str(error)
    return models


def bracketed(host: str) -> str:
    """A host as it stands in an address: `::1` in brackets."""
    return f"[{host}]" if ":" in host else host
