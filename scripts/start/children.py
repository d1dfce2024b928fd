"""The demos as processes of their own: started when somebody wants to see them, ended with the one who started them."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Collection
from pathlib import Path

from scripts.environment import SetupError, say

TIED = Path(__file__).with_name("tied.py")
READY = "The demo is at "  # how core.demo.launch begins the line that it prints when the page can be opened
PORTS = 100  # how many are tried
PATIENCE = 15.0  # seconds for all of them to end; tied.py is a little less patient


class Child:
    """A demo on its way, open, or over."""

    def __init__(self, name: str, app: Path, host: str, port: int) -> None:
        self.name, self.port = name, port
        self._settled = threading.Event()  # it can be opened, or it has ended
        self._open = False
        self._last = ""
        command = [sys.executable, "-u", str(TIED), str(app), "--host", host, "--port", str(port)]
        # A session of its own, because Ctrl-C in the terminal is for the launcher, which ends its children in order.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def is_open(self) -> bool:
        return self._open and self.alive

    def wait_until_open(self) -> None:
        """Return when the page can be opened; SetupError with the demo's own last line if it ended instead."""
        self._settled.wait()
        if not self._open:
            raise SetupError(self._last.removeprefix("error: ") or f"{self.name} ended without a word")

    def end(self) -> None:
        """Tell it to end."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self) -> None:
        """Return when it is gone; it is killed when it takes too long."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        """Pass on what it prints, which must be read: a full pipe would stop it."""
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._last = line.strip() or self._last
                say(f"{self.name}: {line.rstrip()}")
                if line.startswith(READY):
                    self._open = True
                    self._settled.set()
        self._process.wait()
        self.end()  # closes our side of the pipe too
        self._settled.set()


class Children:
    """Starts each demo at most once, from any thread, on the ports after the start page's own."""

    def __init__(self, apps: dict[str, Path], host: str, first_port: int) -> None:
        self._apps, self._host = apps, host
        self._wishes = {name: first_port + place for place, name in enumerate(apps)}
        self._children: dict[str, Child] = {}
        self._lock = threading.Lock()
        self._closed = False

    def open(self, name: str) -> int:
        """The port at which the demo `name` answers, once it does; SetupError with the reason when it cannot."""
        with self._lock:
            child = self._children.get(name)
            if self._closed:
                raise SetupError("the launcher is about to end")
            if child is None or not child.alive:
                taken = {other.port for other in self._children.values() if other.alive}
                port = free_port(self._host, self._wishes[name], taken)
                child = self._children[name] = Child(name, self._apps[name], self._host, port)
        child.wait_until_open()
        return child.port

    def open_ports(self) -> dict[str, int]:
        """The demos that can be opened without waiting, and their ports."""
        return {name: child.port for name, child in list(self._children.items()) if child.is_open}

    def close(self) -> None:
        """End all of them and return when they are gone."""
        with self._lock:
            self._closed = True
            children = list(self._children.values())
        for child in children:
            child.end()
        for child in children:
            child.wait()


def free_port(host: str, first: int, taken: Collection[int] = ()) -> int:
    """The first port from `first` on that can be listened at.

    Raises SetupError if there is none among PORTS, or if the host is no address of this computer.
    """
    for port in range(first, min(first + PORTS, 65536)):
        if port in taken:
            continue
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
            return port
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise SetupError(f"cannot listen at {host}: {error.strerror or error}") from error
    raise SetupError(f"{host} has no free port among the {PORTS} from {first}")
