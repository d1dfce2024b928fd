"""A demo running as a process of its own, and its answers over HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from mlp_mnist import app


@contextmanager
def served(*flags: object) -> Iterator[str]:
    """Start app.py with these flags and yield its address; Ctrl-C ends it, quietly and soon."""
    command = [sys.executable, "-u", app.__file__, *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", first)
            assert found, first + process.stdout.read()
            yield found[0]
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(30) == 0, rest
            assert "Traceback" not in rest
        finally:
            process.kill()


def ask(address: str, value: object) -> str:
    """What the demo answers to the pad's value."""
    call = f"{address}gradio_api/call/predict"
    event = requests.post(call, json={"data": [value]}, timeout=10).json()["event_id"]
    text = requests.get(f"{call}/{event}", timeout=10).text
    return str(json.loads(text.split("data: ", 1)[1])[0])
